"""Images as rows of a classifier: their shape, and the scale of their numbers."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_array, check_consistent_length


class ImageRows:
    """Mixin of classifiers of images; remembers what `fit` saw."""

    def _checked(self, X: Any, y: Any = None) -> tuple[NDArray[Any], Any]:
        images = as_images(X)
        if y is not None:
            check_consistent_length(images, y)
            self.image_shape_ = tuple(map(int, images.shape[1:]))
            self.n_features_in_ = int(np.prod(self.image_shape_))
            self._saw_bytes = images.dtype == np.uint8
            self._saw_shares = self._saw_bytes or bool(images.min() >= 0 and images.max() <= 1)
            return images, y
        if images.shape[1:] != self.image_shape_:
            raise ValueError(
                f"`X` holds images of shape {images.shape[1:]}, but `fit` saw images of shape "
                f"{self.image_shape_} (height, width, channels)."
            )
        self._check_scale(images)
        return images, None

    def _check_scale(self, images: NDArray[Any]) -> None:
        """Refuse what would be read on another scale than in `fit`."""
        are_bytes = images.dtype == np.uint8
        if self._saw_bytes and not are_bytes and images.max() > 1:
            raise ValueError(
                "`fit` saw images of unsigned bytes, which are divided by 255. `X` holds other "
                f"numbers, up to {images.max():g}: pass uint8, or shares in [0, 1]."
            )
        if are_bytes and not self._saw_shares:
            raise ValueError(
                "`X` holds unsigned bytes, which are divided by 255, but `fit` saw other numbers "
                "outside [0, 1]. Pass the same type in both."
            )


def as_images(X: Any) -> NDArray[Any]:
    """Return bytes or float32 of shape (n_samples, height, width, channels)."""
    given = np.asarray(X)
    kept = np.uint8 if given.dtype == np.uint8 else np.float32
    images = check_array(given, dtype=kept, ensure_2d=False, allow_nd=True, input_name="X")
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4:
        raise ValueError(
            "`X` must hold images, of shape (n_samples, height, width, channels) or (n_samples, "
            f"height, width); got shape {images.shape}."
        )
    return images
