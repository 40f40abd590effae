"""Python functions described by what they do, so that a redefined one is another one.

Described are the bytecode and what it refers to by name: constants, defaults, closures, methods of
the same class, and functions and constants of the same file. Not described is what cannot change
the result: file, line numbers, docstring and names of local variables. Bytecode belongs to one
minor version of Python, and so do these descriptions.
"""

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property, lru_cache, partial, partialmethod
from types import CodeType, FunctionType, MethodType
from typing import Any

# Their versions are not the user's code; they count by name. A user's `test.py` is the user's.
_FOREIGN = {"torch", "numpy", "builtins", *sys.stdlib_module_names} - {"test"}
_CONSTANTS = (bool, int, float, complex, str, bytes, type(None), type(...))
_KEYWORD_FLAGS = 0x0C  # whether there are *args and **kwargs
_HOLDERS = (
    *(MethodType, staticmethod, classmethod, property),
    *(cached_property, partial, partialmethod, type(lru_cache(len))),
)


def path_of(thing: Any) -> str:
    """Return module and qualified name of a class or function."""
    name = getattr(thing, "__qualname__", None) or getattr(thing, "__name__", type(thing).__name__)
    return f"{getattr(thing, '__module__', None)}.{name}"


def is_foreign(thing: Any) -> bool:
    """Return whether a class or function comes from torch, numpy or Python itself."""
    if isinstance(thing, FunctionType):
        # Decorators copy `__module__`; where the code was written, stands in its globals.
        module = thing.__globals__.get("__name__")
    else:
        module = getattr(thing, "__module__", None)
    return str(module).split(".", maxsplit=1)[0] in _FOREIGN


def code_of_class(cls: type, names: Sequence[str] = ("forward", "__call__")) -> list[Any]:
    """Describe methods of a class and of its own bases, with all that they reach.

    Parameters
    ----------
    cls : type
        Class.
    names : sequence of str
        Methods to begin at.

    Returns
    -------
    description : list
        Nested lists of text; empty if torch or Python defines these methods.
    """
    own = [base for base in cls.__mro__ if not is_foreign(base)]
    start = [f for base in own for name in names for f in functions_in(vars(base).get(name))]
    return code_of_functions(start, own)


def code_of_functions(start: Iterable[FunctionType], classes: Sequence[type] = ()) -> list[Any]:
    """Describe functions with all that they reach.

    Parameters
    ----------
    start : iterable of function
        Where to begin.
    classes : sequence of type
        Where names of methods and class attributes are looked up.

    Returns
    -------
    description : list
        Nested lists of text, in an order that depends on content only.
    """
    waiting, seen, found = [*start], set[int](), list[Any]()
    while waiting:
        function = waiting.pop()
        if id(function) in seen:
            continue
        seen.add(id(function))
        waiting += functions_in(getattr(function, "__wrapped__", None))
        if not is_foreign(function):
            referred = list(_referred(function, classes))
            found.append(_function(function, referred))
            waiting += [inner for _, value in referred for inner in functions_in(value)]
    return sorted(found, key=json.dumps)


def functions_in(value: Any) -> list[FunctionType]:
    """Return the function that a method, property, partial or other holder has, if any."""
    while isinstance(value, _HOLDERS):
        inside = ("__func__", "fget", "func", "__wrapped__")
        value = next((getattr(value, name) for name in inside if hasattr(value, name)), None)
    return [value] if isinstance(value, FunctionType) else []


def names_used(code: CodeType) -> set[str]:
    """Return the global and attribute names in some code and in the functions it defines."""
    inner = (names_used(value) for value in code.co_consts if isinstance(value, CodeType))
    return {*code.co_names}.union(*inner)


def is_constant(value: object) -> bool:
    """Return whether a value is a number, text, or a tuple or set of such, for good."""
    if isinstance(value, (tuple, frozenset)):
        return all(is_constant(entry) for entry in value)
    return isinstance(value, _CONSTANTS)


def constant(value: Any) -> Any:
    """Describe a constant of Python; of other values only their class."""
    if isinstance(value, CodeType):
        return _code(value)
    if isinstance(value, tuple):
        return ["tuple", *(constant(entry) for entry in value)]
    if isinstance(value, frozenset):
        return ["frozenset", *sorted((constant(entry) for entry in value), key=json.dumps)]
    if isinstance(value, _CONSTANTS):
        return [type(value).__name__, repr(value)]
    return ["object", path_of(type(value))]


def _function(function: FunctionType, referred: list[tuple[str, Any]]) -> list[Any]:
    keyword_only = sorted((function.__kwdefaults__ or {}).items())
    return [
        path_of(function),
        _code(function.__code__, function.__doc__),
        [constant(value) for value in function.__defaults__ or ()],
        [[name, constant(value)] for name, value in keyword_only],
        [[name, constant(value)] for name, value in referred if is_constant(value)],
    ]


def _code(code: CodeType, docstring: str | None = None) -> list[Any]:
    constants = list(code.co_consts)
    if docstring is not None and constants[:1] == [docstring]:
        constants[0] = None
    n_arguments = code.co_argcount + code.co_kwonlyargcount
    return [
        # Running code specialises itself; `co_code` stays what was compiled.
        code.co_code.hex(),
        code.co_exceptiontable.hex(),
        [str(code.co_posonlyargcount), str(code.co_argcount)],
        [str(code.co_flags & _KEYWORD_FLAGS), *code.co_varnames[:n_arguments]],
        list(code.co_names),
        list(code.co_freevars),
        [constant(value) for value in constants],
    ]


def _referred(function: FunctionType, classes: Sequence[type]) -> Iterator[tuple[str, Any]]:
    """Yield what a function refers to by name and may be the user's own, in a fixed order."""
    home = function.__globals__.get("__name__")
    for name in sorted(names_used(function.__code__)):
        yield from ((name, vars(cls)[name]) for cls in classes if name in vars(cls))
        if name not in function.__globals__:
            continue
        value = function.__globals__[name]
        written = {inner.__globals__.get("__name__") for inner in functions_in(value)}
        if is_constant(value) or home in written:
            yield name, value
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield name, cell.cell_contents
        except ValueError:  # not assigned yet
            continue
