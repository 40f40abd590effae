"""What is public is on the API page and says what it takes, returns, raises, and how it runs."""

import ast
import importlib
import inspect
import re
import textwrap
import tomllib
from collections import Counter
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from functools import cached_property
from pathlib import Path
from types import FunctionType

import pytest
from numpydoc.docscrape import ClassDoc, FunctionDoc, NumpyDocString
from numpydoc.validate import get_validation_checks, validate

import sk_arcal

ROOT = Path(__file__).parents[1]
PACKAGES = (
    *("audit", "calibration", "datasets", "diagnostics", "displays"),
    *("feature_extraction", "metrics", "models"),
)
CHECKS = get_validation_checks(
    set(
        tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["numpydoc_validation"][
            "checks"
        ]
    )
)
# A function that calls one of these passes on what it raises.
REFUSING = re.compile(r"(check_\w+|as_generator|import_optional|validate_data|resolve_\w+)$")


def _public(package: str) -> list[str]:
    return importlib.import_module(f"sk_arcal.{package}").__all__


def _load(name: str) -> object:
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module), attribute)


def _methods(cls: type) -> Iterator[str]:
    """Public methods and properties that a class of ours defines or inherits from ours."""
    seen = set()
    for parent in cls.__mro__:
        if not parent.__module__.startswith("sk_arcal"):
            continue
        for name, member in vars(parent).items():
            if name.startswith("_") or name in seen:
                continue
            if isinstance(member, (property, cached_property, classmethod, staticmethod)) or (
                isinstance(member, FunctionType) and member.__module__.startswith("sk_arcal")
            ):
                seen.add(name)
                yield name


def _kind(name: str) -> str:
    obj = _load(name)
    if inspect.isclass(obj):
        return "class"
    return "function" if inspect.isfunction(obj) else "instance"


NAMES = [f"sk_arcal.{package}.{name}" for package in PACKAGES for name in _public(package)]
CLASSES = [name for name in NAMES if _kind(name) == "class"]
FUNCTIONS = [name for name in NAMES if _kind(name) == "function"]
INSTANCES = [name for name in NAMES if _kind(name) == "instance"]
METHODS = [f"{name}.{method}" for name in CLASSES for method in _methods(_load(name))]


def _function(name: str) -> FunctionType:
    """Return the function behind a method, property or class method."""
    cls, _, method = name.rpartition(".")
    held = inspect.getattr_static(_load(cls), method)
    for attribute in ("fget", "func", "__func__"):
        held = getattr(held, attribute, held)
    return held


# --- the list of names -------------------------------------------------------------------------


def test_public_objects_were_found():
    assert len(CLASSES) >= 15
    assert len(FUNCTIONS) >= 20
    assert len(METHODS) >= 30


@pytest.mark.parametrize("package", [*PACKAGES, ""])
def test_all_is_sorted_and_shown_by_dir(package):
    module = importlib.import_module(f"sk_arcal.{package}".rstrip("."))
    assert list(module.__all__) == sorted(set(module.__all__))
    assert set(module.__all__) <= set(dir(module))
    assert not [name for name in module.__all__ if name.startswith("_")]


def _page() -> tuple[list[str], list[str]]:
    """Names in the tables of the API page, and the shortcuts in its list."""
    listed, shortcuts, current, in_table = [], [], "", False
    for line in (ROOT / "docs" / "api.rst").read_text(encoding="utf-8").splitlines():
        if line.startswith(".. currentmodule:: "):
            current = line.split()[-1]
        elif line.startswith("* :"):
            shortcuts.append(re.search(r"`~?([\w.]+)`", line).group(1))
        elif line and not line.startswith(" "):
            in_table = line.startswith(".. autosummary::")
        elif in_table and line.strip() and not line.strip().startswith(":"):
            listed.append(f"{current}.{line.strip()}")
    return listed, shortcuts


def test_every_public_name_is_on_the_api_page_once():
    assert Counter(_page()[0]) == Counter(NAMES)


def test_every_shortcut_of_the_top_level_is_on_the_api_page_once():
    _, shortcuts = _page()
    names = [name for name in sk_arcal.__all__ if name not in PACKAGES]
    assert sorted(name.rpartition(".")[-1] for name in shortcuts) == names
    for name in shortcuts:
        assert _load(name) is getattr(sk_arcal, name.rpartition(".")[-1])


# --- what a docstring has to say ---------------------------------------------------------------


def _complaints(name: str) -> list[str]:
    found = validate(name)["errors"]
    return [f"{code} {text}" for code, text in found if code in CHECKS]


