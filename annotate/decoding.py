"""Decoding: a Source in, a Sample out. What the worker processes run.

The file is opened once and read once: its hash, its size and its pixels come from the same
bytes. Imports nothing but NumPy and Pillow, so that a worker starts quickly.
"""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from annotate.errors import one_line
from annotate.images import (
    MAX_PIXELS,
    UNSUPPORTED_SUFFIXES,
    ImageError,
    Pixels,
    face_crop,
    luma,
)
from annotate.records import Face, Facts, Failure, Sample, Source, Status, modified_ns

Gray = npt.NDArray[np.float32]

MAX_FILE_BYTES = 512 * 2**20
"""Larger files are `too_large`: they would have to be held in memory whole."""

SMALL_FACE_PX = 48
"""A face whose shorter side has fewer pixels in the original is flagged `small_face`."""

BLUR_LIMIT = 0.012
"""`blurred` below this sharpness (see `sharpness`). 3 to 4 % of UTKFace lie below, and three
quarters of the same images after a Gaussian blur of 3 px at 200 px."""

COLOUR_LIMIT = 1.5
"""`grayscale` where red and green, and green and blue, differ by less than this on average, of
255 levels. Gray pictures saved in colour stay below 0.2."""


@dataclass(frozen=True, slots=True)
class DecodeOptions:
    """size_px: side of the crops to make. max_pixels: larger pictures are `too_large`."""

    size_px: int
    max_pixels: int = MAX_PIXELS


def decode_source(source: Source, options: DecodeOptions) -> Sample:
    """Read, hash and decode one input whose picture is one aligned face.

    Whatever is wrong with the file becomes the sample's failure; nothing is raised for it.
    """
    facts = Facts(size_bytes=source.size_bytes, modified_ns=source.modified_ns)
    if source.failure is not None:
        return _failed(source, Facts(), source.failure, options)
    if os.path.splitext(source.path)[1].lower() in UNSUPPORTED_SUFFIXES:
        text = f"{os.path.splitext(source.path)[1].lower()[1:]} files are not decoded"
        return _failed(source, facts, Failure(Status.UNSUPPORTED, text), options)
    try:
        data, facts = _read(source)
    except OSError as error:
        failure = Failure(Status.UNREADABLE, error.strerror or one_line(error))
        return _failed(source, facts, failure, options)
    if isinstance(data, Failure):
        return _failed(source, facts, data, options)
    try:
        picture = face_crop(data, options.size_px, max_pixels=options.max_pixels)
    except ImageError as error:
        return _failed(source, facts, Failure(error.status, str(error)), options)
    facts = replace(
        facts, width=picture.width, height=picture.height, captured_at=picture.captured_at
    )
    box = (0.0, 0.0, float(picture.width), float(picture.height))
    face = Face(box, flags=pixel_flags(picture.pixels, min(picture.width, picture.height)))
    return Sample(source, facts, (face,), picture.pixels[None])


def crashed(source: Source, options: DecodeOptions) -> Sample:
    """The sample of an input that ended the process that decoded it."""
    facts = Facts(size_bytes=source.size_bytes, modified_ns=source.modified_ns)
    failure = Failure(Status.CRASHED, "the process that decoded this file ended unexpectedly")
    return _failed(source, facts, failure, options)


def _failed(source: Source, facts: Facts, failure: Failure, options: DecodeOptions) -> Sample:
    none = np.empty((0, options.size_px, options.size_px, 3), np.uint8)
    return Sample(source, facts, (), none, failure)


def _read(source: Source) -> tuple[bytes | Failure, Facts]:
    """The file's bytes, or why they do not count, and its size, time and hash as read.

    Raises OSError.
    """
    # Without O_NONBLOCK, a FIFO that took the file's place since the scan would block for ever.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    with os.fdopen(os.open(source.location, flags), "rb") as file:
        before = os.fstat(file.fileno())
        facts = Facts(size_bytes=before.st_size, modified_ns=modified_ns(before))
        if not stat.S_ISREG(before.st_mode):
            return Failure(Status.UNREADABLE, "not a regular file"), Facts()
        if before.st_size > MAX_FILE_BYTES:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            text = f"{before.st_size} bytes, the limit is {MAX_FILE_BYTES}"
            return Failure(Status.TOO_LARGE, text), replace(facts, sha256=sha256)
        # One byte more than expected shows growth without reading a file that never ends.
        data = file.read(before.st_size + 1)
        after = os.fstat(file.fileno())
    if len(data) != before.st_size or after.st_mtime_ns != before.st_mtime_ns:
        return Failure(Status.CHANGED, "the file changed while it was read"), facts
    return data, replace(facts, sha256=hashlib.sha256(data).hexdigest())


def pixel_flags(pixels: Pixels, side_px: int) -> tuple[str, ...]:
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
