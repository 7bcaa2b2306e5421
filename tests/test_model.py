"""Models: folders that fit are loaded, all others refused; batches."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from annotate.cli import cli
from annotate.errors import AnnotateError
from annotate.model import Model, bundled_models, load_model
from tests.model_folders import Change, assert_refused, edit


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 40), st.integers(0, 2**31))
def test_a_prediction_does_not_depend_on_its_batch(
    models: dict[int, Model], count: int, seed: int
) -> None:
    shape = (count, models[8].size_px, models[8].size_px, 3)
    faces = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
    for model in models.values():
        together = model.predict(faces)
        assert len(together) == count
        for index in range(count):
            alone = models[8].predict(faces[index : index + 1])
            assert abs(together.age[index] - alone.age[0]) < 0.01
            assert abs(together.female_probability[index] - alone.female_probability[0]) < 1e-4


@pytest.fixture(scope="session")
def models(fake_model_folder: Path) -> dict[int, Model]:
    """The fake model by batch size."""
    return {size: load_model(fake_model_folder, batch_size=size) for size in (1, 7, 8)}


def test_an_array_without_order_in_memory_is_fine(fake_model: Model) -> None:
    faces = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), np.uint8)
    turned = np.asfortranarray(faces)[::-1]
    assert fake_model.predict(turned).age.tolist() == fake_model.predict(faces).age[::-1].tolist()


@pytest.mark.parametrize(
    "faces",
    [
        np.zeros((1, 16, 16, 3), np.float32),
        np.zeros((16, 16, 3), np.uint8),
        np.zeros((1, 17, 16, 3), np.uint8),
        np.zeros((1, 3, 16, 16), np.uint8),
        np.zeros((0,), np.uint8),
        [[0]],
    ],
)
def test_other_arrays_are_a_value_error_that_says_what_is_expected(
    fake_model: Model, faces: Any
) -> None:
    with pytest.raises(ValueError, match=r"expected .*, found"):
        fake_model.predict(faces)


def test_a_model_says_what_it_is(fake_model_folder: Path) -> None:
    model = load_model(fake_model_folder, batch_size=3)
    data = (fake_model_folder / "model.json").read_bytes()
    assert model.sha256 == hashlib.sha256(data).hexdigest()
    assert (model.name, model.engine, model.device) == ("fake", "onnx", "cpu")
    assert (model.size_px, model.batch_size, model.preprocessing_version) == (16, 3, 1)
    assert model.device_name
    assert model.training_parts() == {}
    assert model.remarks == ()


def test_training_parts_are_read(copy: Path) -> None:
    (copy / "training_hashes.txt").write_text(
        "0123456789abcdef train\nfedcba9876543210 validation\n"
    )
    edit(copy)
    parts = load_model(copy).training_parts()
    assert parts == {"0123456789abcdef": "train", "fedcba9876543210": "validation"}


def test_an_unknown_name_lists_what_is_bundled() -> None:
    bundled = ", ".join(bundled_models()) or "none"
    assert_refused("no-such-model", rf"no model 'no-such-model'.*\({bundled}\)")


def test_a_folder_without_a_model_says_so(tmp_path: Path) -> None:
    assert_refused(tmp_path, "has no model.json")
    assert_refused(tmp_path / "missing", "no model")
    (tmp_path / "model.json").write_bytes(b"\x80\x04\x95\x00")
    assert_refused(tmp_path, "cannot read")
    (tmp_path / "model.json").write_text("[" * 100_000)
    assert_refused(tmp_path, "cannot read")
    (tmp_path / "model.json").write_text("[]")
    assert_refused(tmp_path, "does not describe a model")


def _set(*path: str, value: object) -> Change:
    def change(found: dict[str, Any]) -> None:
        for key in path[:-1]:
            found = found[key]
        found[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_set("schema_version", value=2), "schema version 2"),
        (_set("preprocessing_version", value=0), "preprocessing 0"),
        (_set("heads", value={}), "lacks what a model needs"),
        (_set("heads", value="x"), "lacks what a model needs"),
        (_set("input", "size_px", value=True), r"input\.size_px"),
        (_set("input", "size_px", value=32), "but model.json says 32 px"),
        (_set("input", "colours", value="BGR"), r"input\.colours"),
        (_set("heads", "age", "kind", value="guess"), r"heads\.age\.kind"),
        (_set("heads", "gender", "positive", value="male"), r"heads\.gender\.positive"),
        (_set("calibration", "age_temperature", value=0.0), "calibration"),
        (_set("files", "../secret", value="0"), "files"),
        (_set("files", "..", value="0" * 64), "files"),
        (_set("files", "/etc/passwd", value="0" * 64), "files"),
        (_set("files", "a\nb", value="0" * 64), "files"),
        (_set("files", "", value="0" * 64), "files"),
        (_set("files", "CON:", value="0" * 64), "files"),
        (_set("files", "card.md", value="\x1b[2J"), "files"),
        (_set("files", "card.md", value=None), "lacks what a model needs"),
        (_set("files", "absent.bin", value="0" * 64), "absent.bin"),
        (_set("name", value="two\nlines"), "unusable values: name"),
        (_set("name", value="\u202eesab"), "unusable values: name"),
        (_set("name", value="x" * 101), "unusable values: name"),
        (_set("name", value=""), "unusable values: name"),
        (_set("name", value=3), "lacks what a model needs"),
        (_set("schema_version", value="\x1b[2J" * 1000), "schema version"),
        (_set("schema_version", value=10**4000), "schema version"),
        (_set("input", "size_px", value=10**4000), r"input\.size_px"),
        (_set("input", "size_px", value=float("inf")), r"input\.size_px"),
        (_set("calibration", "age_temperature", value=float("nan")), "calibration"),
        (_set("calibration", "gender_temperature", value=float("inf")), "calibration"),
        (_set("calibration", value=[]), "lacks what a model needs"),
        (_set("calibration", "interval_levels", value=5), "lacks what a model needs"),
        (_set("files", "model.onnx", value="0" * 64), "not the file that model.json lists"),
        (_set("files", value={}), "has no model.onnx"),
    ],
)
def test_a_model_json_that_does_not_fit_is_refused(copy: Path, change: Change, said: str) -> None:
    edit(copy, change)
    assert_refused(copy, said)


def test_one_flipped_bit_is_found(copy: Path) -> None:
    data = bytearray((copy / "model.onnx").read_bytes())
    data[len(data) // 2] ^= 1
    (copy / "model.onnx").write_bytes(bytes(data))
    assert_refused(copy, "not the file that model.json lists")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b'{"schema_version": 1e400}', "schema version inf"),
        (b'{"schema_version": NaN}', "schema version nan"),
        (b'{"schema_version": ' + b"9" * 5000 + b"}", "cannot read"),
        (b'{"schema_version": 1, "schema_version": 2}', "schema version 2"),
        (b'{"a":' * 100_000, "cannot read"),
        (b"\xff\xfe{\x00", "cannot read"),
        (b" " * 4_000_001, "at most 4,000,000 are expected"),
    ],
)
def test_a_model_json_of_any_content_is_one_line(copy: Path, text: bytes, said: str) -> None:
    (copy / "model.json").write_bytes(text)
    assert_refused(copy, said)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs FIFOs")
@pytest.mark.parametrize("name", ["model.json", "model.onnx", "card.md"])
def test_what_is_no_regular_file_is_not_read(copy: Path, name: str) -> None:
    (copy / name).unlink()
    os.mkfifo(copy / name)
    assert_refused(copy, f"{name}: it is no regular file")
    (copy / name).unlink()
    (copy / name).symlink_to("/dev/zero")
    assert_refused(copy, f"{name}: it is no regular file")
    (copy / name).unlink()
    (copy / name).mkdir()
    assert_refused(copy, f"cannot read .*{name}")
    (copy / name).rmdir()
    (copy / name).symlink_to("nowhere")
    assert_refused(copy, f"no {name}|cannot read .*{name}: No such file")


def test_a_file_of_terabytes_is_not_read(copy: Path) -> None:
    with (copy / "model.onnx").open("r+b") as file:
        try:
            file.truncate(2**40)
        except OSError:
            pytest.skip("this file system has no files of a terabyte")
    assert_refused(copy, r"1,099,511,627,776 bytes, at most 1,073,741,824 are expected")


@pytest.mark.parametrize(
    "content",
    [b"0123456789abcdef test\n", b"one two three\n", b"\x1b[2J train\xff\n\n", b"a train\n" * 2],
)
def test_training_hashes_of_another_form_are_refused(copy: Path, content: bytes) -> None:
    (copy / "training_hashes.txt").write_bytes(content)
    edit(copy)
    model = load_model(copy)
    with pytest.raises(AnnotateError, match="does not list images"):
        model.training_parts()


def test_training_hashes_that_changed_since_are_refused(copy: Path) -> None:
    (copy / "training_hashes.txt").write_text("0123456789abcdef train\n")
    edit(copy)
    model = load_model(copy)
    (copy / "training_hashes.txt").write_text("fedcba9876543210 train\n")
    with pytest.raises(AnnotateError, match="not the file that model"):
        model.training_parts()


def test_a_card_cannot_steer_the_terminal(copy: Path) -> None:
    (copy / "card.md").write_text("# A card\n\n| a |\t\x1b[2J\x07\u202e\x9b31m\r\nend", "utf-8")
    info = json.loads((copy / "model.json").read_bytes())
    info["files"]["card.md"] = hashlib.sha256((copy / "card.md").read_bytes()).hexdigest()
    (copy / "model.json").write_text(json.dumps(info))
    done = CliRunner().invoke(cli, ["models", "show", str(copy)])
    assert done.exit_code == 0
    shown = "# A card\n\n| a |\t\\x1b[2J\\x07\\u202e\\x9b31m\nend\n"
    assert done.stdout == shown


def test_a_card_that_is_no_text_is_one_line(copy: Path) -> None:
    (copy / "card.md").unlink()
    for spoil in (os.mkfifo, os.mkdir):
        spoil(copy / "card.md")
        done = CliRunner().invoke(cli, ["models", "show", str(copy)])
        assert isinstance(done.exception, AnnotateError)
        assert "card.md" in str(done.exception)
        (copy / "card.md").unlink() if spoil is os.mkfifo else (copy / "card.md").rmdir()
