"""The bundled model on real faces; skipped where there are none."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest

import annotate
from annotate.labels import labels_from_names, utkface_files
from annotate.model import bundled_models
from tests.conftest import ROOT
from training.splits import HASH_DIGITS, part_of

needs_base = pytest.mark.skipif("base" not in bundled_models(), reason="base is not bundled")


def test_the_known_faults_of_utkface_are_found(real_data: Path) -> None:
    found = labels_from_names(utkface_files(real_data / "utkface"))
    malformed = {fault.path for fault in found.faults_of("malformed_name")}
    assert malformed == {
        "39_1_20170116174525125.jpg.chip.jpg",
        "61_1_20170109142408075.jpg.chip.jpg",
        "61_1_20170109150557335.jpg.chip.jpg",
    }
    assert {fault.path for fault in found.faults_of("odd_name")} == {
        "24_0_1_20170116220224657 .jpg.chip.jpg",
        "55_0_0_20170116232725357jpg.chip.jpg",
    }
    assert len(found.labels) == 18_632 - 3


def test_the_committed_split_is_the_one_that_the_rule_gives(real_data: Path) -> None:
    lines = (ROOT / "training" / "split_lists" / "utkface_seed2026.txt").read_text("ascii")
    parts = dict(line.split() for line in lines.splitlines())
    names = list(labels_from_names(utkface_files(real_data / "utkface")).labels)
    for name in names[::20]:
        sha256 = hashlib.sha256((real_data / "utkface" / name).read_bytes()).hexdigest()
        assert parts[sha256[:HASH_DIGITS]] == part_of(sha256, 0.1)


@pytest.fixture(scope="module")
def unseen(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """400 images of the test part, which the model has not met and no choice was made on."""
    folder = tmp_path_factory.mktemp("unseen")
    count = 0
    for path in sorted((real_data / "utkface").iterdir())[::4]:
        if part_of(hashlib.sha256(path.read_bytes()).hexdigest(), 0.1) == "test":
            shutil.copy(path, folder)
            count += 1
        if count == 400:
            break
    return folder


@needs_base
def test_unseen_faces_are_labelled_well(unseen: Path) -> None:
    report = annotate.evaluate(unseen, bootstrap=0).to_dict()
    assert report["training"]["train"] == report["training"]["validation"] == 0
    # Marks of acceptance, with room for the chance of 400 images.
    assert report["age"]["mae"]["value"] < 6.0
    assert report["gender"]["accuracy"]["value"] > 0.88


@needs_base
def test_the_engines_agree_on_real_faces(unseen: Path) -> None:
    frames = [
        annotate.run(str(unseen), faces="crop", engine=engine, limit=96)
        for engine in ("onnx", "keras")
    ]
    assert (frames[0].age - frames[1].age).abs().max() < 0.05
    for column in ("female_probability", "minor_probability"):
        assert (frames[0][column] - frames[1][column]).abs().max() < 1e-3
    assert (frames[0].status == "ok").all()
