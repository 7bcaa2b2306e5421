"""Flags: the pixels of a face in, remarks on what makes its labels doubtful out."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from annotate.images import Pixels, luma

Gray = npt.NDArray[np.float32]

SMALL_FACE_PX = 48
"""A face whose shorter side has fewer pixels in the original is flagged `small_face`."""

BLUR_LIMIT = 0.012
"""`blurred` below this sharpness (see `sharpness`). 3 to 4 % of UTKFace lie below, and three
quarters of the same images after a Gaussian blur of 3 px at 200 px."""

COLOUR_LIMIT = 1.5
"""`grayscale` where red and green, and green and blue, differ by less than this on average, of
255 levels. Gray pictures saved in colour stay below 0.2."""


def pixel_flags(pixels: Pixels, side_px: float) -> tuple[str, ...]:
    """The remarks that a face's pixels call for, in the order of records.FLAGS.

    pixels: uint8 (S, S, 3) RGB. side_px: its shorter side in the original picture.
    """
    flags = []
    if side_px < SMALL_FACE_PX:
        flags.append("small_face")
    if sharpness(luma(pixels)) < BLUR_LIMIT:
        flags.append("blurred")
    few = pixels[::2, ::2]  # a quarter of the pixels tells as much
    green = few[..., 1].astype(np.int16)
    apart = np.abs(few[..., 0] - green).mean() + np.abs(few[..., 2] - green).mean()
    if apart / 2 < COLOUR_LIMIT:
        flags.append("grayscale")
    return tuple(flags)


def sharpness(gray: Gray) -> float:
    """Variance of the Laplacian over the variance of the picture: sharpness at any contrast.

    gray: float32 (S, S), 0 to 255. A flat picture has 0.
    Source: variance of the Laplacian, Pech-Pacheco et al. 2000.
    """
    # In place: this runs for every face, and each new array costs as much as a sum.
    laplacian = gray[1:-1, 1:-1] * -4
    laplacian += gray[1:-1, :-2]
    laplacian += gray[1:-1, 2:]
    laplacian += gray[:-2, 1:-1]
    laplacian += gray[2:, 1:-1]
    return _variance(laplacian) / max(_variance(gray), 1.0)


def _variance(values: Gray) -> float:
    """Variance of all values; several times as fast as NumPy's own for a small array."""
    flat = values.ravel() - values.mean()
    return float(np.dot(flat, flat) / flat.size)
