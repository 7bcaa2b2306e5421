"""Faces of whole photographs, on public-domain portraits that come with installed packages.

Boxes were measured by hand, on the pictures as they are.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from annotate.face_options import FaceOptions
from annotate.faces import find_faces
from annotate.images import Picture, decode
from annotate.photographs import cut_faces
from annotate.records import Face
from tests.pictures import ORIENTATIONS
from tests.test_cascade import overlap, portraits

HOPPER = (172, 105, 350, 340)
COLLINS = (180, 70, 270, 185)
"""Faces of grace_hopper.jpg (512 x 600) and astronaut.png (512 x 512), hair to chin."""


def whole(pixels: np.ndarray) -> Picture:
    return Picture(pixels, pixels.shape[1], pixels.shape[0], None)


def found(pixels: np.ndarray, **options: object) -> list[Face]:
    return find_faces(whole(pixels), FaceOptions(**options))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def hopper() -> np.ndarray:
    return decode(portraits()[0].read_bytes()).pixels


@pytest.fixture(scope="module")
def collins() -> np.ndarray:
    return decode(portraits()[1].read_bytes()).pixels


def iou(face: Face, box: tuple[float, ...]) -> float:
    return float(overlap(np.array(box), np.array([face.box]))[0])


def test_each_portrait_has_its_face(hopper: np.ndarray, collins: np.ndarray) -> None:
    for pixels, box in ((hopper, HOPPER), (collins, COLLINS)):
        (face,) = found(pixels)
        assert iou(face, box) > 0.6
        assert face.score is not None
        assert 0.9 < face.score <= 1
        assert face.flags == ()
        assert face.landmarks is not None
        left_eye, right_eye, nose, left_mouth, right_mouth = face.landmarks
        assert box[0] < left_eye[0] < nose[0] < right_eye[0] < box[2]
        assert left_mouth[0] < nose[0] < right_mouth[0]
        assert max(left_eye[1], right_eye[1]) < nose[1] < min(left_mouth[1], right_mouth[1])


def test_faces_come_left_to_right_in_pixels_of_the_picture(
    hopper: np.ndarray, collins: np.ndarray
) -> None:
    """The portraits side by side, and the other way round: boxes move by the width of the first."""
    high = np.pad(collins, [(0, hopper.shape[0] - collins.shape[0]), (0, 0), (0, 0)])
    for first, second, boxes in (
        (hopper, high, (HOPPER, COLLINS)),
        (high, hopper, (COLLINS, HOPPER)),
    ):
        faces = found(np.concatenate([first, second], axis=1))
        assert len(faces) == 2
        assert iou(faces[0], boxes[0]) > 0.6
        moved = np.add(boxes[1], [first.shape[1], 0] * 2)
        assert iou(faces[1], tuple(moved)) > 0.6


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_face_that_does_not_stand_upright_is_still_where_it_is_or_not_found(
    hopper: np.ndarray, turns: int
) -> None:
    """Pictures are not turned to look for faces; whatever is found must not be invented."""
    assert len(found(np.rot90(hopper, turns).copy())) <= 1


def test_all_eight_orientations_give_the_same_face(tmp_path: Path, collins: np.ndarray) -> None:
    """PNG keeps pixels, so that the turned files show exactly the same upright picture."""
    results = []
    upright = Image.fromarray(collins[:, :400])
    turned = {number: upright.transpose(how) for number, how in ORIENTATIONS.items()}
    for orientation, stored in ({1: upright} | turned).items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        buffer = io.BytesIO()
        stored.save(buffer, "PNG", exif=exif)
        results.append(cut_faces(buffer.getvalue(), 64, FaceOptions()))
    for result in results:
        assert (result.picture.width, result.picture.height) == (400, 512)
        assert result.faces == results[0].faces
        assert (result.crops == results[0].crops).all()
    assert iou(results[0].faces[0], COLLINS) > 0.6


def test_a_smaller_or_larger_copy_has_the_same_face(hopper: np.ndarray) -> None:
    (original,) = found(hopper)
    for scale in (0.4, 2.5):
        size = round(hopper.shape[1] * scale), round(hopper.shape[0] * scale)
        (face,) = found(np.asarray(Image.fromarray(hopper).resize(size)))
        assert iou(face, tuple(scale * value for value in original.box)) > 0.85


def test_a_face_that_the_border_cuts_is_flagged(hopper: np.ndarray) -> None:
    for cut in (hopper[:, 190:], hopper[:, :330], hopper[130:]):
        faces = found(np.ascontiguousarray(cut))
        assert [face.flags for face in faces] == [("edge",)]
        height, width = cut.shape[:2]
        left, top, right, bottom = faces[0].box
        assert left >= 0
        assert top >= 0
        assert right <= width
        assert bottom <= height


def test_the_options_leave_faces_out(hopper: np.ndarray, collins: np.ndarray) -> None:
    high = np.pad(collins, [(0, hopper.shape[0] - collins.shape[0]), (0, 0), (0, 0)])
    both = np.concatenate([high, hopper], axis=1)
    faces = found(both)
    sides = [min(f.box[2] - f.box[0], f.box[3] - f.box[1]) for f in faces]
    assert sides[0] < sides[1]
    assert found(both, max_faces=1) == [faces[1]], "the larger one"
    assert found(both, max_faces=2) == faces
    assert found(both, min_face_px=int(sides[0])) == faces, "others are found as before"
    assert [f.box for f in found(both, min_face_px=int(sides[0]) + 1)] == [faces[1].box]
    scores = [f.score or 0.0 for f in faces]
    assert found(both, min_score=max(scores) + 1e-6) == []
    assert len(found(both, min_score=max(scores))) == 1


def test_small_faces_need_a_larger_search(hopper: np.ndarray) -> None:
    """A face of 30 px in a picture of 2,400 px has 8 px at 640: only `auto` sees it."""
    picture = np.full((1600, 2400, 3), 90, np.uint8)
    small = np.asarray(Image.fromarray(hopper).resize((80, 94)))
    picture[700:794, 1100:1180] = small
    assert found(picture) == []
    (face,) = found(picture, detect_size_px=None)
    expected = np.array(HOPPER) * 80 / 512 + [1100, 700] * 2
    assert iou(face, tuple(expected)) > 0.5


def test_the_size_that_is_searched() -> None:
    """By hand: auto makes a face of 40 px 20 px large, from 640 up to 4,096 and to the picture."""
    fixed, auto = FaceOptions(640), FaceOptions(None, min_face_px=40)
    assert [fixed.search_px(px) for px in (200, 640, 6000)] == [200, 640, 640]
    assert [auto.search_px(px) for px in (200, 1000, 6000, 20_000)] == [200, 640, 3000, 4096]
    assert FaceOptions(None, min_face_px=10).search_px(3000) == 3000, "never enlarged"
    assert [options.enough_long_px for options in (fixed, auto)] == [1280, None]


@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (5000, 1), (12, 12), (300, 2)])
@pytest.mark.parametrize("value", [0, 255])
def test_pictures_without_anything(shape: tuple[int, int], value: int) -> None:
    assert found(np.full((*shape, 3), value, np.uint8)) == []


def test_patterns_are_no_faces() -> None:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (480, 640, 3), np.uint8)
    blobs = np.asarray(Image.fromarray(noise[:30, :40]).resize((640, 480)))
    stripes = np.tile(np.repeat([0, 255], 9), 40)[None, :640, None].repeat(480, 0).repeat(3, 2)
    for pixels in (noise, blobs, stripes.astype(np.uint8)):
        assert found(pixels) == []


@pytest.mark.parametrize(
    "name", ["chelsea.png", "coffee.png", "gravel.png", "page.png", "rocket.jpg"]
)
def test_scenes_without_people_have_no_faces(name: str) -> None:
    """A cat, a cup, gravel, print and a rocket; gravel resembles faces more than most things."""
    scene = Image.fromarray(decode((portraits()[1].parent / name).read_bytes()).pixels)
    for angle in (0, 90, 200):
        for long_px in (400, 640):
            scale = long_px / max(scene.size)
            size = round(scene.width * scale), round(scene.height * scale)
            assert found(np.asarray(scene.resize(size).rotate(angle, expand=True))) == []


@pytest.mark.parametrize("angle", [-25, 25])
def test_a_head_that_leans_is_found_and_its_crop_is_upright(
    hopper: np.ndarray, angle: float
) -> None:
    leaning = Image.fromarray(hopper).rotate(angle, expand=True, resample=Image.Resampling.BICUBIC)
    (face,) = found(np.asarray(leaning))
    assert face.landmarks is not None
    left_eye, right_eye = np.array(face.landmarks[:2])
    slope = np.degrees(np.arctan2(*(right_eye - left_eye)[::-1]))
    (upright,) = found(hopper)
    assert upright.landmarks is not None
    own = np.degrees(np.arctan2(*np.subtract(*upright.landmarks[1::-1])[::-1]))
    assert slope - own == pytest.approx(-angle, abs=4)


# Real photographs -------------------------------------------------------------------------


def test_the_counted_faces_of_real_photographs(real_data: Path) -> None:
    """A person counted 45 faces: at least 42 are found, and in no picture more than there are."""
    with open(real_data / "photos.csv", newline="") as file:
        counted = {row["file"]: int(row["faces"]) for row in csv.DictReader(file)}
    total = 0
    for name, number in counted.items():
        cut = cut_faces((real_data / "photos" / name).read_bytes(), 96, FaceOptions())
        assert len(cut.faces) <= number, name
        total += len(cut.faces)
    assert total >= 42


def test_the_faces_of_appa_real_are_found(real_data: Path) -> None:
    """98 % of them; a seventh of the pictures is enough to see that."""
    files = sorted((real_data / "appa_real").glob("*.jpg"))[::7]
    found_in = [bool(found(decode(path.read_bytes()).pixels)) for path in files]
    assert np.mean(found_in) >= 0.98
