"""Run configuration: what a run is to do, checked, in the names of the command line's options."""

from __future__ import annotations

from dataclasses import dataclass

from annotate.errors import AnnotateError
from annotate.face_options import DETECT_SIZE_PX, MIN_FACE_PX, MIN_SCORE, FaceOptions
from annotate.images import MAX_PIXELS, SUFFIXES, UNSUPPORTED_SUFFIXES
from annotate.selection import ScanOptions

FACES = ("detect", "crop")
"""What an image holds: "detect", any number of faces; "crop", one aligned face and no more."""

MAX_TIMEOUT_S = 86_400

_AT_LEAST_ONE = (
    "batch_size",
    "workers",
    "limit",
    "max_pixels",
    "detect_size",
    "min_face_px",
    "max_faces",
)


@dataclass(frozen=True)
class RunConfig:
    """What a run is to do. Names and meanings are those of the command line's options.

    sources: folders, files, archives, glob patterns, and "-" for a list of paths on stdin, which
    null_separated says has NULs between them. table, column: a table that lists inputs, and the
    column of their paths; read after the sources.
    workers: decoding processes, None for one a usable core. timeout_s: how long one input may take
    to be decoded, what takes longer is a `timeout`, None for no limit. limit: the first N inputs.
    max_pixels: pictures of more are `too_large`. detect_size: long side in pixels at which
    photographs are searched for faces, or "auto"; min_face_px: shorter side of a face, in pixels
    of the original; min_score: 0 to 1; max_faces: the largest of a photograph, None for all;
    save_crops: a folder for the aligned crops; these five are for faces="detect". tta: average the
    network's outputs for each crop and its mirror image. skip_duplicates: inputs with the bytes of
    an earlier one are not labelled again.
    """

    sources: tuple[str, ...] = ()
    faces: str = "detect"
    model: str = "base"
    engine: str = "auto"
    device: str = "auto"
    batch_size: int = 64
    tta: bool = False
    workers: int | None = None
    timeout_s: float | None = 120.0
    limit: int | None = None
    exclude: tuple[str, ...] = ()
    default_excludes: bool = True
    follow_links: bool = False
    max_pixels: int = MAX_PIXELS
    detect_size: int | str = DETECT_SIZE_PX
    min_face_px: int = MIN_FACE_PX
    min_score: float = MIN_SCORE
    max_faces: int | None = None
    skip_duplicates: bool = False
    save_crops: str | None = None
    null_separated: bool = False
    table: str | None = None
    column: str = "path"

    def __post_init__(self) -> None:
        if self.faces not in FACES:
            raise AnnotateError(
                f"faces={self.faces!r}: expected 'detect' for whole photographs, or 'crop' where"
                " each image is one aligned face"
            )
        if self.detect_size != "auto" and not isinstance(self.detect_size, int):
            raise AnnotateError(f"detect_size={self.detect_size!r}: expected pixels or 'auto'")
        if not 0 <= self.min_score <= 1:
            raise AnnotateError(f"min_score must be from 0 to 1, got {self.min_score}")
        if self.save_crops is not None and self.faces != "detect":
            raise AnnotateError("save_crops is for faces='detect': here the images are the crops")
        if self.timeout_s is not None and not 0 < self.timeout_s <= MAX_TIMEOUT_S:
            raise AnnotateError(
                f"timeout_s must be above 0 and at most {MAX_TIMEOUT_S} (a day), or None for no"
                f" limit, got {self.timeout_s}"
            )
        for name in _AT_LEAST_ONE:
            value = getattr(self, name)
            if isinstance(value, int) and value < 1:
                raise AnnotateError(f"{name} must be at least 1, got {value}")

    @property
    def face_options(self) -> FaceOptions | None:
        """Which faces of a photograph count; None where each image is one."""
        if self.faces == "crop":
            return None
        size = None if isinstance(self.detect_size, str) else self.detect_size
        return FaceOptions(size, self.min_face_px, self.min_score, self.max_faces)

    @property
    def scan_options(self) -> ScanOptions:
        """What counts as an input, and where lists are read."""
        return ScanOptions(
            suffixes=SUFFIXES | UNSUPPORTED_SUFFIXES,
            exclude=self.exclude,
            default_excludes=self.default_excludes,
            follow_links=self.follow_links,
            limit=self.limit,
            null_separated=self.null_separated,
            table=self.table,
            column=self.column,
        )
