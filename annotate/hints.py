"""Hints: what a run met in, what its user may have meant out, in a line or two.

Nothing guesses between photographs and crops. But where most pictures look like the other kind, or
nothing could be labelled, that is said.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum

from annotate.images import UNSUPPORTED_SUFFIXES
from annotate.records import Status
from annotate.summary import Tally

MOST = 0.5
"""A hint is about more than this share of the pictures."""

CROP_PX = 256
"""Square pictures of at most so many pixels a side look like aligned crops: UTKFace's have 200."""

PHOTOGRAPH_PX = 2000
"""Pictures with a side of at least so many look like photographs, whatever their shape."""

OBLONG_PX, OBLONG = 480, 1.25
"""So do those with a side of so many whose sides are in such a ratio: cameras' are 4:3 and 3:2,
crops' at most 1.23, CelebA's."""


class Shape(StrEnum):
    """What a picture looks like by its width and height alone."""

    CROP = "crop"
    PHOTOGRAPH = "photograph"
    EITHER = "either"


def shape_of(width: int, height: int) -> Shape:
    """The shape of a picture. width, height: pixels, at least 1."""
    short, long = sorted((width, height))
    if short == long <= CROP_PX:
        return Shape.CROP
    if long >= PHOTOGRAPH_PX or (long >= OBLONG_PX and long >= OBLONG * short):
        return Shape.PHOTOGRAPH
    return Shape.EITHER


def hints(tally: Tally, faces: str) -> Iterator[str]:
    """What the user of a run may want to know. faces: "detect" or "crop", as in a RunConfig."""
    yield from _about_shapes(tally, faces)
    yield from _about_unsupported(tally)
    no_face = tally.by_status[Status.NO_FACE]
    if no_face and not tally.by_status[Status.OK] and not _are_most(tally, Shape.CROP):
        yield (
            f"no face was found in {_pictures(no_face)}: --detect-size auto finds smaller ones,"
            " --min-score 0.5 less certain ones"
        )


def _about_shapes(tally: Tally, faces: str) -> Iterator[str]:
    known = sum(tally.shapes.values())
    if faces == "detect" and _are_most(tally, Shape.CROP):
        yield (
            f"{tally.shapes[Shape.CROP]:,} of {_pictures(known)} are square and at most"
            f" {CROP_PX} px wide: if each is one aligned face already, as in UTKFace, pass"
            " --faces crop"
        )
    if faces == "crop" and _are_most(tally, Shape.PHOTOGRAPH):
        yield (
            f"{tally.shapes[Shape.PHOTOGRAPH]:,} of {_pictures(known)} are large or oblong, and"
            " each was taken for one aligned face: if they are whole photographs, pass"
            " --faces detect"
        )


def _are_most(tally: Tally, shape: Shape) -> bool:
    return tally.shapes[shape] > MOST * sum(tally.shapes.values())


def _about_unsupported(tally: Tally) -> Iterator[str]:
    unsupported = tally.by_status[Status.UNSUPPORTED]
    if not unsupported:
        return
    never = sum(n for suffix, n in tally.unsupported.items() if suffix in UNSUPPORTED_SUFFIXES)
    if never == tally.done:
        yield (
            "all inputs are camera RAW or video files, which annotate does not decode: export the"
            " pictures as JPEG, and label those"
        )
    if unsupported > never:
        yield (
            f"{_pictures(unsupported - never)} in HEIC or HEIF were not decoded:"
            " pip install 'annotate[heif]' and run again with --overwrite"
        )


def _pictures(count: int) -> str:
    return f"{count:,} picture{'' if count == 1 else 's'}"
