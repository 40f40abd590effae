"""The record of a row: everything a network said about it, as one flat vector.

``[scores | weights of every site | token statistics of every site | load of every router]``
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sk_arcal._routing import TOKEN_STATISTICS, RouteSite, RoutingProfile
from sk_arcal._validation import FloatArray

OUTPUTS = ("logits", "options", "confidence")


@dataclass(frozen=True, eq=False)
class Extraction:
    """What a network says about some rows.

    Returned by :meth:`RoutingFeatureExtractor.extract`.

    Attributes
    ----------
    scores : ndarray of shape (n_samples, n_scores)
        One logit per class or option; for ``outputs="confidence"`` the log-odds of the most
        probable class; without columns for ``outputs=None``.
    prediction : ndarray of int of shape (n_samples,) or None
        Position of the most probable class, option or token; None for ``outputs=None``.
    profile : RoutingProfile
        Routing at every site.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_arcal.feature_extraction import Extraction, RoutingProfile
    >>> profile = RoutingProfile.from_weights([np.array([[0.5, 0.5]])])
    >>> Extraction(np.array([[0.1, 2.0]]), np.array([1]), profile).prediction
    array([1])
    """

    scores: FloatArray
    prediction: NDArray[np.intp] | None
    profile: RoutingProfile

    def __len__(self) -> int:
        return len(self.profile)

    @classmethod
    def concatenate(cls, parts: "Sequence[Extraction]") -> "Extraction":
        """Join extractions of the same network, in order.

        Parameters
        ----------
        parts : sequence of Extraction
            At least one.

        Returns
        -------
        extraction : Extraction
            Of all their rows.
        """
        predictions = [part.prediction for part in parts if part.prediction is not None]
        return cls(
            np.concatenate([part.scores for part in parts]),
            np.concatenate(predictions) if predictions else None,
            RoutingProfile.concatenate([part.profile for part in parts]),
        )


@dataclass(frozen=True)
class RecordLayout:
    """What the entries of a record mean.

    Attributes
    ----------
    outputs : {"logits", "options", "confidence"} or None
        Kind of scores.
    n_scores : int
        Logits of all classes or options, in order; for "confidence" two entries, the log-odds of
        the most probable class and its position.
    sites : tuple of RouteSite
        In the order in which the network reaches them.
    dtype : {"float32", "float64"}
        Of the record.
    """

    outputs: str | None
    n_scores: int
    sites: tuple[RouteSite, ...]
    dtype: str = "float32"

    @property
    def n_weights(self) -> int:
        """Number of routes of all sites."""
        return sum(site.n_routes for site in self.sites)

    @property
    def n_loads(self) -> int:
        """Number of experts of all routers."""
        return sum(site.n_routes for site in self.sites if site.kind == "router")

    @property
    def width(self) -> int:
        """Number of entries."""
        return (
            self.n_scores + self.n_weights + len(TOKEN_STATISTICS) * len(self.sites) + self.n_loads
        )

    def extraction(self, records: FloatArray) -> Extraction:
        """Return what records of shape (n_samples, width) say."""
        ends = np.cumsum([self.n_scores, self.n_weights, len(TOKEN_STATISTICS) * len(self.sites)])
        scores, weights, statistics, load = np.split(records, ends, axis=1)
        by_site = statistics.reshape(len(records), len(self.sites), len(TOKEN_STATISTICS))
        profile = RoutingProfile(self.sites, weights, by_site, load)
        if self.outputs is None:
            return Extraction(scores, None, profile)
        if self.outputs == "confidence":
            return Extraction(scores[:, :1], scores[:, 1].astype(np.intp), profile)
        # A single score is a log-odds.
        predicted = scores.argmax(axis=1) if self.n_scores > 1 else (scores[:, 0] > 0).astype(int)
        return Extraction(scores, predicted, profile)

    def non_finite_rows(self, records: FloatArray) -> NDArray[np.intp]:
        """Return the rows whose scores or weights are not finite; loads may be unknown."""
        known = records[:, : self.width - self.n_loads]
        return np.flatnonzero(~np.isfinite(known).all(axis=1))

    def to_dict(self) -> dict[str, Any]:
        """Return the layout as plain data."""
        return asdict(self) | {"sites": [asdict(site) for site in self.sites]}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> "RecordLayout":
        """Return the layout that plain data describe."""
        sites = tuple(RouteSite(**site) for site in document["sites"])
        return cls(document["outputs"], document["n_scores"], sites, document["dtype"])