def _undocumented_fields(cls: type) -> set[str]:
    """Fields of a result that its docstring explains neither as parameter nor as attribute."""
    parsed = NumpyDocString(inspect.getdoc(cls))
    items = [*parsed["Parameters"], *parsed["Attributes"]]
    documented = {name for item in items for name in item.name.split(", ")}
    return {field.name for field in fields(cls) if not field.name.startswith("_")} - documented


@pytest.mark.parametrize("name", CLASSES)
def test_class_docstring_is_valid(name):
    cls = _load(name)
    assert inspect.getdoc(cls)
    complaints = _complaints(name)
    if is_dataclass(cls):
        assert _undocumented_fields(cls) == set()
        # A result is made by a function, so its fields are attributes to its readers.
        complaints = [text for text in complaints if not text.startswith("PR01")]
    assert complaints == []


@pytest.mark.parametrize("name", INSTANCES)
def test_ready_made_object_has_a_public_class(name):
    cls = type(_load(name))
    assert f"{name.rpartition('.')[0]}.{cls.__name__}" in CLASSES


@pytest.mark.parametrize("name", FUNCTIONS)
def test_function_docstring_is_valid(name):
    assert _load(name).__doc__
    assert _complaints(name) == []


@pytest.mark.parametrize("name", METHODS)
def test_method_docstring_is_valid(name):
    assert _function(name).__doc__
    assert _complaints(name) == []


def _has_example(name: str, seen: frozenset[str] = frozenset()) -> bool:
    """Whether an object shows itself at work, or refers to a public one that does."""
    text = inspect.getdoc(_load(name))
    if ">>> " in "\n".join(NumpyDocString(text)["Examples"]):
        return True
    package = name.rpartition(".")[0]
    links = re.findall(r":(?:func|class):`~?\.?([\w.]+)`", text)
    named = {link if link in NAMES else f"{package}.{link}" for link in links} & {*NAMES}
    return any(_has_example(link, seen | {name}) for link in named - seen)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_function_has_an_example_that_runs_as_a_doctest(name):
    assert ">>> " in "\n".join(NumpyDocString(_load(name).__doc__)["Examples"])


@pytest.mark.parametrize("name", CLASSES)
def test_class_has_an_example_or_says_what_makes_it(name):
    shown = _has_example(name) or issubclass(_load(name), Warning)
    assert shown, "add Examples, or name the maker as :func:`...` (public, with Examples)"


# --- errors --------------------------------------------------------------------------------------


def _documented_errors(obj: object) -> set[str]:
    parsed = ClassDoc(obj) if inspect.isclass(obj) else FunctionDoc(obj)
    return {item.type for item in parsed["Raises"]}


def _raised(function: FunctionType) -> tuple[set[str], bool]:
    """Names of the errors `function` raises itself, and whether it calls a check."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    errors, checks = set(), False
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            errors.add(ast.unparse(node.exc.func))
        elif isinstance(node, ast.Call):
            checks = checks or bool(REFUSING.search(ast.unparse(node.func)))
    return errors, checks


@pytest.mark.parametrize(
    "name", [name for name in FUNCTIONS if inspect.signature(_load(name)).parameters]
)
def test_function_with_arguments_says_what_it_refuses(name):
    errors, _ = _raised(_load(name))
    assert _documented_errors(_load(name)) >= (errors or {"ValueError"})


@pytest.mark.parametrize("name", METHODS)
def test_method_that_refuses_says_so(name):
    errors, checks = _raised(_function(name))
    documented = _documented_errors(_function(name))
    assert documented >= errors
    assert documented or not checks, "it calls a check, so it needs a Raises section"


@pytest.mark.parametrize("name", [name for name in CLASSES if hasattr(_load(name), "fit")])
def test_estimator_says_what_fit_refuses(name):
    assert {"ValueError"} <= _documented_errors(_load(name)) | _documented_errors(_load(name).fit)


# --- examples ------------------------------------------------------------------------------------

EXAMPLES = sorted((ROOT / "examples").glob("plot_*.py"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_gallery_example_uses_public_names_only(path):
    allowed = {*NAMES, *(f"sk_arcal.{name}" for name in sk_arcal.__all__)}
    imported = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("sk_arcal"):
            imported += [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            imported += [a.name for a in node.names if a.name.startswith("sk_arcal.")]
    assert imported
    assert set(imported) <= allowed


def test_gallery_examples_were_found():
    assert len(EXAMPLES) >= 2
