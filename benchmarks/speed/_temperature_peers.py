"""Ways to fit one temperature and to apply it: limits, other libraries, the published recipe."""

from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator

from benchmarks.speed import _peers
from benchmarks.speed._harness import Contender

BLOCK = 1 << 16

SKLEARN = "scikit-learn temperature scaling"
SKLEARN_CV = "scikit-learn CalibratedClassifierCV"
PROBMETRICS = "probmetrics bisection"
NETCAL = "netcal"
GUO = "torch LBFGS, published recipe"
LOGSUMEXP_TORCH = "limit: torch logsumexp, one pass"
LOGSUMEXP_NUMPY = "limit: blocked numpy logsumexp, one pass"
EXP_ONCE = "limit: exp of every logit in float32"
READ_ONCE = "limit: read once (max)"
TORCH_SOFTMAX = "torch softmax"
TORCH_WARM = "torch softmax, out given"


class Passed(ClassifierMixin, BaseEstimator):
    """A classifier whose scores are the columns of X."""

    def fit(self, X: Any, y: Any) -> "Passed":
        """Remember the classes."""
        self.classes_ = np.unique(y)
        return self

    def decision_function(self, X: Any) -> Any:
        """Return X."""
        return X

    def predict(self, X: Any) -> Any:
        """Return the largest column."""
        return self.classes_[np.argmax(X, axis=1)]


