"""The methods by name. A new one is a leaf, and a line here."""

from collections.abc import Callable

from sk_arcal._validation import check_option
from sk_arcal.diagnostics._conditional._methods._betting import betting
from sk_arcal.diagnostics._conditional._methods._cells import cells
from sk_arcal.diagnostics._conditional._methods._finding import Finding, Table
from sk_arcal.diagnostics._conditional._methods._spline_lr import spline_lr
from sk_arcal.diagnostics._conditional._methods._weighted_gcm import weighted_gcm

Method = Callable[[Table], list[Finding]]

DEFAULT = "default"
METHODS: dict[str, Method] = {
    "weighted_gcm": weighted_gcm,
    "spline_lr": spline_lr,
    "cells": cells,
    "betting": betting,
}
_LAWS = {"weighted_gcm": "multiplier", "spline_lr": "chi-square", "betting": "martingale"}
_WITHOUT_DRAWS = {"spline_lr", "betting"}
_FOR_INDEPENDENT_ROWS = {"spline_lr"}


def check_method(method: object, *, has_groups: bool) -> str:
    """Return the name of a method that can handle the data."""
    name = check_option("method", method, (DEFAULT, *METHODS))
    if has_groups and name in _FOR_INDEPENDENT_ROWS:
        able = [f"'{DEFAULT}'", *(repr(m) for m in METHODS if m not in _FOR_INDEPENDENT_ROWS)]
        raise ValueError(
            f"`method='{name}'` needs independent rows and cannot use `groups`. "
            f"Methods that can: {', '.join(able)}."
        )
    return name


def method_law(method: str, table: Table) -> tuple[str, int]:
    """Return how the p-values of a method come about, and the number of draws behind them."""
    if not table.features:
        return "none", table.n_resamples
    resampling = "shuffle" if table.outcomes.groups is None else "sign-flip"
    return _LAWS.get(method, resampling), 0 if method in _WITHOUT_DRAWS else table.n_resamples
