"""How the report writes numbers, and the sentences it opens with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sk_arcal.audit._records import FeatureAudit

if TYPE_CHECKING:
    from sk_arcal.audit._results import RoutingAudit

# Groups of digits, and a number and its unit, must not be parted at the end of a line.
_THIN = "\N{NARROW NO-BREAK SPACE}"
_MINUS = "\N{MINUS SIGN}"
_UNKNOWN = "\N{EN DASH}"


def percent(share: float, digits: int = 1) -> str:
    """Write a share as a percentage."""
    return f"{decimal(100 * share, digits)}{_THIN}%" if np.isfinite(share) else _UNKNOWN


def points(share: float, digits: int = 1) -> str:
    """Write a difference of shares in percentage points, with its sign."""
    return signed(100 * share, digits)


def decimal(value: float | None, digits: int = 4) -> str:
    """Write a number with a true minus sign; a dash if it is not known."""
    if value is None or not np.isfinite(value):
        return _UNKNOWN
    text = f"{value:.{digits}f}"
    return text.lstrip("-") if float(text) == 0 else text.replace("-", _MINUS)


def signed(value: float, digits: int = 4) -> str:
    """Write a number with its sign, none if it rounds to zero."""
    text = decimal(value, digits)
    shown = text.removeprefix(_MINUS).strip("0.") != "" and text != _UNKNOWN
    return f"+{text}" if shown and value > 0 else text


def whole(count: int) -> str:
    """Write a count in groups of three digits."""
    return f"{count:,}".replace(",", _THIN)


def pvalue(value: float) -> str:
    """Write a p-value: three digits where they matter, never zero."""
    if not np.isfinite(value):
        return _UNKNOWN
    if value < 0.001:
        return f"<{_THIN}0.001"
    return f"{value:.3f}" if value < 0.1 else f"{value:.2f}"


def equals(value: float) -> str:
    """Write a p-value as it stands in a sentence."""
    text = pvalue(value)
    return f"p{_THIN}{text}" if text.startswith("<") else f"p{_THIN}={_THIN}{text}"


def interval(limits: Sequence[float], write: Any) -> str:
    """Write two limits in brackets, each by the function `write`."""
    return f"[{write(limits[0])}, {write(limits[1])}]"


def point_interval(limits: Sequence[float]) -> str:
    """Write an interval of percentage points."""
    return interval(limits, points)


def percent_interval(limits: Sequence[float]) -> str:
    """Write an interval of percentages, the sign of percent left to its estimate."""
    return interval(limits, lambda share: decimal(100 * share, 1))


def gain(nats: float) -> str:
    """Write a fall in log loss, in nats per 1000 rows."""
    return signed(1000 * nats, 1)


def gain_interval(limits: Sequence[float]) -> str:
    """Write an interval of such gains."""
    return interval(limits, gain)


def plain(value: Any) -> str:
    """Write a setting or a piece of provenance, however it is nested."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {plain(item)}" for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(plain(item) for item in value)
    return _UNKNOWN if value is None else str(value)


def event_words(audit: RoutingAudit) -> str:
    """Say what the accuracy of this audit is the rate of."""
    return "the prediction is right" if audit.n_classes > 2 else "the event happens"


def calibration_sentence(audit: RoutingAudit) -> str:
    """Say how far confidence and event rate are apart on average."""
    excess = audit.mean_confidence - audit.accuracy
    classes = f" ({whole(audit.n_classes)} classes)" if audit.n_classes > 2 else ""
    opening = (
        f"On {whole(audit.n_evaluated)} rows{classes} {event_words(audit)} in "
        f"{percent(audit.accuracy)} of cases, while the mean confidence is "
        f"{percent(audit.mean_confidence)}"
    )
    # two standard errors of a rate: less than that is chance
    if abs(excess) <= 2 * np.sqrt(audit.accuracy * (1 - audit.accuracy) / audit.n_evaluated):
        return f"{opening}: right on average, as far as these rows can tell."
    word = "over" if excess > 0 else "under"
    return f"{opening}: {word}-confident by {decimal(100 * abs(excess), 1)} points."


def error_sentence(audit: RoutingAudit) -> str:
    """Say how large the raw calibration error is, and how much of it is noise."""
    raw = audit.scorecard[0]
    return (
        f"The expected calibration error is {percent(raw.ece)}; a calibrated model would read "
        f"{percent(raw.ece_floor)} on these rows. Less that bias it is "
        f"{percent(raw.ece_corrected)} {percent_interval((raw.ece_low, raw.ece_high))}."
    )


def verdict_groups(audit: RoutingAudit) -> list[tuple[str, list[FeatureAudit]]]:
    """Sort the routing features by verdict, signals first."""
    return by_verdict(audit.features.values())


def by_verdict(features: Iterable[Any]) -> list[tuple[str, list[Any]]]:
    """Sort the routing features among `features` by verdict, signals first."""
    routing = [feature for feature in features if feature.role != "control"]
    groups = [
        (verdict, [feature for feature in routing if feature.verdict == verdict])
        for verdict in ("signal", "cannot tell", "no signal")
    ]
    return [(verdict, found) for verdict, found in groups if found]