def blocks(logits: NDArray[np.floating]) -> Iterator[NDArray[np.floating]]:
    """Rows in blocks that stay in cache."""
    step = max(1, BLOCK // logits.shape[1])
    return (logits[start : start + step] for start in range(0, len(logits), step))


def blocked_logsumexp(logits: NDArray[np.floating]) -> float:
    """Compute what any fit has to do once."""
    ones, total = np.ones(logits.shape[1], logits.dtype), 0.0
    for part in blocks(logits):
        top = part.max(axis=1, keepdims=True)
        total += float((np.log(np.exp(part - top) @ ones) + top[:, 0]).sum())
    return total


def exp_once(logits: NDArray[np.floating]) -> None:
    """Exponentials alone, into one block."""
    buffer = np.empty((max(1, BLOCK // logits.shape[1]), logits.shape[1]), np.float32)
    for part in blocks(logits):
        np.exp(part, out=buffer[: len(part)], casting="same_kind")


def fit_limits(logits: NDArray[np.floating]) -> list[Contender]:
    """Return what reads the same data and does less than a fit."""
    return [
        *_peers.contenders((LOGSUMEXP_TORCH, "torch", _torch_logsumexp(logits), 1.0)),
        Contender(LOGSUMEXP_NUMPY, lambda: blocked_logsumexp(logits)),
        Contender(EXP_ONCE, lambda: exp_once(logits)),
        Contender(READ_ONCE, lambda: max(float(part.max()) for part in blocks(logits))),
    ]


def _torch_logsumexp(logits: NDArray[np.floating]) -> Callable[[Any], Callable[[], Any]]:
    def prepare(torch: Any) -> Callable[[], Any]:
        tensor = torch.from_numpy(logits)
        return lambda: torch.logsumexp(tensor, dim=1).sum()

    return prepare


def fit_peers(logits: NDArray[np.floating], y: NDArray[np.intp], slow: bool) -> list[Contender]:
    """Fits that return T; those of hours only if `slow`."""
    offers = [
        (SKLEARN, "sklearn.calibration", _sklearn(logits, y), 1.0),
        (SKLEARN_CV, "sklearn.calibration", lambda _: lambda: _sklearn_cv(logits, y), 1.0),
        (PROBMETRICS, "probmetrics.calibrators", _probmetrics(logits, y), 1.0),
        (NETCAL, "netcal.scaling", _netcal(logits, y), 1.0),
    ]
    if slow:
        offers.append((GUO, "torch", _guo(logits, y), 1.0))
    return _peers.contenders(*offers)


def _sklearn(
    logits: NDArray[np.floating], y: NDArray[np.intp]
) -> Callable[[Any], Callable[[], float]]:
    def prepare(calibration: Any) -> Callable[[], float]:
        # Not public; where a version lacks it, the public class below remains.
        method = getattr(calibration, "_TemperatureScaling", None)
        if method is None:
            raise ImportError(SKLEARN)
        return lambda: float(1 / method().fit(logits, y).beta_)

    return prepare


def _sklearn_cv(logits: NDArray[np.floating], y: NDArray[np.intp]) -> float:
    frozen = FrozenEstimator(Passed().fit(logits, y))
    fitted = CalibratedClassifierCV(frozen, method="temperature", ensemble=False).fit(logits, y)
    return float(1 / fitted.calibrated_classifiers_[0].calibrators[0].beta_)


def _probmetrics(
    logits: NDArray[np.floating], y: NDArray[np.intp]
) -> Callable[[Any], Callable[[], float]]:
    def prepare(calibrators: Any) -> Callable[[], float]:
        torch, distributions = import_module("torch"), import_module("probmetrics.distributions")
        scores, labels = torch.from_numpy(logits), torch.from_numpy(y)

        def fit() -> float:
            calibrator = calibrators.TemperatureScalingCalibrator()
            calibrator.fit_torch(distributions.CategoricalLogits(scores), labels)
            return float(1 / calibrator.invtemp_)

        return fit

    return prepare


def _netcal(
    logits: NDArray[np.floating], y: NDArray[np.intp]
) -> Callable[[Any], Callable[[], float]]:
    def prepare(scaling: Any) -> Callable[[], float]:
        probability = softmax(logits, axis=1)

        def fit() -> float:
            calibrator = scaling.TemperatureScaling()
            calibrator.fit(probability, y)
            return float(1 / np.ravel(calibrator.weights)[0])

        return fit

    return prepare


def _guo(logits: NDArray[np.floating], y: NDArray[np.intp]) -> Callable[[Any], Callable[[], float]]:
    def prepare(torch: Any) -> Callable[[], float]:
        scores, labels = torch.from_numpy(logits), torch.from_numpy(y)

        def fit() -> float:
            temperature = torch.nn.Parameter(torch.full((1,), 1.5, dtype=scores.dtype))
            optimizer = torch.optim.LBFGS([temperature], lr=0.01, max_iter=50)

            def closure() -> Any:
                optimizer.zero_grad()
                loss = torch.nn.functional.cross_entropy(scores / temperature, labels)
                loss.backward()
                return loss

            optimizer.step(closure)
            return float(temperature.detach())

        return fit

    return prepare


def transform_peers(
    logits: NDArray[np.floating], y: NDArray[np.intp], temperature: float
) -> list[Contender]:
    """Softmax of scaled logits elsewhere."""
    return _peers.contenders(
        (TORCH_SOFTMAX, "torch", _torch_softmax(logits, temperature, False), 1.0),
        (TORCH_WARM, "torch", _torch_softmax(logits, temperature, True), 1.0),
        (SKLEARN, "sklearn.calibration", _sklearn_predict(logits, y), 1.0),
    )


def _torch_softmax(
    logits: NDArray[np.floating], temperature: float, warm: bool
) -> Callable[[Any], Callable[[], Any]]:
    def prepare(torch: Any) -> Callable[[], Any]:
        tensor = torch.from_numpy(logits)
        if not warm:
            return lambda: torch.softmax(tensor / temperature, dim=1)
        scaled, out = torch.empty_like(tensor), torch.empty_like(tensor)

        def call() -> Any:
            torch.div(tensor, temperature, out=scaled)
            return torch.softmax(scaled, dim=1, out=out)

        return call

    return prepare


def _sklearn_predict(
    logits: NDArray[np.floating], y: NDArray[np.intp]
) -> Callable[[Any], Callable[[], Any]]:
    def prepare(calibration: Any) -> Callable[[], Any]:
        method = getattr(calibration, "_TemperatureScaling", None)
        if method is None:
            raise ImportError(SKLEARN)
        few = method().fit(logits[:1000], y[:1000])
        return lambda: few.predict(logits)

    return prepare
