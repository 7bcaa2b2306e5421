"""Thumbnails: what is shown of a row, and that whatever a row says is no reason to end."""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from annotate.report.thumbnails import SIZE_PX, thumbnail, thumbnails

GREEN, RED = (20, 160, 60), (200, 40, 40)


def picture(path: Path, size: tuple[int, int], box: tuple[int, int, int, int]) -> Path:
    """A red picture with a green box in it, saved without loss."""
    image = Image.new("RGB", size, RED)
    image.paste(GREEN, box)
    image.save(path, "PNG")
    return path


def row(path: Path, **more: Any) -> dict[str, Any]:
    """A row about a file, its box that of the whole picture unless it is given."""
    with Image.open(path) as image:
        width, height = image.size
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    found = {"source": str(path.parent), "path": path.name, "sha256": sha256}
    found |= {"width": width, "height": height}
    found |= {"x_min": 0.0, "y_min": 0.0, "x_max": width, "y_max": height}
    return found | more


def pixels(jpeg: bytes | None) -> np.ndarray[Any, np.dtype[np.int16]]:
    assert jpeg is not None
    with Image.open(io.BytesIO(jpeg)) as image:
        assert image.format == "JPEG"
        return np.asarray(image.convert("RGB"), np.int16)


def is_green(found: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.abs(found - GREEN).max(axis=-1) < 40


def test_a_crop_is_shown_whole(tmp_path: Path) -> None:
    path = picture(tmp_path / "a.png", (200, 200), (0, 0, 100, 200))
    found = pixels(thumbnail(row(path)))
    assert found.shape == (SIZE_PX, SIZE_PX, 3)
    assert is_green(found).mean() == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("corner", [(600, 300), (0, 0), (900, 700)])
def test_a_face_is_shown_with_some_of_what_is_around_it(
    tmp_path: Path, corner: tuple[int, int]
) -> None:
    left, top = corner
    box = (left, top, left + 100, top + 100)
    path = picture(tmp_path / "a.png", (1000, 800), box)
    edges = dict(zip(("x_min", "y_min", "x_max", "y_max"), map(float, box), strict=True))
    found = is_green(pixels(thumbnail(row(path, **edges))))
    # 100 of 135 px in both directions; at the border as much of the face, moved aside.
    assert found.mean() == pytest.approx((100 / 135) ** 2, abs=0.03)


def test_a_tall_box_gives_a_square(tmp_path: Path) -> None:
    path = picture(tmp_path / "a.png", (300, 300), (100, 50, 200, 250))
    edges = {"x_min": 100.0, "y_min": 50.0, "x_max": 200.0, "y_max": 250.0}
    found = pixels(thumbnail(row(path, **edges), 240))
    assert found.shape == (240, 240, 3)
    assert is_green(found).mean() == pytest.approx(100 * 200 / 270**2, abs=0.02)


def test_a_picture_is_shown_upright(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    image = Image.new("RGB", (80, 40), RED)
    image.paste(GREEN, (0, 0, 40, 40))
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees: what is stored left is shown above
    image.save(path, "JPEG", quality=95, exif=exif)
    edges = {"x_min": 0.0, "y_min": 0.0, "x_max": 40.0, "y_max": 40.0}
    above = thumbnail(row(path, width=40, height=80, **edges))
    assert is_green(pixels(above)).mean() > 0.7


def test_a_member_of_an_archive_is_shown(tmp_path: Path) -> None:
    path = picture(tmp_path / "a.png", (50, 50), (0, 0, 50, 50))
    with zipfile.ZipFile(tmp_path / "trip.zip", "w") as archive:
        archive.write(path, "in/a.png")
    assert is_green(pixels(thumbnail(row(path) | {"path": "trip.zip!/in/a.png"}))).all()


def test_only_the_bytes_that_the_row_is_about_are_shown(tmp_path: Path) -> None:
    path = picture(tmp_path / "a.png", (50, 50), (0, 0, 9, 9))
    asked = row(path)
    picture(path, (50, 50), (9, 9, 20, 20))
    assert thumbnail(asked) is None
    path.unlink()
    assert thumbnail(asked) is None
    assert thumbnail(asked | {"sha256": None}) is None


def test_what_is_no_picture_is_not_shown(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(b"\xff\xd8\xff no picture")
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    assert thumbnail({"source": str(tmp_path), "path": "a.jpg", "sha256": sha256}) is None


@pytest.mark.parametrize(
    "odd",
    [
        {"x_min": None},
        {"x_min": float("nan"), "y_max": float("inf")},
        {"x_min": 40.0, "x_max": 10.0},
        {"x_min": -1e30, "x_max": 1e30},
        {"x_min": 49.999, "x_max": 50.0, "y_min": 0.0, "y_max": 1e-9},
        {"width": 0, "height": 0},
        {"width": -5},
        {"width": 10**400},
        {"x_min": "left", "y_min": [1]},
        {"width": None, "height": None},
        {"width": 7, "height": 100_000},
    ],
)
def test_a_box_of_any_kind_gives_a_picture(tmp_path: Path, odd: dict[str, Any]) -> None:
    asked = row(picture(tmp_path / "a.png", (50, 40), (0, 0, 9, 9)))
    assert pixels(thumbnail(asked | odd)).shape == (SIZE_PX, SIZE_PX, 3)


@pytest.mark.parametrize(
    "odd",
    [
        {"path": None},
        {"source": None},
        {"path": 5},
        {"path": "\x00"},
        {"path": "../../etc/passwd"},
        {"path": "a" * 10_000},
        {"path": "a.png!/b.png"},
        {"sha256": 5},
    ],
)
def test_a_place_of_any_kind_is_no_reason_to_end(tmp_path: Path, odd: dict[str, Any]) -> None:
    asked = row(picture(tmp_path / "a.png", (50, 40), (0, 0, 9, 9)))
    assert thumbnail(asked | odd) is None


class _Deadly:
    """Ends the process that it is sent to."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os._exit, (3,)


@pytest.mark.parametrize("workers", [1, 2])
def test_many_are_made_in_order_and_one_that_ends_its_process_costs_only_itself(
    tmp_path: Path, workers: int
) -> None:
    rows = [row(picture(tmp_path / f"{i}.png", (60, 60), (0, 0, i, 60))) for i in range(0, 60, 6)]
    rows[3]["sha256"] = "0" * 64
    rows[6]["path"] = _Deadly()
    found = thumbnails(rows, 60, workers=workers)
    assert [place for place, made in enumerate(found) if made is None] == [3, 6]
    widths = [is_green(pixels(made)).mean() * 60 for made in found if made is not None]
    expected = [i for i in range(0, 60, 6) if i not in (18, 36)]
    assert widths == pytest.approx(expected, abs=2)


def test_none_are_made_of_nothing() -> None:
    assert thumbnails([]) == []
