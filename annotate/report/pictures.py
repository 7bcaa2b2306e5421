"""Annotated pictures: a photograph and its rows in, the photograph with labelled boxes out."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw, ImageFont

from annotate.images import Pixels
from annotate.report.placement import Placement, place

COLOURS = {"female": "#f0a830", "male": "#56b4e9"}
UNKNOWN_COLOUR = "#d8d8d8"
INK = "#14161a"
"""Colours that stay apart in every common colour blindness, and the dark that all are read on.
Source: Okabe and Ito's palette, its orange a little lighter."""

SMALLEST_PX = 480
"""A picture whose longer side has fewer pixels is enlarged: there is no room for letters in it."""

FONT_PER_FACE = 0.15
FONT_SHARES = (0.008, 0.034)
SMALLEST_FONT_PX = 12
"""Letters are so high as a share of the face, within shares of the picture's longer side."""

READABLE_SHARE, FONT_PER_SMALL_FACE = 0.0125, 0.4
"""Letters of so much of the longer side are easy to read on a screen; a small face gets them
unless they would be more than this share of it."""

LINE_PER_FACE = 0.02
LINE_SHARES = (0.002, 0.005)
"""Lines of boxes are so wide as a share of the face, within shares of the longer side."""

_PAD, _LABEL_HEIGHT, _BADGE, _CORNER = 0.42, 1.5, 1.05, 0.22
"""Of a label, as shares of its letters' size: space at both ends, height, width of the question
mark, radius of the corners."""

_DASH, _PERIOD = 4, 7
"""Of a dashed line, as multiples of its width: a dash, and from one to the next."""

Records = pd.DataFrame | Iterable[Mapping[str, Any]]
Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Mark:
    """One face as it is drawn. box: outer edges of its line, pixels of the drawn picture.

    texts: its label in words, longest first. casing_px: width of the dark edge that sets line and
    label off from a picture of any colour.
    """

    box: Box
    texts: tuple[str, ...]
    colour: str
    is_uncertain: bool
    line_px: int
    casing_px: int
    font: ImageFont.FreeTypeFont


def draw_faces(pixels: Pixels, rows: Records) -> Image.Image:
    """Draw the faces of one photograph onto it: a box each, and a label of age and gender.

    pixels: uint8 (h, w, 3) RGB, upright; may be smaller than the original, in whose pixels the
    boxes are. rows: those of this input, as `annotate.run`, `iter_rows` and `read` give them;
    rows without a box draw nothing. A label says `58 (47-69) female 97 %`: years, their 80 %
    interval, how the face would be labelled and how probable that is; in a crowd it says less. A
    face flagged `uncertain` has a dashed box, and a question mark.
    Returns a new RGB picture, of the same size unless that is under SMALLEST_PX.
    """
    image = _canvas(pixels)
    marks = list(_marks(rows, image.size))
    draw = ImageDraw.Draw(image)
    for mark in marks:
        _draw_box(draw, mark)
    if marks:
        texts, placement = _fitting_texts(marks, image.size)
        for mark, text, spot in zip(marks, texts, placement.rectangles, strict=True):
            if text:
                _draw_label(image, mark, text, (round(spot[0]), round(spot[1])))
    return image


def side_by_side(pictures: Sequence[Image.Image], caption: str) -> Image.Image:
    """Pictures of one height in a row on white, with a line of text below. At least one."""
    height = pictures[0].height
    gap, below = round(0.02 * height), round(0.08 * height)
    width = sum(picture.width for picture in pictures) + gap * (len(pictures) - 1)
    joined = Image.new("RGB", (width, height + below), "white")
    left = 0
    for picture in pictures:
        joined.paste(picture, (left, 0))
        left += picture.width + gap
    letters_px = 0.03 * height
    letters_px *= min(1.0, 0.96 * width / _font(letters_px).getlength(caption))
    middle = (width / 2, height + below / 2)
    ImageDraw.Draw(joined).text(middle, caption, INK, _font(letters_px), anchor="mm")
    return joined


