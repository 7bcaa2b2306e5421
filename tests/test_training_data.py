"""Training data: a labelled folder in memory, split by content, and every fault met."""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from annotate.errors import AnnotateError
from annotate.images import face_crop
from training.data import FaceData, image_to_input, load_parts
from training.presets import BASE
from training.splits import part_of

PRESET = dataclasses.replace(BASE, size_px=96, kept_px=100)

Twins = dict[str, list[tuple[str, str]]]


@pytest.fixture(scope="module")
def drawn_faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """120 drawn "faces" with UTKFace names, all different."""
    folder = tmp_path_factory.mktemp("drawn") / "utkface"
    folder.mkdir()
    rng = np.random.default_rng(5)
    for index in range(120):
        age, gender, race = (20 + index) % 90, (index + 1) % 2, (index + 2) % 5
        pixels = rng.integers(0, 256, (8, 8, 3), np.uint8)
        pixels[..., 0] = 255 * gender
        image = Image.fromarray(pixels).resize((50, 50))
        image.save(folder / f"{age}_{gender}_{race}_{index:04d}.jpg", quality=90)
    return folder


def test_a_folder_is_split_and_its_faults_are_listed(drawn_faces: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(drawn_faces, tmp_path / "data"))
    shutil.copy(folder / "20_1_2_0000.jpg", folder / "55_0_0_7777.jpg")
    (folder / "31_0_0_8888.jpg").write_bytes(b"no picture")
    (folder / "39_1_20170116174525125.jpg.chip.jpg").write_bytes(b"no race")
    found = load_parts(folder, PRESET)
    kinds = {(fault.kind, fault.path) for fault in found.faults}
    assert kinds == {
        ("identical_file", "55_0_0_7777.jpg"),
        ("unreadable_file", "31_0_0_8888.jpg"),
        ("malformed_name", "39_1_20170116174525125.jpg.chip.jpg"),
    }
    (twin,) = [fault for fault in found.faults if fault.kind == "identical_file"]
    assert twin.detail == "same bytes as 20_1_2_0000.jpg, other labels"
    assert sum(found.counts.values()) == len(list(drawn_faces.iterdir())) + 1
    without_pixels = {name: found.counts[name] - len(data) for name, data in found.parts.items()}
    where = {name: part for part, names in found.hashes.items() for name in names}
    assert where["20_1_2_0000.jpg"] == where["55_0_0_7777.jpg"] == "train"
    # Both of what has two labels, and nothing else.
    assert without_pixels == {"train": 2, "validation": 0, "test": 0}


@pytest.fixture(scope="module")
def twins(drawn_faces: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Twins]:
    """A folder, and for each part the names of three files of the same bytes as others.

    The first of them has the label of its twin, the other two another age and another race.
    """
    folder = Path(shutil.copytree(drawn_faces, tmp_path_factory.mktemp("twins") / "utkface"))
    names: Twins = {"train": [], "validation": [], "test": []}
    for path in sorted(drawn_faces.iterdir()):
        part = part_of(hashlib.sha256(path.read_bytes()).hexdigest(), PRESET.validation_share)
        age, gender, race, rest = path.name.split("_", 3)
        other = {
            0: f"{age}_{gender}_{race}_9{rest}",
            1: f"{int(age) + 1}_{gender}_{race}_9{rest}",
            2: f"{age}_{gender}_{(int(race) + 1) % 5}_9{rest}",
        }.get(len(names[part]))
        if other is not None:
            shutil.copy(path, folder / other)
            names[part].append((path.name, other))
    return folder, names


def test_contents_with_two_labels_are_not_learnt_from(twins: tuple[Path, Twins]) -> None:
    folder, names = twins
    found = load_parts(folder, PRESET)
    for part, ((first, again), *contradictory) in names.items():
        known, kept = found.hashes[part], set(found.parts[part].names)
        assert {first, again} <= kept
        assert len(contradictory) == 2
        for pair in contradictory:
            # Both are known to be of this part; which label is right, nobody can say.
            assert known[pair[0]] == known[pair[1]]
            assert kept.isdisjoint(pair) == (part == "train")
            assert set(pair) <= kept or part == "train"
    assert found.counts["train"] == len(found.parts["train"]) + 4
    details = {fault.path: fault.detail.rpartition(", ")[2] for fault in found.faults}
    for (_, same), *others in names.values():
        assert details[same] == "same labels"
        assert {details[other] for _, other in others} == {"other labels"}


