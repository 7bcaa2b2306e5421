"""Decoding: a Source in, a Sample out. What the worker processes run.

The file is opened once and read once: its hash, its size and its pixels come from the same
bytes. Without face detection it imports nothing but NumPy and Pillow, so that a worker starts
quickly.
"""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass, replace

import numpy as np

from annotate.crops import save_crops
from annotate.digests import known_contents
from annotate.errors import one_line
from annotate.face_options import FaceOptions
from annotate.flags import pixel_flags
from annotate.images import (
    MAX_PIXELS,
    ImageError,
    Picture,
    Pixels,
    face_crop,
    is_unsupported,
    load_parsers,
)
from annotate.records import Face, Facts, Failure, Kept, Sample, Source, Status, modified_ns
from annotate.streams import MAX_FILE_BYTES, open_source


@dataclass(frozen=True, slots=True)
class DecodeOptions:
    """size_px: side of the crops to make. max_pixels: larger pictures are `too_large`.

    faces: which faces of a photograph count; None where each picture is one aligned face.
    crops_dir: where the aligned crops of photographs are saved; None for nowhere. known: a file of
    the contents whose rows are known, for KnownContents; None where none are. timeout_s: how long
    one input may take, None for as long as it does.
    """

    size_px: int
    max_pixels: int = MAX_PIXELS
    faces: FaceOptions | None = None
    crops_dir: str | None = None
    known: str | None = None
    timeout_s: float | None = None


def load_decoders(options: DecodeOptions) -> None:
    """Load what the first input would wait for, so that it takes no longer than others do."""
    load_parsers()
    if options.faces is not None:
        from annotate.faces import load_detector

        load_detector()


def decode_step(step: Source | Kept, options: DecodeOptions) -> Sample | Kept:
    """As decode_source; rows that are kept pass by, so that the order stays."""
    return step if isinstance(step, Kept) else decode_source(step, options)


def decode_source(source: Source, options: DecodeOptions) -> Sample:
    """Read, hash and decode one input, and find its faces where it is a photograph.

    Whatever is wrong with the file becomes the sample's failure; nothing is raised for it.
    Raises AnnotateError where a crop cannot be saved.
    """
    facts = Facts(size_bytes=source.size_bytes, modified_ns=source.modified_ns)
    if source.failure is not None:
        return _failed(source, facts, source.failure, options)
    if is_unsupported(source.path):
        text = f"{os.path.splitext(source.path)[1].lower()[1:]} files are not decoded"
        return _failed(source, facts, Failure(Status.UNSUPPORTED, text), options)
    try:
        data, facts = _read(source)
    except OSError as error:
        failure = Failure(Status.UNREADABLE, error.strerror or one_line(error))
        return _failed(source, facts, failure, options)
    if isinstance(data, Failure):
        return _failed(source, facts, data, options)
    if options.known is not None and str(facts.sha256) in known_contents(options.known):
        return Sample(source, facts, (), _no_crops(options), is_known=True)
    try:
        if options.faces is None:
            return _crop_sample(source, facts, data, options)
        return _photograph_sample(source, facts, data, options, options.faces)
    except ImageError as error:
        return _failed(source, facts, Failure(error.status, str(error)), options)


def _crop_sample(source: Source, facts: Facts, data: bytes, options: DecodeOptions) -> Sample:
    """The sample of a picture that is one aligned face. Raises ImageError."""
    picture = face_crop(data, options.size_px, max_pixels=options.max_pixels)
    box = (0.0, 0.0, float(picture.width), float(picture.height))
    face = Face(box, flags=pixel_flags(picture.pixels, min(picture.width, picture.height)))
    return Sample(source, _with_size(facts, picture), (face,), picture.pixels[None])


def _photograph_sample(
    source: Source, facts: Facts, data: bytes, options: DecodeOptions, wanted: FaceOptions
) -> Sample:
    """The sample of a photograph with any number of faces. Raises ImageError, AnnotateError."""
    from annotate.photographs import cut_faces

    saves = options.crops_dir is not None
    found = cut_faces(data, options.size_px, wanted, max_pixels=options.max_pixels, keep_full=saves)
    if options.crops_dir is not None:
        save_crops(options.crops_dir, str(facts.sha256), found.full_crops)
    return Sample(source, _with_size(facts, found.picture), found.faces, found.crops)


def _with_size(facts: Facts, picture: Picture) -> Facts:
    return replace(
        facts, width=picture.width, height=picture.height, captured_at=picture.captured_at
    )


def crashed(step: Source | Kept, options: DecodeOptions) -> Sample | Kept:
    """The sample of an input that ended the process that decoded it."""
    text = "the process that decoded this file ended unexpectedly"
    return _undecoded(step, Failure(Status.CRASHED, text), options)


def timed_out(step: Source | Kept, options: DecodeOptions) -> Sample | Kept:
    """The sample of an input that took longer than the options allow."""
    failure = Failure(Status.TIMEOUT, f"not decoded within {options.timeout_s:g} s")
    return _undecoded(step, failure, options)


def _undecoded(step: Source | Kept, failure: Failure, options: DecodeOptions) -> Sample | Kept:
    if isinstance(step, Kept):
        return step
    facts = Facts(size_bytes=step.size_bytes, modified_ns=step.modified_ns)
    return _failed(step, facts, failure, options)


def _failed(source: Source, facts: Facts, failure: Failure, options: DecodeOptions) -> Sample:
    return Sample(source, facts, (), _no_crops(options), failure)


def _no_crops(options: DecodeOptions) -> Pixels:
    return np.empty((0, options.size_px, options.size_px, 3), np.uint8)


def _read(source: Source) -> tuple[bytes | Failure, Facts]:
    """The file's bytes, or why they do not count, and its size, time and hash as read.

    Raises OSError.
    """
    if source.data is not None:
        sha256 = hashlib.sha256(source.data).hexdigest()
        return source.data, Facts(len(source.data), source.modified_ns, sha256)
    with open_source(source) as file:
        before = os.fstat(file.fileno())
        facts = Facts(size_bytes=before.st_size, modified_ns=modified_ns(before))
        if not stat.S_ISREG(before.st_mode):
            return Failure(Status.UNREADABLE, "not a regular file"), Facts()
        if before.st_size > MAX_FILE_BYTES:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            text = f"{before.st_size} bytes, the limit is {MAX_FILE_BYTES}"
            return Failure(Status.TOO_LARGE, text), replace(facts, sha256=sha256)
        # One byte more than expected shows growth without reading a file that never ends.
        data = file.read(before.st_size + 1) or b""  # None where it would have to be waited for
        after = os.fstat(file.fileno())
    if len(data) != before.st_size or after.st_mtime_ns != before.st_mtime_ns:
        return Failure(Status.CHANGED, "the file changed while it was read"), facts
    return data, replace(facts, sha256=hashlib.sha256(data).hexdigest())
