"""The shared images of CIFAR-10, as arrays."""

import io
from pathlib import Path

import numpy as np
from PIL import Image


def decoded(path: Path, n: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Return images and labels of a pack of JPEGs that share their header."""
    pack = np.load(path)
    header, payload, offset = pack["header"].tobytes(), pack["payload"].tobytes(), pack["offset"]
    n = len(offset) - 1 if n is None else n
    files = (header + payload[offset[i] : offset[i + 1]] for i in range(n))
    images = [np.asarray(Image.open(io.BytesIO(file)).convert("RGB")) for file in files]
    return np.stack(images), pack["y"][:n].astype(int)


def training_images(folder: Path, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the first n training images."""
    if n > 2000:
        return decoded(folder / "images" / "cifar10_train_jpeg.npz", n)
    small = np.load(folder / "images" / "cifar10_small_raw.npz")
    return small["X_train"][:n], small["y_train"][:n].astype(int)
