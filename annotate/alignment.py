"""Alignment: a picture and the landmarks of a face in, the face as UTKFace would show it out.

Coordinates are (x, y) in pixels and count from the corner of the first pixel, so that scaling a
picture scales them.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

from annotate.images import Pixels

Matrix = npt.NDArray[np.float64]

CROP_PX = 200
"""Side of UTKFace's crops, in which TEMPLATE is given."""

TEMPLATE = np.array(
    [
        (59.4, 56.0),
        (138.0, 56.0),
        (98.4, 102.3),
        (63.9, 136.3),
        (133.4, 136.2),
    ]
)
"""Where UTKFace's crops have the landmarks: medians over the crops with a face of score over 0.9.
For half of the crops, the eyes lie within 3 px of it, nose and mouth within 6. Measured by
`python benchmarks/measure_faces.py template $UTKFACE`."""


def similarity(points: npt.ArrayLike, targets: npt.ArrayLike) -> Matrix:
    """The rotation, scaling and shift that brings points nearest to targets, as (2, 3).

    points, targets: (n, 2). Raises ValueError where the points are all one, or not finite.
    Source: least squares without reflection, Umeyama 1991.
    """
    # In the complex plane a similarity is z -> a z + b, and least squares has a closed form.
    start, end = (np.asarray(each, np.float64) @ (1, 1j) for each in (points, targets))
    spread = start - start.mean()
    size = np.vdot(spread, spread).real
    if not np.isfinite(size) or size < 1e-6:
        raise ValueError("landmarks that are all at one place give no direction")
    factor = np.vdot(spread, end - end.mean()) / size
    shift = end.mean() - factor * start.mean()
    return np.array(
        [[factor.real, -factor.imag, shift.real], [factor.imag, factor.real, shift.imag]]
    )


def warp(pixels: Pixels, matrix: Matrix, size_px: int) -> Pixels:
    """A square of a picture, turned and scaled.

    pixels: uint8 (h, w, 3). matrix: (2, 3), from the square's coordinates to the picture's, a
    similarity. Returns uint8 (size_px, size_px, 3); what lies outside the picture is black.
    Where the square is smaller than what it shows, pixels are averaged first: nothing aliases.
    """
    ends = np.array([(0, 0), (size_px, 0), (0, size_px), (size_px, size_px)])
    corners = ends @ matrix[:, :2].T + matrix[:, 2]
    reduction = max(1, int(np.hypot(*matrix[:, 0])))
    height, width = pixels.shape[:2]
    # Two pixels around what is shown are what interpolation may reach for.
    low = np.floor(corners.min(axis=0)).astype(int) - 2 * reduction
    high = np.ceil(corners.max(axis=0)).astype(int) + 2 * reduction
    left, top = np.clip(low, 0, (width, height))
    right, bottom = np.clip(high, 0, (width, height))
    if left >= right or top >= bottom:
        return np.zeros((size_px, size_px, 3), np.uint8)
    region = Image.fromarray(pixels[top:bottom, left:right])
    if reduction > 1:
        region = region.reduce(reduction)
    local = matrix.copy()
    local[:, 2] -= (left, top)
    local /= reduction
    shown = region.transform(
        (size_px, size_px),
        Image.Transform.AFFINE,
        tuple(local.ravel()),
        resample=Image.Resampling.BILINEAR,
    )
    return np.asarray(shown)


def align(pixels: Pixels, landmarks: npt.ArrayLike, size_px: int) -> Pixels:
    """Warp one face so that its landmarks lie nearest to UTKFace's mean positions.

    pixels: uint8 (h, w, 3) RGB. landmarks: (5, 2), (x, y) pixels. Returns uint8 (size_px,
    size_px, 3). Raises ValueError where the landmarks are degenerate.
    """
    return warp(pixels, crop_matrix(landmarks, size_px), size_px)


def crop_matrix(landmarks: npt.ArrayLike, size_px: int) -> Matrix:
    """From the coordinates of a face's aligned crop to those of its picture, as (2, 3).

    Raises ValueError where the landmarks are degenerate.
    """
    matrix = similarity(TEMPLATE * (size_px / CROP_PX), landmarks)
    if not np.hypot(*matrix[:, 0]) > 0:
        raise ValueError("landmarks that are all at one place, or nowhere, give no direction")
    return matrix


def crop_side(landmarks: npt.ArrayLike) -> float:
    """Side of a face's aligned crop in pixels of its picture; 0 where there can be none."""
    try:
        return float(np.hypot(*crop_matrix(landmarks, 1)[:, 0]))
    except ValueError:
        return 0.0