def test_a_limit_takes_evenly_spaced_files(drawn_faces: Path) -> None:
    found = load_parts(drawn_faces, PRESET, limit=7, parts=())
    names = sorted(path.name for path in drawn_faces.iterdir())
    # 119 steps in six equal strides, cut to whole ones.
    expected = {names[index] for index in (0, 19, 39, 59, 79, 99, 119)}
    assert {name for part in found.hashes.values() for name in part} == expected
    assert found.parts == {}
    assert load_parts(drawn_faces, PRESET, limit=500, parts=()).counts == (
        load_parts(drawn_faces, PRESET, parts=()).counts
    )


def test_faces_can_be_put_after_others() -> None:
    rng = np.random.default_rng(1)

    def some(*names: str, female: list[float]) -> FaceData:
        pixels = rng.integers(0, 256, (len(names), 4, 4, 3), np.uint8)
        ages = np.arange(len(names), dtype=np.float32)
        hashes = [f"{name}{name}" for name in names]
        return FaceData(list(names), hashes, pixels, ages, np.array(female, np.float32))

    one, other = some("a", "b", female=[1, 0]), some("c", female=[np.nan])
    both = one + other
    assert len(both) == 3
    assert (both.names, both.hashes) == (["a", "b", "c"], ["aa", "bb", "cc"])
    assert both.ages.tolist() == [0, 1, 0]
    assert both.female[:2].tolist() == [1, 0]
    assert np.isnan(both.female[2])
    assert np.array_equal(both.pixels[2], other.pixels[0])
    assert (both.pixels.dtype, both.ages.dtype) == (np.uint8, np.float32)
    assert len(one) == 2, "they are as they were"
    with pytest.raises(ValueError, match="dimensions"):
        _ = one + FaceData(["d"], ["d"], np.zeros((1, 5, 5, 3), np.uint8), one.ages, one.female)


def test_labels_and_pixels_belong_together(drawn_faces: Path) -> None:
    found = load_parts(drawn_faces, PRESET)
    assert found.parts["train"].pixels.shape[1:] == (100, 100, 3)
    for part in ("validation", "test"):
        data = found.parts[part]
        assert data.pixels.shape[1:] == (96, 96, 3)
        for index, name in enumerate(data.names):
            age, gender = name.split("_")[:2]
            assert data.ages[index] == float(age)
            assert data.female[index] == float(gender)  # UTKFace: 1 is female
            expected = face_crop((drawn_faces / name).read_bytes(), 96).pixels
            assert np.array_equal(data.pixels[index], expected)
            assert np.array_equal(image_to_input((drawn_faces / name).read_bytes(), 96), expected)


def test_only_the_parts_asked_for_are_decoded(drawn_faces: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(drawn_faces, tmp_path / "data"))
    (folder / "31_0_0_8888.jpg").write_bytes(b"no picture")
    sha256 = hashlib.sha256(b"no picture").hexdigest()
    part = part_of(sha256, PRESET.validation_share)
    others = [name for name in ("train", "validation", "test") if name != part]
    found = load_parts(folder, PRESET, parts=others)
    assert list(found.parts) == others
    # Nobody looked whether it is a picture; its content says where it would belong.
    assert found.hashes[part]["31_0_0_8888.jpg"] == sha256
    assert not found.faults


def test_a_folder_without_a_part_is_an_error(drawn_faces: Path, tmp_path: Path) -> None:
    shutil.copy(next(drawn_faces.iterdir()), tmp_path)
    with pytest.raises(AnnotateError, match="no readable, labelled image for the"):
        load_parts(tmp_path, PRESET)


def test_real_data_has_the_known_faults(real_data: Path) -> None:
    found = load_parts(real_data / "utkface", PRESET, parts=())
    assert sum(found.counts.values()) == 18_632 - 3
    kinds = [fault.kind for fault in found.faults]
    assert kinds.count("malformed_name") == 3
    assert kinds.count("odd_name") == 2
    assert kinds.count("unreadable_file") == 0
