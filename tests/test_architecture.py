"""The rules of the house, read from the syntax tree: who imports whom, and what stays out."""

import ast
import graphlib
import pkgutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, TransformerMixin

import sk_arcal

# From the ground up: a module imports from earlier rows or from its own package, nowhere else.
LAYERS = (
    ("_validation", "_version"),
    ("_columns", "_numeric", "_routing", "_smoothing"),
    ("metrics", "datasets"),
    ("calibration", "feature_extraction", "models"),
    ("diagnostics",),
    ("displays",),
    ("audit",),
    ("cli",),
)
MAX_LINES = 350

REQUIRED = {"numpy", "scipy", "sklearn", "joblib"}
DRAWING = {"matplotlib", "mpl_toolkits"}
TABLES = {"pandas", "jinja2", "markupsafe", "tqdm", "polars", "pyarrow"}
TORCH = {"torch", "skorch", "safetensors", "cloudpickle", "transformers", "accelerate"}

ROOMS_WITH_TORCH = {"feature_extraction", "models"}
# The one calibrator that is trained by gradients; its loop, and nothing around it, needs torch.
LEAVES_WITH_TORCH = {"sk_arcal.calibration._network._mlp_training"}
ROOMS_WITH_DRAWING = {"displays", "audit"}
ROOMS_WITHOUT_SKLEARN = {"_validation", "_numeric", "metrics"}

GLOBAL_STATE = {"filterwarnings", "simplefilter", "seterr", "set_config", "set_printoptions"}
INHERITED_PRIVATE = {
    name
    for parent in (BaseEstimator, ClassifierMixin, RegressorMixin, TransformerMixin)
    for name in dir(parent)
    if name.startswith("_") and not name.startswith("__")
}


@dataclass(frozen=True)
class Import:
    """One imported name: not loaded at import if `deferred`, never loaded if `typing_only`."""

    target: str
    line: int
    deferred: bool
    typing_only: bool

    @property
    def package(self) -> str:
        return self.target.split(".")[0]


@dataclass(frozen=True)
class Module:
    """One file of the library: its dotted name, its lines and its syntax tree."""

    name: str
    path: Path
    text: str
    tree: ast.Module

    @property
    def room(self) -> str:
        """Name of the package or file directly under sk_arcal; empty for its `__init__`."""
        return self.name.split(".")[1] if "." in self.name else ""

    @property
    def imports(self) -> list[Import]:
        return list(_imports(self.tree, deferred=False, typing_only=False))

    def at(self, line: int) -> str:
        return f"{self.name}:{line}"


def _imports(node: ast.AST, deferred: bool, typing_only: bool) -> Iterator[Import]:
    how = (getattr(node, "lineno", 0), deferred, typing_only)
    if isinstance(node, ast.Import):
        yield from (Import(alias.name, *how) for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = "." * node.level + (node.module or "")
        yield from (Import(f"{base}.{alias.name}", *how) for alias in node.names)
    elif isinstance(node, ast.Call) and _called(node) in {"import_module", "import_optional"}:
        first = node.args[0] if node.args else None
        if isinstance(first, ast.Constant) and isinstance(first.value, str):
            yield Import(first.value, *how)
    if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
        deferred = typing_only = True
    elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
        deferred = True
    for child in ast.iter_child_nodes(node):
        yield from _imports(child, deferred, typing_only)


def _called(call: ast.Call) -> str:
    """Last word of what is called: `f` for both f() and module.f()."""
    return ast.unparse(call.func).rsplit(".", maxsplit=1)[-1]


def read_library(root: Path) -> list[Module]:
    """Parse every file below `root`, the folder of the package."""
    modules = []
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root.parent).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        text = path.read_text(encoding="utf-8")
        modules.append(Module(name, path, text, ast.parse(text)))
    return modules


# --- rules: each returns one sentence for every violation --------------------------------------


