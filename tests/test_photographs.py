"""Photographs: bytes in, aligned crops and flagged faces out."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from annotate.alignment import CROP_PX, TEMPLATE, align
from annotate.face_options import FaceOptions
from annotate.faces import find_faces
from annotate.images import ImageError, Picture, decode
from annotate.photographs import cut_faces
from tests.test_cascade import portraits

OPTIONS = FaceOptions()


def jpeg(pixels: np.ndarray, scale: float = 1) -> bytes:
    image = Image.fromarray(pixels)
    size = round(image.width * scale), round(image.height * scale)
    buffer = io.BytesIO()
    image.resize(size, Image.Resampling.LANCZOS).save(buffer, "JPEG", quality=92)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def hopper() -> np.ndarray:
    return decode(portraits()[0].read_bytes()).pixels


def test_a_crop_shows_the_landmarks_where_utkface_has_them(hopper: np.ndarray) -> None:
    """The crop, looked at again, has its landmarks within 4 % of the template."""
    cut = cut_faces(jpeg(hopper), CROP_PX, OPTIONS)
    (crop,) = cut.crops
    framed = np.pad(crop, [(60, 60), (60, 60), (0, 0)], mode="edge")
    (again,) = find_faces(Picture(framed, 320, 320, None), OPTIONS)
    assert again.landmarks is not None
    assert np.abs(np.array(again.landmarks) - 60 - TEMPLATE).max() < 8


def test_boxes_and_crops_of_a_reduced_picture_are_those_of_the_full_one(
    hopper: np.ndarray,
) -> None:
    """4,096 pixels wide, of which the decoder makes 2,048 or fewer."""
    data = jpeg(hopper, 8)
    cut = cut_faces(data, 64, OPTIONS)
    assert (cut.picture.width, cut.picture.height) == (4096, 4800)
    assert max(cut.picture.pixels.shape) < 4800, "it was reduced"
    full = decode(data)
    (expected,) = find_faces(full, OPTIONS)
    (face,) = cut.faces
    side = expected.box[2] - expected.box[0]
    assert np.abs(np.array(face.box) - expected.box).max() < 0.05 * side
    assert expected.landmarks is not None
    wanted = align(full.pixels, expected.landmarks, 64)
    assert np.abs(cut.crops[0].astype(int) - wanted).mean() < 6


def test_small_faces_are_cut_from_all_the_pixels_there_are(hopper: np.ndarray) -> None:
    """A face of about 110 px in a picture of 3,000: at half the size its crop would be blurred."""
    canvas = np.full((2400, 3000, 3), 120, np.uint8)
    small = np.asarray(Image.fromarray(hopper).resize((256, 300), Image.Resampling.LANCZOS))
    canvas[1000:1300, 1400:1656] = small
    cut = cut_faces(jpeg(canvas), 96, OPTIONS)
    assert len(cut.faces) == 1
    assert cut.picture.pixels.shape == canvas.shape
    # Landmarks come from the reduced picture, pixels from the full one.
    assert cut.faces[0].landmarks is not None
    wanted = align(canvas, cut.faces[0].landmarks, 96)
    assert np.abs(cut.crops[0].astype(int) - wanted).mean() < 3


def test_flags_of_a_small_gray_blurred_face(hopper: np.ndarray) -> None:
    def flags(pixels: np.ndarray) -> tuple[str, ...]:
        (face,) = cut_faces(jpeg(pixels), 96, OPTIONS).faces
        return face.flags

    image = Image.fromarray(hopper)
    gray = np.asarray(image.convert("L").convert("RGB"))
    tiny = np.asarray(image.resize((102, 120), Image.Resampling.LANCZOS))
    from PIL import ImageFilter

    soft = np.asarray(image.filter(ImageFilter.GaussianBlur(9)))
    assert flags(hopper) == ()
    assert flags(gray) == ("grayscale",)
    assert flags(tiny) == ("small_face",), "enlarging it must not make it blurred"
    assert flags(soft) == ("blurred",)


def test_a_picture_without_faces_and_bytes_without_a_picture() -> None:
    cut = cut_faces(jpeg(np.full((50, 60, 3), 9, np.uint8)), 32, OPTIONS, keep_full=True)
    assert (cut.faces, cut.crops.shape, cut.full_crops.shape) == (
        (),
        (0, 32, 32, 3),
        (0, CROP_PX, CROP_PX, 3),
    )
    assert (cut.picture.width, cut.picture.height) == (60, 50)
    with pytest.raises(ImageError):
        cut_faces(b"no", 32, OPTIONS)
    with pytest.raises(ImageError, match="limit"):
        cut_faces(jpeg(np.zeros((50, 60, 3), np.uint8)), 32, OPTIONS, max_pixels=2999)