def _canvas(pixels: Pixels) -> Image.Image:
    """The picture to draw on: a copy, enlarged where it is tiny."""
    image = Image.fromarray(pixels)
    scale = SMALLEST_PX / max(image.size)
    if scale <= 1:
        return image.copy()
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    return image.resize(size, Image.Resampling.BICUBIC)


def _as_dicts(rows: Records) -> Iterable[Mapping[str, Any]]:
    if isinstance(rows, pd.DataFrame):
        return [
            dict(zip(map(str, rows), values, strict=True))
            for values in rows.itertuples(index=False)
        ]
    return rows


def _marks(rows: Records, size: tuple[int, int]) -> Iterator[Mark]:
    """What is to be drawn into a picture of this size (width, height)."""
    for row in _as_dicts(rows):
        box = _box(row, size)
        if box is None:
            continue
        line_px = _line_px(box, size)
        casing_px = max(1, round(line_px / 3))
        yield Mark(
            _outset(box, line_px + 2 * casing_px, size),
            _texts(row),
            COLOURS.get(str(row.get("gender")), UNKNOWN_COLOUR),
            "uncertain" in str(row.get("flags")).split(";"),
            line_px,
            casing_px,
            _font(_font_px(box, size)),
        )


def _box(row: Mapping[str, Any], size: tuple[int, int]) -> Box | None:
    """The face's box in pixels of a picture of this size; None where nothing of it is in there."""
    edges = []
    for name, side, drawn in (
        ("x_min", "width", size[0]),
        ("y_min", "height", size[1]),
        ("x_max", "width", size[0]),
        ("y_max", "height", size[1]),
    ):
        edge = _number(row, name)
        if edge is None:
            return None
        original = _number(row, side) or drawn
        edges.append(round(min(max(edge / original, 0), 1) * drawn))
    left, top, right, bottom = edges
    return (left, top, right, bottom) if left < right and top < bottom else None


def _outset(box: Box, by: int, size: tuple[int, int]) -> Box:
    """A box grown by a line that is to lie around it, as far as the picture goes."""
    left, top, right, bottom = box
    return max(0, left - by), max(0, top - by), min(size[0], right + by), min(size[1], bottom + by)


def _line_px(box: Box, size: tuple[int, int]) -> int:
    low, high = (share * max(size) for share in LINE_SHARES)
    return max(1, round(min(max((box[3] - box[1]) * LINE_PER_FACE, low), high)))


def _font_px(box: Box, size: tuple[int, int]) -> int:
    face_px, long_px = box[3] - box[1], max(size)
    readable = min(face_px * FONT_PER_SMALL_FACE, long_px * READABLE_SHARE)
    low, high = (share * long_px for share in FONT_SHARES)
    return max(SMALLEST_FONT_PX, round(min(max(face_px * FONT_PER_FACE, readable, low), high)))


def _number(row: Mapping[str, Any], name: str) -> float | None:
    """A finite number of a row, or None; pandas has several values that say missing."""
    value = row.get(name)
    if value is None or pd.isna(value) or not math.isfinite(value):
        return None
    return float(value)


def _texts(row: Mapping[str, Any]) -> tuple[str, ...]:
    """The label of a face in words, longest first; what the model cannot say is left out."""
    age, low, high = (_number(row, name) for name in ("age", "age_p10", "age_p90"))
    female = _number(row, "female_probability")
    gender = str(row.get("gender")) if row.get("gender") in COLOURS else ""
    years = "" if age is None else f"{age:.0f}"
    interval = "" if age is None or low is None or high is None else f"({low:.0f}-{high:.0f})"
    share = ""
    if gender and female is not None:
        share = _percent(female if gender == "female" else 1 - female)
    letter = gender[:1].upper()
    levels = (
        (years, interval, gender, share),
        (years, interval, gender),
        (years, interval, letter),
        (years, letter),
    )
    return tuple(" ".join(part for part in level if part) for level in levels)


def _percent(probability: float) -> str:
    """In whole percent; a model is never so sure that it should read 100."""
    return ">99 %" if probability > 0.99 else f"{100 * probability:.0f} %"


