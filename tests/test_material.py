"""Material: photographs and a teacher's opinions, worked out once in the life of a run."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from PIL import Image

from annotate.errors import AnnotateError
from tests.test_cascade import portraits
from training.data import FaceData, FolderData
from training.material import Lessons, Sources, at_size, training_lessons
from training.presets import BASE

KEPT_PX = 16
AGES = 3

PRESET = dataclasses.replace(
    BASE, name="small", size_px=12, kept_px=KEPT_PX, sizes=(), age_bins=AGES, teacher_share=0.5
)


@pytest.fixture
def faces() -> FolderData:
    """Five faces of noise, redder on the left and bluer on the right."""
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 100, (5, KEPT_PX, KEPT_PX, 3), np.uint8)
    pixels[:, :, : KEPT_PX // 2, 0] += 150
    pixels[:, :, KEPT_PX // 2 :, 2] += 100
    names = [f"{index}.jpg" for index in range(5)]
    hashes = [hashlib.sha256(name.encode()).hexdigest() for name in names]
    found = FaceData(
        names, hashes, pixels, np.arange(5.0, dtype=np.float32), np.ones(5, np.float32)
    )
    by_name = dict(zip(names, hashes, strict=True))
    return FolderData({"train": found}, {"train": by_name, "validation": {}, "test": {}}, [])


@pytest.fixture
def teacher(tmp_path: Path) -> Path:
    """A model folder that looks at the left half of a face: the probabilities of the ages 0, 1
    and 2 are as its mean red, green and blue, and female_probability is its mean red / 255.
    """
    folder = tmp_path / "teacher"
    folder.mkdir()
    (folder / "model.onnx").write_bytes(_left_colours().SerializeToString())
    digest = hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest()
    info = {
        "schema_version": 1,
        "preprocessing_version": 1,
        "name": "colours",
        "input": {"size_px": KEPT_PX, "colours": "RGB"},
        "heads": {"age": {"kind": "distribution", "bins": AGES}, "gender": {"positive": "female"}},
        "calibration": {"age_temperature": 3.0, "gender_temperature": 2.0},
        "files": {"model.onnx": digest},
    }
    (folder / "model.json").write_text(json.dumps(info), "utf-8")
    return folder


def _left_colours(size_px: int = KEPT_PX) -> onnx.ModelProto:
    """pixels (N, size_px, size_px, 3) uint8 -> age (N, 3) and gender (N, 1), probabilities."""

    def constant(name: str, values: Any, kind: Any = np.int64) -> onnx.TensorProto:
        return onnx.numpy_helper.from_array(np.asarray(values, kind), name)

    nodes = [
        helper.make_node("Cast", ["pixels"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Gather", ["float", "left"], ["half"], axis=2),
        helper.make_node("ReduceMean", ["half", "space"], ["rgb"], keepdims=0),
        helper.make_node("ReduceSum", ["rgb", "colours"], ["sum"], keepdims=1),
        helper.make_node("Div", ["rgb", "sum"], ["age"]),
        helper.make_node("Gather", ["rgb", "red"], ["reds"], axis=1),
        helper.make_node("Div", ["reds", "white"], ["gender"]),
    ]
    shapes = {"age": AGES, "gender": 1}
    pixels = ["N", size_px, size_px, 3]
    graph = helper.make_graph(
        nodes,
        "colours",
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, pixels)],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["N", s]) for n, s in shapes.items()],
        [
            constant("left", np.arange(size_px // 2)),
            constant("space", [1, 2]),
            constant("colours", [1]),
            constant("red", [0]),
            constant("white", 255.0, np.float32),
        ],
    )
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9, producer_name="tests"
    )


@pytest.fixture
def photographs(tmp_path: Path) -> tuple[Path, Path]:
    """A folder with a portrait and a wall, and the table that labels them."""
    folder, table = tmp_path / "pictures", tmp_path / "labels.csv"
    folder.mkdir()
    with Image.open(portraits()[0]) as hopper:
        hopper.convert("RGB").crop((100, 60, 430, 440)).resize((200, 230)).save(folder / "a.jpg")
    Image.new("RGB", (80, 60), (90, 120, 60)).save(folder / "b.jpg")
    table.write_text("path,age\na.jpg,79\nb.jpg,20\n")
    return folder, table


def _by_hand(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What the teacher says of faces (N, S, S, 3), both ways round."""
    left, right = np.split(pixels.astype(np.float64), 2, axis=2)
    # Mirrored, the right half lies on the left.
    rgb = np.stack([half.mean(axis=(1, 2)) for half in (left, right)])
    ages = (rgb / rgb.sum(axis=2, keepdims=True)).mean(axis=0)
    return ages, rgb[..., 0].mean(axis=0) / 255


