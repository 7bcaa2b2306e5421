"""Photographs for training: the face that is learnt from, and what is left out and why."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from annotate.errors import AnnotateError
from annotate.face_options import FaceOptions
from annotate.photographs import cut_faces
from tests.test_cascade import portraits
from training.photographs import PhotographData, load_photographs

SIZE_PX = 48

TABLE = """path,age,gender
two.jpg,76,female
two_mirrored.jpg,40.5,
wall.jpg,20,male
broken.jpg,30,male
no_age.jpg,,male
gone.jpg,50,male
"""


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two faces, of which the right one is nearer the centre, and the same mirrored; a wall; no
    picture, three times. The table lies beside the folder.
    """
    folder = tmp_path_factory.mktemp("photographs") / "pictures"
    folder.mkdir()
    with Image.open(portraits()[0]) as hopper, Image.open(portraits()[1]) as astronaut:
        near = hopper.convert("RGB").crop((120, 80, 410, 400)).resize((218, 240))
        far = astronaut.convert("RGB").crop((118, 0, 328, 230))
    picture = Image.new("RGB", (560, 320), (128, 128, 128))
    picture.paste(far, (0, 40))
    picture.paste(near, (240, 40))
    picture.save(folder / "two.jpg", quality=95)
    ImageOps.mirror(picture).save(folder / "two_mirrored.jpg", quality=95)
    Image.new("RGB", (200, 100), (90, 120, 60)).save(folder / "wall.jpg")
    for name in ("broken.jpg", "no_age.jpg", "not_named.jpg"):
        (folder / name).write_bytes(b"no picture")
    (folder.parent / "labels.csv").write_text(TABLE)
    return folder


@pytest.fixture(scope="module")
def found(pictures: Path) -> PhotographData:
    return load_photographs(pictures, pictures.parent / "labels.csv", SIZE_PX)


def test_the_face_nearest_the_centre_is_cut_out(pictures: Path, found: PhotographData) -> None:
    assert found.faces.names == ["two.jpg", "two_mirrored.jpg"]
    assert found.faces.pixels.shape == (2, SIZE_PX, SIZE_PX, 3)
    crops, others = [], []
    for name, central in (("two.jpg", 1), ("two_mirrored.jpg", 0)):
        cut = cut_faces((pictures / name).read_bytes(), SIZE_PX, FaceOptions())
        assert len(cut.faces) == 2, "from left to right"
        crops.append(cut.crops[central])
        others.append(cut.crops[1 - central])
        apart = np.abs(cut.crops[0].astype(int) - cut.crops[1]).mean()
        assert apart > 20, "the two are not alike"
    assert np.array_equal(found.faces.pixels, crops)
    # One person, both times: landmarks of mirror images differ by some pixels, people by more.
    mirrored = found.faces.pixels[1, :, ::-1].astype(int)
    alike = np.abs(found.faces.pixels[0] - mirrored).mean()
    assert 2 * alike < np.abs(others[0] - mirrored).mean()


def test_labels_and_hashes_belong_to_the_pictures(pictures: Path, found: PhotographData) -> None:
    faces = found.faces
    assert faces.ages.tolist() == [76, 40.5]
    assert faces.female[0] == 1
    assert np.isnan(faces.female[1]), "nobody said"
    assert (faces.ages.dtype, faces.female.dtype) == (np.float32, np.float32)
    assert faces.hashes == [
        hashlib.sha256((pictures / name).read_bytes()).hexdigest() for name in faces.names
    ]


def test_what_is_left_out_is_told_with_its_reason(found: PhotographData) -> None:
    # Pictures without an age, or that the table does not name, are not asked for: no fault.
    assert [(fault.kind, fault.path) for fault in found.faults] == [
        ("missing_file", "gone.jpg"),
        ("unreadable_file", "broken.jpg"),
        ("no_face", "wall.jpg"),
    ]
    assert all(fault.detail and "\n" not in fault.detail for fault in found.faults)


def test_photographs_of_which_none_is_left_are_a_one_line_error(
    pictures: Path, tmp_path: Path
) -> None:
    table = tmp_path / "labels.csv"
    for text in ("path,age\nwall.jpg,20\n", "path,age\n", "path,gender\ntwo.jpg,male\n"):
        table.write_text(text)
        with pytest.raises(AnnotateError, match="no face in any photograph that") as caught:
            load_photographs(pictures, table, SIZE_PX)
        assert "\n" not in str(caught.value)
    with pytest.raises(AnnotateError):
        load_photographs(pictures, tmp_path / "none.csv", SIZE_PX)
    with pytest.raises(AnnotateError):
        load_photographs(tmp_path / "none", table, SIZE_PX)


def test_faces_of_photographs_go_behind_others(found: PhotographData) -> None:
    one = dataclasses.replace(found.faces, female=np.zeros(2, np.float32))
    both = one + found.faces
    assert len(both) == 4
    assert np.isnan(both.female).tolist() == [False, False, False, True]