def _fitting_texts(
    marks: Sequence[Mark], size: tuple[int, int]
) -> tuple[tuple[str, ...], Placement]:
    """The longest labels for which there is room, else the shortest, and their places; at least
    one mark. All say equally much: where one says more, people look for a reason.
    """
    boxes = np.array([mark.box for mark in marks], np.float64)
    room = 0.25 * min(mark.font.size for mark in marks)
    for texts in zip(*(mark.texts for mark in marks), strict=True):
        sizes = [_label_size(mark, text) for mark, text in zip(marks, texts, strict=True)]
        placement = place(np.array(sizes, np.float64), boxes, *size, room=room)
        if placement.is_free:
            break
    return texts, placement


def _label_size(mark: Mark, text: str) -> tuple[int, int]:
    letters, casings = mark.font.size, 2 * mark.casing_px
    width = mark.font.getlength(text) + (2 * _PAD + _BADGE * mark.is_uncertain) * letters
    return math.ceil(width) + casings, round(_LABEL_HEIGHT * letters) + casings


def _draw_box(draw: ImageDraw.ImageDraw, mark: Mark) -> None:
    """A bright line between two dark ones; dashed where the labels are doubtful."""
    left, top, right, bottom = mark.box
    line, casing = mark.line_px, mark.casing_px
    draw.rectangle((left, top, right - 1, bottom - 1), outline=INK, width=line + 2 * casing)
    left, top, right, bottom = left + casing, top + casing, right - casing, bottom - casing
    for x in (left, right - line):
        for start, stop in _strokes(top, bottom, mark):
            draw.rectangle((x, start, x + line - 1, stop - 1), fill=mark.colour)
    for y in (top, bottom - line):
        for start, stop in _strokes(left, right, mark):
            draw.rectangle((start, y, stop - 1, y + line - 1), fill=mark.colour)


def _strokes(start: int, stop: int, mark: Mark) -> Iterator[tuple[int, int]]:
    """The bright parts of a side from start to stop: all of it, or dashes that meet in corners."""
    if not mark.is_uncertain:
        yield start, max(stop, start + 1)
        return
    dash = _DASH * mark.line_px
    periods = max(1, round((stop - start) / (_PERIOD * mark.line_px)))
    for k in range(periods + 1):
        middle = start + (stop - start) * k / periods
        first, last = round(max(start, middle - dash / 2)), round(min(stop, middle + dash / 2))
        yield first, max(last, first + 1)


def _draw_label(image: Image.Image, mark: Mark, text: str, corner: tuple[int, int]) -> None:
    """A filled label with its left upper corner there; doubtful ones begin with a question mark."""
    (x, y), (width, height) = corner, _label_size(mark, text)
    letters, casing = mark.font.size, mark.casing_px
    radius = _CORNER * letters
    image.paste(INK, (x, y), _rounded(width, height, radius + casing))
    filled = _rounded(width - 2 * casing, height - 2 * casing, radius)
    image.paste(mark.colour, (x + casing, y + casing), filled)
    draw = ImageDraw.Draw(image)
    digit_px = -mark.font.getbbox("0", anchor="ls")[1]
    baseline = y + (height + digit_px) / 2
    start = x + casing + _PAD * letters
    if mark.is_uncertain:
        badge = round(_BADGE * letters)
        inset = 2 * casing
        dark = _rounded(badge, height - 2 * inset, max(0, radius - casing))
        image.paste(INK, (x + inset, y + inset), dark)
        draw.text((x + inset + badge / 2, baseline), "?", mark.colour, mark.font, anchor="ms")
        start += badge
    draw.text((start, baseline), text, INK, mark.font, anchor="ls")


def _rounded(width: int, height: int, radius: float) -> Image.Image:
    """A mask of a rectangle with round corners, drawn four times as large for soft edges."""
    mask = Image.new("L", (4 * width, 4 * height))
    area = (0, 0, 4 * width - 1, 4 * height - 1)
    ImageDraw.Draw(mask).rounded_rectangle(area, 4 * radius, fill=255)
    return mask.reduce(4)


@lru_cache(maxsize=64)
def _font(size_px: float) -> ImageFont.FreeTypeFont:
    """The face that comes inside Pillow: the same on every machine, and no file to look for."""
    font = ImageFont.load_default(size_px)
    assert isinstance(font, ImageFont.FreeTypeFont)
    return font
