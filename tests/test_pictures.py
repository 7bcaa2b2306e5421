"""Annotated pictures: boxes where the rows say, labels that can be read by everybody."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageColor

from annotate.report import pictures
from annotate.report.pictures import COLOURS, INK, SMALLEST_PX, UNKNOWN_COLOUR, draw_faces

GRAY = 128
FACE: dict[str, Any] = {
    "status": "ok",
    "width": 800,
    "height": 600,
    "x_min": 300.0,
    "y_min": 200.0,
    "x_max": 400.0,
    "y_max": 340.0,
    "age": 58.4,
    "age_p10": 46.6,
    "age_p90": 69.2,
    "gender": "female",
    "female_probability": 0.934,
    "flags": None,
}
BARE = {"age": None, "age_p10": None, "age_p90": None, "gender": None}
"""What the model said, taken away: a face with a box and no label."""


def blank(width: int = 800, height: int = 600) -> np.ndarray:
    return np.full((height, width, 3), GRAY, np.uint8)


def coloured(image: Image.Image, colour: str) -> np.ndarray:
    """Where a picture has a colour; bool (h, w)."""
    return np.asarray((np.asarray(image) == ImageColor.getrgb(colour)).all(axis=-1))


def extent(mask: np.ndarray) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of what is true."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


@pytest.mark.parametrize("scale", [1, 2])
def test_the_box_lies_around_the_face(scale: int) -> None:
    """In a picture that was decoded at reduced scale too: rows are in pixels of the original."""
    pixels = blank()
    numbers = ("width", "height", "x_min", "y_min", "x_max", "y_max")
    image = draw_faces(pixels, [FACE | BARE | {name: FACE[name] * scale for name in numbers}])
    assert image.size == (800, 600)
    touched = (np.asarray(image) != GRAY).any(axis=-1)
    face = np.array([300, 200, 400, 340])
    assert not touched[face[1] : face[3], face[0] : face[2]].any()  # the face itself stays
    assert np.abs(np.array(extent(touched)) - face).max() <= 5  # a line around it, no label
    assert coloured(image, UNKNOWN_COLOUR).any()
    assert (pixels == GRAY).all()  # the input is not drawn into


def test_words_tell_what_colours_tell() -> None:
    texts = pictures._texts
    assert texts(FACE) == ("58 (47-69) female 93 %", "58 (47-69) female", "58 (47-69) F", "58 F")
    male = FACE | {"gender": "male", "female_probability": 0.25}
    assert texts(male)[0] == "58 (47-69) male 75 %"
    assert texts(male)[-1] == "58 M"
    sure = FACE | {"female_probability": 0.9999}
    assert texts(sure)[0] == "58 (47-69) female >99 %"
    # A model without an age distribution, missing in each of pandas' ways.
    for missing in (None, float("nan"), pd.NA):
        assert texts(FACE | {"age_p10": missing, "age_p90": missing})[0] == "58 female 93 %"
    assert texts(FACE | BARE) == ("", "", "", "")


def test_labels_get_shorter_in_a_crowd() -> None:
    """Three staggered rows of small faces, as in a group portrait: all stay uncovered."""
    boxes = [(40 + 90 * i + 45 * (j % 2), 300 + 110 * j) for j in range(3) for i in range(16)]
    size = {"width": 1600, "height": 1100}
    rows = [
        FACE | size | {"x_min": x, "y_min": y, "x_max": x + 45, "y_max": y + 60} for x, y in boxes
    ]
    marks = list(pictures._marks(rows, (1600, 1100)))
    texts, placement = pictures._fitting_texts(marks, (1600, 1100))
    assert placement.is_free
    assert set(texts) == {"58 F"}
    image = np.asarray(draw_faces(blank(1600, 1100), rows))
    for x, y in boxes:
        assert (image[y : y + 60, x : x + 45] == GRAY).all()
    alone, _ = pictures._fitting_texts(marks[:1], (1600, 1100))
    assert alone == ("58 (47-69) female 93 %",)


def test_doubtful_labels_are_marked() -> None:
    """A dashed line, and a question mark on a dark patch."""
    plain = draw_faces(blank(), [FACE])
    doubtful = draw_faces(blank(), [FACE | {"flags": "small_face;uncertain"}])
    orange = COLOURS["female"]

    def share(image: Image.Image) -> float:
        """Of the bottom line, the part that is bright."""
        bottom = extent(coloured(image, orange))[3]
        return float(coloured(image, orange)[bottom - 1, 300:400].mean())

    assert share(plain) == 1
    assert 0.4 < share(doubtful) < 0.8
    dark = [coloured(image, INK)[150:198, 295:325].mean() for image in (plain, doubtful)]
    assert dark[1] > dark[0] + 0.1


def test_a_face_flagged_otherwise_is_not_doubtful() -> None:
    flagged = draw_faces(blank(), [FACE | {"flags": "small_face;edge"}])
    assert flagged.tobytes() == draw_faces(blank(), [FACE]).tobytes()


def test_rows_of_every_kind_draw_the_same() -> None:
    """Dicts, and the DataFrame that `annotate.read` gives, with its nullable types."""
    faces = [FACE, FACE | BARE | {"x_min": 500.0, "x_max": 560.0}]
    none = {"status": "no_face", "x_min": None, "y_min": None, "x_max": None, "y_max": None}
    frame = pd.DataFrame([*faces, FACE | BARE | none])
    frame = frame.astype({"width": "Int32", "height": "Int32", "gender": "category"})
    assert draw_faces(blank(), frame).tobytes() == draw_faces(blank(), faces).tobytes()
    nothing = draw_faces(blank(), frame[frame["status"] == "no_face"])
    assert (np.asarray(nothing) == GRAY).all()


def test_a_tiny_picture_is_enlarged_and_a_crop_is_labelled_inside() -> None:
    whole = {"x_min": 0.0, "y_min": 0.0, "x_max": 96.0, "y_max": 48.0, "width": 96, "height": 48}
    image = draw_faces(blank(96, 48), [FACE | whole])
    assert image.size == (SMALLEST_PX, SMALLEST_PX // 2)
    assert coloured(image, COLOURS["female"])[-30:].any()


numbers = st.one_of(st.none(), st.floats(width=32), st.floats(-50, 900))


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(st.integers(1, 900), st.integers(1, 900)),
    st.lists(st.lists(numbers, min_size=7, max_size=7), max_size=6),
    st.sampled_from(["female", "male", None]),
    st.sampled_from([None, "uncertain"]),
)
def test_any_row_can_be_drawn(
    size: tuple[int, int], rows: list[list[float | None]], gender: str | None, flags: str | None
) -> None:
    """A foreign table may hold anything in its number columns."""
    names = ("x_min", "y_min", "x_max", "y_max", "age", "age_p10", "female_probability")
    faces: list[dict[str, Any]] = [
        FACE | {"gender": gender, "flags": flags} | dict(zip(names, row, strict=True))
        for row in rows
    ]
    image = draw_faces(blank(*size), faces)
    assert image.mode == "RGB"
    scale = max(1, SMALLEST_PX / max(size))
    assert image.size == tuple(max(1, round(side * scale)) for side in size)


def luminance(colour: str) -> float:
    """Source: WCAG 2.2, relative luminance."""
    red, green, blue = linear(colour)
    return float(0.2126 * red + 0.7152 * green + 0.0722 * blue)


def linear(colour: str) -> np.ndarray:
    values = np.array(ImageColor.getrgb(colour)) / 255
    return np.asarray(
        np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    )


COLOUR_BLINDNESS = {
    "protanopia": (
        (0.152286, 1.052583, -0.204868),
        (0.114503, 0.786281, 0.099216),
        (-0.003882, -0.048116, 1.051998),
    ),
    "deuteranopia": (
        (0.367322, 0.860646, -0.227968),
        (0.280085, 0.672501, 0.047413),
        (-0.011820, 0.042940, 0.968881),
    ),
    "tritanopia": (
        (1.255528, -0.076749, -0.178779),
        (-0.078411, 0.930809, 0.147602),
        (0.004733, 0.691367, 0.303900),
    ),
}
"""Linear RGB as it is seen. Source: Machado, Oliveira and Fernandes 2009, severity 1."""


@pytest.mark.parametrize("kind", COLOUR_BLINDNESS)
def test_the_colours_stay_apart(kind: str) -> None:
    seen = np.array(COLOUR_BLINDNESS[kind])
    female, male = (seen @ linear(COLOURS[gender]) for gender in ("female", "male"))
    assert np.abs(female - male).max() > 0.3  # of a range of 1


@pytest.mark.parametrize("colour", [*COLOURS.values(), UNKNOWN_COLOUR])
def test_letters_stand_out(colour: str) -> None:
    """WCAG asks for 7 to 1 at its strictest."""
    assert (luminance(colour) + 0.05) / (luminance(INK) + 0.05) > 7


def test_pictures_side_by_side() -> None:
    parts = [Image.new("RGB", (200, 300), "red"), Image.new("RGB", (100, 300), "blue")]
    joined = pictures.side_by_side(parts, "a caption that is far too long for pictures like these")
    assert joined.size == (306, 324)  # 2 % of the height between, 8 % below
    assert extent(coloured(joined, "red")) == (0, 0, 200, 300)
    assert extent(coloured(joined, "blue")) == (206, 0, 306, 300)
    letters = np.asarray(joined)[302:].min(axis=-1) < 128
    left, _, right, _ = extent(letters)
    assert left > 0
    assert right < 306
