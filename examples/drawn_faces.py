"""Draw faces with UTKFace names, to try the other examples without a data set.

    python examples/drawn_faces.py faces/ --count 200

They are nobody's. Hair turns gray and skin wrinkles with the age in the name, and hair is longer
where the name says female: so there is something to learn. What a model that learnt from people
says of them means nothing.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

SIZE_PX = 200
SCALE = 2
"""Faces are drawn larger and reduced, so that their edges are smooth."""

EXIF, DATE_TIME_ORIGINAL = 0x8769, 0x9003
FIRST_TAKEN, LAST_TAKEN = datetime(1985, 1, 1), datetime(2025, 1, 1)
"""Between them the pictures claim to have been taken."""

Colour = tuple[int, int, int]
SKINS: tuple[Colour, ...] = ((240, 205, 178), (236, 196, 150), (176, 122, 82), (110, 72, 50))
HAIRS: tuple[Colour, ...] = ((140, 98, 52), (96, 62, 38), (60, 44, 34), (30, 26, 26))
GRAY: Colour = (205, 205, 205)
INK: Colour = (40, 20, 20)
RED: Colour = (176, 60, 70)


def draw_faces(folder: Path, count: int, seed: int = 0) -> Path:
    """Fill a folder with `count` faces, every other one female. Returns the folder.

    Names are UTKFace's, `[age]_[gender]_[race]_[timestamp].jpg.chip.jpg`, with a race drawn by
    lot; the EXIF of each file says when it was "taken".
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    for number in range(count):
        age, gender, race = int(rng.integers(1, 90)), number % 2, int(rng.integers(0, 5))
        stamp = datetime(2017, 1, 1) + timedelta(minutes=number)
        taken = FIRST_TAKEN + (LAST_TAKEN - FIRST_TAKEN) * float(rng.uniform())
        exif = Image.Exif()
        exif.get_ifd(EXIF)[DATE_TIME_ORIGINAL] = f"{taken:%Y:%m:%d %H:%M:%S}"
        name = f"{age}_{gender}_{race}_{stamp:%Y%m%d%H%M%S}000.jpg.chip.jpg"
        drawn_face(age, gender == 1, rng).save(folder / name, quality=90, exif=exif)
    return folder


def drawn_face(age: int, is_female: bool, rng: np.random.Generator) -> Image.Image:
    """One face, 200 x 200 px."""
    side = SIZE_PX * SCALE
    image = Image.new("RGB", (side, side), tuple(int(c) for c in rng.integers(120, 235, 3)))
    head = Head.of(age, rng)
    pen = ImageDraw.Draw(image)
    _hair(pen, head, is_female)
    _oval(pen, head.x, side * 1.12, side * 0.42, side * 0.22, (90, 100, 140))
    _oval(pen, head.x, head.y, head.wide, head.tall, head.skin)
    if not is_female and age > 18 and rng.uniform() < 0.4:
        jaw = head.wide * 0.85
        box = (head.x - jaw, head.y - head.tall * 0.3, head.x + jaw, head.y + head.tall)
        pen.chord(box, 25, 155, fill=head.hair)
    for way in (-1, 1):
        _eye(pen, head, head.x + way * head.wide * 0.45)
    _nose_and_mouth(pen, head, RED if is_female else head.line)
    for number in range(max(0, age - 45) // 12):
        y = head.y - head.tall * (0.62 - 0.055 * number)
        pen.line((head.x - head.wide * 0.5, y, head.x + head.wide * 0.5, y), head.line, SCALE)
    return image.resize((SIZE_PX, SIZE_PX), Image.Resampling.LANCZOS)


@dataclass(frozen=True)
class Head:
    """Where a head is, in pixels, and its colours. youth: 1 at birth, 0 from 16 years on."""

    age: int
    youth: float
    x: float
    y: float
    wide: float
    tall: float
    skin: Colour
    hair: Colour
    line: Colour

    @staticmethod
    def of(age: int, rng: np.random.Generator) -> Head:
        """A head of an age; the rest by lot."""
        side = SIZE_PX * SCALE
        youth = max(0.0, 1 - age / 16)
        skin, hair = (colours[int(rng.integers(0, len(colours)))] for colours in (SKINS, HAIRS))
        return Head(
            age=age,
            youth=youth,
            x=side * (0.5 + float(rng.normal(0, 0.012))),
            y=side * 0.54,
            wide=side * (0.30 + 0.03 * youth),
            tall=side * (0.40 - 0.04 * youth),
            skin=skin,
            hair=_mixed(hair, GRAY, min(max((age - 35) / 35, 0.0), 1.0)),
            line=_mixed(skin, INK, 0.55),
        )


def _hair(pen: ImageDraw.ImageDraw, head: Head, is_long: bool) -> None:
    wide = head.wide * 1.18
    _oval(pen, head.x, head.y - head.tall * 0.25, wide, head.tall * 1.02, head.hair)
    if is_long:
        box = (head.x - wide, head.y - head.tall * 0.25, head.x + wide, SIZE_PX * SCALE * 0.98)
        pen.rounded_rectangle(box, 15 * SCALE, head.hair)


def _eye(pen: ImageDraw.ImageDraw, head: Head, x: float) -> None:
    """An eye, its brow, and the folds below it."""
    side = SIZE_PX * SCALE
    y, size = head.y - side * (0.06 - 0.04 * head.youth), side * (0.030 + 0.014 * head.youth)
    _oval(pen, x, y, size * 1.5, size, (250, 250, 250))
    _oval(pen, x, y, size * 0.7, size * 0.8, INK)
    brow = y - side * 0.06
    pen.line((x - side * 0.05, brow, x + side * 0.05, brow), head.hair, 3 * SCALE)
    for fold in range(max(0, head.age - 40) // 12):
        below = y + side * (0.045 + 0.016 * fold)
        box = (x - side * 0.05, below - 4 * SCALE, x + side * 0.05, below + 4 * SCALE)
        pen.arc(box, 20, 160, head.line, SCALE)


def _nose_and_mouth(pen: ImageDraw.ImageDraw, head: Head, lips: Colour) -> None:
    nose, half = head.y + head.tall * 0.08, head.wide * 0.12
    pen.arc((head.x - half, nose - half, head.x + half, nose + half), 20, 160, head.line, 2 * SCALE)
    mouth, half = head.y + head.tall * 0.45, head.wide * 0.4
    box = (head.x - half, mouth - half * 0.6, head.x + half, mouth + half * 0.4)
    pen.arc(box, 25, 155, lips, 4 * SCALE)


def _oval(
    pen: ImageDraw.ImageDraw, x: float, y: float, half_wide: float, half_tall: float, fill: Colour
) -> None:
    pen.ellipse((x - half_wide, y - half_tall, x + half_wide, y + half_tall), fill)


def _mixed(one: Colour, other: Colour, share: float) -> Colour:
    """A colour between two. share: of the other one, 0 to 1."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(one, other, strict=True))
    return red, green, blue


def main() -> None:
    """Draw them, and say where they are."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=200)
    options = parser.parse_args()
    print(draw_faces(options.folder, options.count))


if __name__ == "__main__":
    from labelled import run  # here: the tests import this file from another folder

    run(main)
