"""Augmentation: images in, other views of the same faces out. NumPy and Pillow, no backend."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter, ImageStat

from annotate.images import LUMA, Pixels

BLUR = (0.004, 0.02)
"""Standard deviation of a blur, as a share of the side."""

REDUCTION = (0.3, 0.8)
"""Share of the side that a reduced view has before it is enlarged again."""

JPEG_QUALITY = (12, 71)
"""Pillow's quality: the lowest, and the first that is not drawn."""


@dataclass(frozen=True)
class Augmentation:
    """How far a view may lie from its image; the default changes nothing.

    flip, grayscale, erase, blur, reduce, jpeg: probabilities. zoom: factor range, (1, 1) is none.
    rotate_deg: degrees to either side. shift: share of the side. brightness, contrast,
    saturation: largest relative change.
    """

    flip: float = 0.0
    zoom: tuple[float, float] = (1.0, 1.0)
    rotate_deg: float = 0.0
    shift: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    grayscale: float = 0.0
    erase: float = 0.0
    blur: float = 0.0
    reduce: float = 0.0
    jpeg: float = 0.0

    @property
    def moves(self) -> bool:
        """Whether pixels change their places other than by a flip."""
        return self.zoom != (1.0, 1.0) or self.rotate_deg > 0 or self.shift > 0


def augment(pixels: Pixels, size_px: int, how: Augmentation, rng: np.random.Generator) -> Pixels:
    """New views of a batch. pixels: uint8 (N, S, S, 3). Returns uint8 (N, size_px, size_px, 3)."""
    views = np.stack([_view(image, size_px, how, rng) for image in pixels])
    if how.flip:
        flipped = rng.random(len(views)) < how.flip
        views[flipped] = views[flipped, :, ::-1]
    if how.brightness or how.contrast or how.saturation or how.grayscale:
        views = _recolour(views, how, rng)
    if how.blur or how.reduce or how.jpeg:
        for view in views:
            _spoil(view, how, rng)
    if how.erase:
        _erase(views, how.erase, rng)
    return views


def _view(image: Pixels, size_px: int, how: Augmentation, rng: np.random.Generator) -> Pixels:
    """One image, zoomed, rotated and shifted about its centre in a single resampling."""
    side = image.shape[0]
    picture = Image.fromarray(image)
    # Bilinear transforms do not average, so an image much larger than its view is shrunk first.
    if side > 1.3 * size_px:
        side = size_px
        picture = picture.resize((side, side), Image.Resampling.BILINEAR)
    if not how.moves:
        return np.asarray(picture.resize((size_px, size_px), Image.Resampling.BILINEAR))
    scale = side / size_px / rng.uniform(*how.zoom)
    angle = np.deg2rad(rng.uniform(-how.rotate_deg, how.rotate_deg))
    shift = rng.uniform(-how.shift, how.shift, 2) * side
    cosine, sine = scale * np.cos(angle), scale * np.sin(angle)
    half, centre = size_px / 2, side / 2 + shift
    matrix = (
        cosine, -sine, centre[0] - cosine * half + sine * half,
        sine, cosine, centre[1] - sine * half - cosine * half,
    )  # fmt: skip
    view = picture.transform(
        (size_px, size_px), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR
    )
    return np.asarray(view)


def _recolour(views: Pixels, how: Augmentation, rng: np.random.Generator) -> Pixels:
    """Brightness, contrast and saturation by one factor an image; some images grey.

    In this order, and without rounding between them: what an image goes through is one matrix.
    """

    def factors(amount: float) -> npt.NDArray[np.float64]:
        return rng.uniform(1 - amount, 1 + amount, len(views))

    brightness, saturation = factors(how.brightness), factors(how.saturation)
    saturation[rng.random(len(views)) < how.grayscale] = 0.0
    contrast = factors(how.contrast)
    luma = np.asarray(LUMA)
    recoloured = np.empty_like(views)
    for index, view in enumerate(views):
        kept = saturation[index] * np.eye(3) + (1 - saturation[index]) * luma
        picture = Image.fromarray(view)
        mean = brightness[index] * (np.asarray(ImageStat.Stat(picture).mean) @ luma)
        matrix = np.empty((3, 4))
        matrix[:, :3] = contrast[index] * brightness[index] * kept
        matrix[:, 3] = (1 - contrast[index]) * mean
        # Pillow rounds and cuts to 0 to 255; NumPy would take five times as long.
        recoloured[index] = np.asarray(picture.convert("RGB", tuple(matrix.ravel())))
    return recoloured


def _spoil(view: Pixels, how: Augmentation, rng: np.random.Generator) -> None:
    """What cameras and programs do to pictures, in place: out of focus, few pixels, small files."""
    size_px = len(view)
    blurred, reduced, packed = rng.random(3) < (how.blur, how.reduce, how.jpeg)
    if not (blurred or reduced or packed):
        return
    picture = Image.fromarray(view)
    if blurred:
        picture = picture.filter(ImageFilter.GaussianBlur(size_px * rng.uniform(*BLUR)))
    if reduced:
        fewer_px = max(8, round(size_px * rng.uniform(*REDUCTION)))
        picture = picture.resize((fewer_px, fewer_px), Image.Resampling.BILINEAR)
        picture = picture.resize((size_px, size_px), Image.Resampling.BILINEAR)
    if packed:
        file = io.BytesIO()
        picture.save(file, "JPEG", quality=int(rng.integers(*JPEG_QUALITY)))
        picture = Image.open(file)
    view[:] = np.asarray(picture)


def _erase(views: Pixels, probability: float, rng: np.random.Generator) -> None:
    """Fill one rectangle (2 to 20 % of the area) of some images with noise, in place.

    Source: random erasing, Zhong et al. 2020.
    """
    size_px = views.shape[1]
    for index in np.flatnonzero(rng.random(len(views)) < probability):
        view = views[index]
        area, aspect = rng.uniform(0.02, 0.2), np.exp(rng.uniform(-1, 1))
        height = max(1, min(size_px, round(size_px * np.sqrt(area * aspect))))
        width = max(1, min(size_px, round(size_px * np.sqrt(area / aspect))))
        top, left = rng.integers(0, size_px - height + 1), rng.integers(0, size_px - width + 1)
        view[top : top + height, left : left + width] = rng.integers(
            0, 256, (height, width, 3), np.uint8
        )