def _assert_same(one: Lessons, other: Lessons) -> None:
    for field in dataclasses.fields(FaceData):
        np.testing.assert_array_equal(
            getattr(one.faces, field.name), getattr(other.faces, field.name)
        )
    for name in ("teacher_ages", "teacher_female"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
        assert getattr(one, name).dtype == getattr(other, name).dtype


def test_without_more_sources_the_images_are_the_lessons(faces: FolderData, tmp_path: Path) -> None:
    out = tmp_path / "run"
    out.mkdir()
    found = training_lessons(out, PRESET, faces, Sources(tmp_path), resume=False)
    assert found.faces is faces.parts["train"]
    assert (found.teacher_ages, found.teacher_female) == (None, None)
    assert list(out.iterdir()) == []


def test_a_teacher_says_what_its_network_says_both_ways_round(
    faces: FolderData, teacher: Path, tmp_path: Path
) -> None:
    sources = Sources(tmp_path, teachers=(str(teacher),))
    found = training_lessons(tmp_path, PRESET, faces, sources, resume=False)
    ages, female = _by_hand(faces.parts["train"].pixels)
    assert found.teacher_ages is not None
    assert found.teacher_female is not None
    assert found.teacher_ages.dtype == np.float16
    # As the network says it, not as it is calibrated; half floats have eleven binary digits.
    np.testing.assert_allclose(found.teacher_ages, ages, atol=2**-11)
    np.testing.assert_allclose(found.teacher_female, female, atol=1e-6)
    assert found.teacher_ages.sum(axis=1) == pytest.approx(np.ones(5), abs=2e-3)


def test_several_teachers_say_their_mean_each_at_its_own_size(
    faces: FolderData, teacher: Path, tmp_path: Path
) -> None:
    pixels = faces.parts["train"].pixels
    other = tmp_path / "small"
    shutil.copytree(teacher, other)
    info = json.loads((other / "model.json").read_text())
    info["input"]["size_px"] = KEPT_PX // 2
    model = _left_colours(KEPT_PX // 2).SerializeToString()
    (other / "model.onnx").write_bytes(model)
    info["files"] = {"model.onnx": hashlib.sha256(model).hexdigest()}
    (other / "model.json").write_text(json.dumps(info), "utf-8")
    for names in ([teacher, other], [other]):
        sources = Sources(tmp_path, teachers=tuple(map(str, names)))
        found = training_lessons(tmp_path, PRESET, faces, sources, resume=False)
        ages, _ = _by_hand(at_size(pixels, KEPT_PX // 2))
        if teacher in names:
            ages = (ages + _by_hand(pixels)[0]) / 2
        assert found.teacher_ages is not None
        np.testing.assert_allclose(found.teacher_ages, ages, atol=2**-10)


def test_images_are_scaled_as_pillow_scales_and_left_alone_where_they_fit() -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (2, 12, 12, 3), np.uint8)
    assert at_size(pixels, 12) is pixels
    for image, scaled in zip(pixels, at_size(pixels, 7), strict=True):
        by_pillow = Image.fromarray(image).resize((7, 7), Image.Resampling.BILINEAR)
        np.testing.assert_array_equal(scaled, np.asarray(by_pillow))


def test_opinions_and_photographs_are_worked_out_once(
    faces: FolderData, teacher: Path, photographs: tuple[Path, Path], tmp_path: Path
) -> None:
    out = tmp_path / "run"
    out.mkdir()
    sources = Sources(tmp_path, *photographs, teachers=(str(teacher),))
    first = training_lessons(out, PRESET, faces, sources, resume=False)
    assert first.faces.names == ["0.jpg", "1.jpg", "2.jpg", "3.jpg", "4.jpg", "a.jpg"]
    assert first.faces.pixels.shape == (6, KEPT_PX, KEPT_PX, 3)
    assert (first.faces.ages[5], np.isnan(first.faces.female[5])) == (79, True)
    # The teacher saw the photograph, too.
    assert first.teacher_ages is not None
    np.testing.assert_allclose(first.teacher_ages, _by_hand(first.faces.pixels)[0], atol=2**-11)
    sha256 = hashlib.sha256((photographs[0] / "a.jpg").read_bytes()).hexdigest()
    assert first.faces.hashes[5] == sha256
    assert (out / "photographs.txt").read_text() == f"{sha256[:16]} train\n"
    assert json.loads((out / "photographs.json").read_text()) == ["no_face: b.jpg"]

    # With what they were made of gone, only what was kept can give them.
    shutil.rmtree(photographs[0])
    shutil.rmtree(teacher)
    _assert_same(training_lessons(out, PRESET, faces, sources, resume=True), first)
    with pytest.raises(AnnotateError, match="cannot read the data folder"):
        training_lessons(out, PRESET, faces, sources, resume=False)
    (out / "teacher.npz").unlink()
    with pytest.raises(AnnotateError, match="no model"):
        training_lessons(out, PRESET, faces, sources, resume=True)


def test_a_damaged_keep_is_a_one_line_error(
    faces: FolderData, teacher: Path, tmp_path: Path
) -> None:
    sources = Sources(tmp_path, teachers=(str(teacher),))
    training_lessons(tmp_path, PRESET, faces, sources, resume=False)
    kept = tmp_path / "teacher.npz"
    kept.write_bytes(kept.read_bytes()[:-20])
    with pytest.raises(AnnotateError, match=r"cannot read .*teacher\.npz"):
        training_lessons(tmp_path, PRESET, faces, sources, resume=True)


def test_a_teacher_of_another_kind_is_a_one_line_error(
    faces: FolderData, teacher: Path, fake_model_folder: Path, tmp_path: Path
) -> None:
    cases = [
        (
            dataclasses.replace(PRESET, age_bins=117),
            teacher,
            "colours gives 3 values for age, preset small learns 117",
        ),
        (PRESET, fake_model_folder, "fake gives 1 values for age, preset small learns 3"),
    ]
    for preset, model, message in cases:
        sources = Sources(tmp_path, teachers=(str(model),))
        with pytest.raises(AnnotateError, match=message) as caught:
            training_lessons(tmp_path, preset, faces, sources, resume=False)
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "teacher.npz").exists()


def test_photographs_and_their_table_go_together(tmp_path: Path) -> None:
    for given in ({"photographs": tmp_path}, {"photograph_labels": tmp_path}):
        with pytest.raises(AnnotateError, match="pass both") as caught:
            Sources(tmp_path, **given)
        assert "\n" not in str(caught.value)
