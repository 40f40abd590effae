"""The textbook maps of the confidence, cross-fitted on the folds of the probes."""

from collections.abc import Callable

import numpy as np
from scipy.special import expit
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from sk_arcal._numeric import clipped_logit
from sk_arcal._validation import FloatArray
from sk_arcal.calibration._tempering import fit_temperature
from sk_arcal.diagnostics._confidence_bins import IntArray
from sk_arcal.metrics._binning import bin_codes, bin_edges, bin_sums

_EPS = float(np.finfo(np.float64).eps)
_N_BINS = 15

Baseline = Callable[[FloatArray, FloatArray, FloatArray], FloatArray]


def baseline_predictions(
    name: str, event: FloatArray, confidence: FloatArray, folds: list[tuple[IntArray, IntArray]]
) -> FloatArray:
    """Out-of-fold predictions of one of `BASELINES`."""
    predictions = np.empty(len(event))
    for fit, test in folds:
        predictions[test] = BASELINES[name](event[fit], confidence[fit], confidence[test])
    return predictions


def _raw(event: FloatArray, confidence: FloatArray, query: FloatArray) -> FloatArray:
    return query


def _temperature(event: FloatArray, confidence: FloatArray, query: FloatArray) -> FloatArray:
    fit = fit_temperature(clipped_logit(confidence, _EPS), event, np.ones(len(event)))
    return expit(clipped_logit(query, _EPS) / fit.temperature)


def _platt(event: FloatArray, confidence: FloatArray, query: FloatArray) -> FloatArray:
    """Logistic regression on the logit, with the targets of Platt (1999), section 2.2.

    The targets stay away from 0 and 1, so that the fit exists where the confidence separates
    the outcomes; a target between them is a row that counts in part as each.
    """
    n_events = event.sum()
    target = np.where(event == 1, (n_events + 1) / (n_events + 2), 1 / (len(event) - n_events + 2))
    logit, n = clipped_logit(confidence, _EPS)[:, None], len(event)
    model = LogisticRegression(C=np.inf, tol=1e-8, max_iter=1000)
    model.fit(
        np.concatenate([logit, logit]),
        np.repeat([1, 0], n),
        sample_weight=np.concatenate([target, 1 - target]),
    )
    return np.asarray(model.predict_proba(clipped_logit(query, _EPS)[:, None])[:, 1])


def _isotonic(event: FloatArray, confidence: FloatArray, query: FloatArray) -> FloatArray:
    return IsotonicRegression(out_of_bounds="clip").fit(confidence, event).predict(query)


def _histogram(event: FloatArray, confidence: FloatArray, query: FloatArray) -> FloatArray:
    weight = np.ones(len(event))
    edges = bin_edges(confidence, weight, n_bins=_N_BINS, strategy="quantile")
    codes = bin_codes(confidence, edges)
    rate = bin_sums(codes, event) / bin_sums(codes, weight)
    return rate[bin_codes(query, edges)]


BASELINES: dict[str, Baseline] = {
    "raw": _raw,
    "temperature": _temperature,
    "Platt": _platt,
    "isotonic": _isotonic,
    "histogram": _histogram,
}