def upward_imports(modules: list[Module]) -> list[str]:
    """Imports only point down, and siblings of a layer do not import each other."""
    rank = {room: height for height, row in enumerate(LAYERS) for room in row}
    found = [f"{m.name} is in no layer" for m in modules if m.room and m.room not in rank]
    for module in modules:
        for item in module.imports:
            if item.package != "sk_arcal":
                continue
            target = f"{item.target}.".split(".")[1]
            if target in {module.room, "__version__", "_version"}:
                continue
            if rank.get(target, len(LAYERS)) >= rank.get(module.room, -1):
                found.append(f"{module.at(item.line)} imports {item.target}")
    return found


def relative_imports(modules: list[Module]) -> list[str]:
    """Imports inside the package are written in full, so they can be searched for."""
    return [
        f"{m.at(i.line)} imports {i.target}" for m in modules for i in m.imports if not i.package
    ]


def import_cycles(modules: list[Module]) -> list[str]:
    """No module needs itself, not even through an import inside a function."""
    names = {module.name for module in modules}
    graph: dict[str, set[str]] = {name: set() for name in names}
    for module in modules:
        for item in module.imports:
            target = item.target if item.target in names else item.target.rpartition(".")[0]
            if target in names and not item.typing_only:
                graph[module.name].add(target)
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return [" -> ".join(error.args[1])]
    return []


def misplaced_dependencies(modules: list[Module]) -> list[str]:
    """Every dependency is a declared one, in a room and at a time where it may be loaded."""
    return [
        f"{module.at(item.line)} imports {item.target}: {reason}"
        for module in modules
        for item in module.imports
        if (reason := _objection(module, item))
    ]


def _objection(module: Module, item: Import) -> str:
    package, room = item.package, module.room
    optional = DRAWING | TABLES | TORCH
    if not package or package == "sk_arcal" or package in sys.stdlib_module_names:
        return ""
    if package not in REQUIRED | optional:
        return "not a dependency of this library"
    if package in TORCH and room in ROOMS_WITH_TORCH:
        return ""
    if package in TORCH and module.name not in LEAVES_WITH_TORCH:
        return "torch stays at the edge"
    if package in DRAWING and room not in ROOMS_WITH_DRAWING:
        return "only displays and the report draw"
    if package in optional and not item.deferred:
        return "optional, so only inside a function"
    if package in {"sklearn", "joblib"} and room in ROOMS_WITHOUT_SKLEARN and not item.deferred:
        return "this room loads without scikit-learn"
    return ""


def private_sklearn(modules: list[Module]) -> list[str]:
    """No name of scikit-learn that may change without notice, imported or inherited."""
    found = []
    for module in modules:
        bound = set()
        for item in module.imports:
            if item.package == "sklearn":
                bound.add(item.target.rsplit(".", maxsplit=1)[-1])
                if any(_is_private(part) for part in item.target.split(".")):
                    found.append(f"{module.at(item.line)} imports {item.target}")
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Attribute) and _is_private(node.attr):
                root = ast.unparse(node.value).split(".")[0]
                if root in bound or (root == "self" and node.attr in INHERITED_PRIVATE):
                    found.append(f"{module.at(node.lineno)} uses {ast.unparse(node)}")
    return found


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def noise_and_global_state(modules: list[Module]) -> list[str]:
    """The library prints nothing outside the shell command and changes no global setting."""
    found = []
    for module in modules:
        for node in ast.walk(module.tree):
            if not isinstance(node, ast.Call):
                continue
            printed = ast.unparse(node.func) in {"print", "sys.stdout.write", "sys.stderr.write"}
            seeded = ast.unparse(node.func).endswith("random.seed")
            if (printed and module.room != "cli") or seeded or _called(node) in GLOBAL_STATE:
                found.append(f"{module.at(node.lineno)} calls {ast.unparse(node.func)}")
    return found


def assertions(modules: list[Module]) -> list[str]:
    """`assert` vanishes under `python -O`: it may narrow a type (`x is not None`), not check."""
    return [
        f"{module.at(node.lineno)} asserts {ast.unparse(node.test)}"
        for module in modules
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Assert) and not ast.unparse(node.test).endswith(" is not None")
    ]


def long_files(modules: list[Module]) -> list[str]:
    """A leaf that needs more lines holds two ideas."""
    counts = {module.name: len(module.text.splitlines()) for module in modules}
    return [f"{name} has {count} lines" for name, count in counts.items() if count > MAX_LINES]


def unlisted_packages(modules: list[Module]) -> list[str]:
    """A package's `__init__` says what it is for and what is public; its leaves are private."""
    found = []
    for module in modules:
        private = any(_is_private(part) for part in module.name.split("."))
        if module.path.name != "__init__.py":
            if module.name.count(".") > 1 and not private:
                found.append(f"{module.name} is a public leaf")
        elif not ast.get_docstring(module.tree) or not (private or _has_list(module)):
            found.append(f"{module.name} needs a docstring, and `__all__` if it is public")
    return found


def _has_list(module: Module) -> bool:
    return any(
        isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
        for node in module.tree.body
    )


RULES: tuple[Callable[[list[Module]], list[str]], ...] = (
    upward_imports,
    relative_imports,
    import_cycles,
    misplaced_dependencies,
    private_sklearn,
    noise_and_global_state,
    assertions,
    long_files,
    unlisted_packages,
)
LIBRARY = read_library(Path(sk_arcal.__file__).parent)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_library_keeps_the_rule(rule):
    assert rule(LIBRARY) == []


def test_every_importable_module_was_read():
    found = {info.name for info in pkgutil.walk_packages(sk_arcal.__path__, "sk_arcal.")}
    assert {module.name for module in LIBRARY} == {"sk_arcal", *found}
    assert len(LIBRARY) >= 30


# --- the guard guards: a small house with one fault is caught, and a lawful one is not ----------

LAWFUL = {
    "__init__.py": '"""House."""\n__all__ = []\n',
    "_validation.py": "import numpy as np\n",
    "_columns.py": "from sk_arcal._validation import check\n",
    "metrics/__init__.py": '"""Measure."""\nfrom sk_arcal.metrics._a import f\n__all__ = ["f"]\n',
    "metrics/_a.py": "from sk_arcal.metrics._b import g\n\ndef f():\n    import sklearn\n",
    "metrics/_b.py": (
        "from typing import TYPE_CHECKING\nfrom scipy.special import expit\n"
        "if TYPE_CHECKING:\n    from sk_arcal.metrics._a import f\n"
        "def g(x):\n    assert x is not None\n"
    ),
    "metrics/_parts/__init__.py": '"""Parts."""\n',
    "metrics/_parts/_c.py": "X = 1\n",
    "calibration/__init__.py": '"""Calibrate."""\n__all__ = []\n',
    "calibration/_base.py": (
        "from typing import TYPE_CHECKING\n"
        "from sklearn.base import BaseEstimator\n"
        "if TYPE_CHECKING:\n    import pandas\n"
        "class C(BaseEstimator):\n    def fit(self):\n        return self._own\n"
    ),
    "calibration/_network/_mlp_training.py": "def train():\n    import torch\n",
    "displays/__init__.py": '"""Draw."""\n__all__ = []\n',
    "displays/_a.py": (
        'def plot():\n    return import_optional("matplotlib.pyplot", extra="report", caller="x")\n'
    ),
    "cli.py": "from sk_arcal.audit import routing_audit\nprint(1)\n",
}

FAULTS = {
    "imports a higher layer": (
        upward_imports,
        "metrics/_a.py",
        "from sk_arcal.calibration import X\n",
    ),
    "imports a sibling": (upward_imports, "datasets.py", "import sk_arcal.metrics\n"),
    "imports upward inside a function": (
        upward_imports,
        "_columns.py",
        "def f():\n    from sk_arcal import metrics\n",
    ),
    "imports upward by a string": (
        upward_imports,
        "_columns.py",
        'import_module("sk_arcal.metrics._a")\n',
    ),
    "the front door loads a room": (
        upward_imports,
        "__init__.py",
        '"""House."""\nfrom sk_arcal import metrics\n__all__ = []\n',
    ),
    "the whole house at once": (upward_imports, "metrics/_b.py", "import sk_arcal\n"),
    "a room outside the plan": (upward_imports, "attic.py", "X = 1\n"),
    "relative import": (relative_imports, "metrics/_a.py", "from ._b import g\n"),
    "cycle of two": (import_cycles, "metrics/_b.py", "from sk_arcal.metrics._a import f\n"),
    "cycle through the table of contents": (
        import_cycles,
        "metrics/_b.py",
        "def f():\n    from sk_arcal.metrics import f\n",
    ),
    "torch outside its rooms": (
        misplaced_dependencies,
        "calibration/_base.py",
        "def f():\n    import torch\n",
    ),
    "torch at import of the leaf that trains": (
        misplaced_dependencies,
        "calibration/_network/_mlp_training.py",
        "import torch\n",
    ),
    "matplotlib in a metric": (
        misplaced_dependencies,
        "metrics/_b.py",
        "def f():\n    import matplotlib.pyplot as plt\n",
    ),
    "matplotlib at import": (misplaced_dependencies, "displays/_a.py", "import matplotlib\n"),
    "pandas at import": (misplaced_dependencies, "calibration/_base.py", "import pandas as pd\n"),
    "pandas at import by a string": (
        misplaced_dependencies,
        "calibration/_base.py",
        'pd = import_optional("pandas", extra="report", caller="x")\n',
    ),
    "scikit-learn at import of a metric": (
        misplaced_dependencies,
        "metrics/_b.py",
        "from sklearn.metrics import log_loss\n",
    ),
    "a dependency nobody declared": (
        misplaced_dependencies,
        "displays/_a.py",
        "def f():\n    import seaborn\n",
    ),
    "private module of scikit-learn": (
        private_sklearn,
        "calibration/_base.py",
        "from sklearn.utils._param_validation import Interval\n",
    ),
    "private name of scikit-learn": (
        private_sklearn,
        "calibration/_base.py",
        "from sklearn.calibration import _SigmoidCalibration\n",
    ),
    "private attribute of a scikit-learn module": (
        private_sklearn,
        "calibration/_base.py",
        "from sklearn import utils\nx = utils._indexing.f\n",
    ),
    "private inherited method": (
        private_sklearn,
        "calibration/_base.py",
        "class C:\n    def fit(self):\n        self._validate_params()\n",
    ),
    "print": (noise_and_global_state, "metrics/_b.py", "def f():\n    print(1)\n"),
    "warning filter": (
        noise_and_global_state,
        "metrics/_b.py",
        'import warnings\nwarnings.filterwarnings("ignore")\n',
    ),
    "global seed": (
        noise_and_global_state,
        "metrics/_b.py",
        "import numpy\nnumpy.random.seed(0)\n",
    ),
    "assert": (assertions, "metrics/_b.py", "def f(x):\n    assert x > 0\n"),
    "file too long": (long_files, "metrics/_b.py", "X = 1\n" * (MAX_LINES + 1)),
    "package without a list": (unlisted_packages, "metrics/__init__.py", '"""Measure."""\n'),
    "private package without a word": (unlisted_packages, "metrics/_parts/__init__.py", ""),
    "public leaf": (unlisted_packages, "metrics/binning.py", "X = 1\n"),
}


def _build(root: Path, files: dict[str, str]) -> list[Module]:
    for name, source in files.items():
        path = root / "sk_arcal" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source, encoding="utf-8")
    return read_library(root / "sk_arcal")


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_guard_lets_a_lawful_house_pass(rule, tmp_path):
    modules = _build(tmp_path, LAWFUL)
    assert len(modules) == len(LAWFUL)
    assert rule(modules) == []


@pytest.mark.parametrize("fault", FAULTS)
def test_guard_catches(fault, tmp_path):
    rule, name, source = FAULTS[fault]
    violations = rule(_build(tmp_path, LAWFUL | {name: source}))
    assert len(violations) == 1, violations


def test_every_rule_has_been_seen_to_fail():
    assert {rule for rule, _, _ in FAULTS.values()} == set(RULES)
