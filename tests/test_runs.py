"""Runs: what a run's folder holds is whole, found again, and never believed blindly."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annotate.errors import AnnotateError
from annotate.labels import Fault
from training.data import FolderData
from training.runs import (
    check_settings,
    check_splits,
    check_unused,
    has_checkpoint,
    load_arrays,
    read_run,
    read_whole_run,
    save_arrays,
    write_lines,
    write_run,
)

ARRAYS = {
    "model_0": np.arange(6, dtype=np.float32).reshape(2, 3),
    "epochs_done": np.asarray(3),
    "names": np.array(["a.jpg", "\udcff.jpg"]),  # a name that is not UTF-8
}

HASHES = {
    "train": {"a.jpg": "b" * 64, "b.jpg": "c" * 64},
    "validation": {"c.jpg": "a" * 64},
    "test": {},
}


def test_arrays_are_read_as_they_were_written(tmp_path: Path) -> None:
    save_arrays(tmp_path / "x.npz", ARRAYS)
    found = load_arrays(tmp_path / "x.npz")
    assert set(found) == set(ARRAYS)
    for name, array in ARRAYS.items():
        assert np.array_equal(found[name], array)
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)
    assert [path.name for path in tmp_path.iterdir()] == ["x.npz"]


def test_what_cannot_be_written_leaves_the_earlier_file(tmp_path: Path) -> None:
    save_arrays(tmp_path / "x.npz", ARRAYS)
    before = (tmp_path / "x.npz").read_bytes()
    with pytest.raises(ValueError, match="allow_pickle"):
        save_arrays(tmp_path / "x.npz", {"x": np.array([object()])})
    assert (tmp_path / "x.npz").read_bytes() == before


class _Harmful:
    """Makes a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        return Path.touch, (self.path,)


def _zipped(name: str, data: bytes, **options: int) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", **options) as archive:  # type: ignore[arg-type]
        archive.writestr(name, data)
    return file.getvalue()


def _npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def test_files_with_objects_are_refused_and_nothing_runs(tmp_path: Path) -> None:
    touched = tmp_path / "touched"
    objects = io.BytesIO()
    np.savez(objects, x=np.array([_Harmful(touched)], object))
    plain = pickle.dumps(_Harmful(touched))
    for data in (objects.getvalue(), plain, _zipped("x.npy", plain)):
        (tmp_path / "x.npz").write_bytes(data)
        with pytest.raises(AnnotateError, match="cannot read"):
            load_arrays(tmp_path / "x.npz")
    assert not touched.exists()


def _encrypted(data: bytes) -> bytes:
    """The same zip with the flag of encryption set, in both of its headers."""
    local, central = data.index(b"PK\x03\x04"), data.index(b"PK\x01\x02")
    changed = bytearray(data)
    changed[local + 6] |= 1
    changed[central + 8] |= 1
    return bytes(changed)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no arrays",
        _npy(np.arange(3)),
        _zipped("x.npy", _npy(np.arange(3)))[:-30],
        _zipped("x.txt", b"no array"),
        _zipped("x.npy", b"\x93NUMPY\x01\x00\x06\x00{}    "),
        _zipped("x.npy", _npy(np.arange(300)), compression=zipfile.ZIP_DEFLATED).replace(
            b"\x01\x02\x03", b"\xff\xff\xff"
        )[:-1],
        _encrypted(_zipped("x.npy", _npy(np.arange(3)))),
    ],
    ids=["empty", "text", "npy", "cut", "member", "header", "deflated", "encrypted"],
)
def test_a_file_that_holds_no_arrays_is_a_one_line_error(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.npz").write_bytes(data)
    with pytest.raises(AnnotateError, match="cannot read") as caught:
        load_arrays(tmp_path / "x.npz")
    assert "\n" not in str(caught.value)


@settings(max_examples=200, deadline=None)
@given(draw=st.data())
def test_a_damaged_file_is_an_error_or_arrays(
    draw: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = io.BytesIO()
    np.savez(file, a=np.arange(3), b=np.ones((2, 2), np.float32))
    whole = file.getvalue()
    damaged = bytearray(whole)
    for place in draw.draw(st.lists(st.integers(0, len(whole) - 1), min_size=1, max_size=3)):
        damaged[place] = draw.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "damaged.npz"
    path.write_bytes(damaged)
    try:
        found = load_arrays(path)
    except AnnotateError:
        return
    assert all(isinstance(array, np.ndarray) for array in found.values())


def _folder_data(hashes: dict[str, dict[str, str]] = HASHES) -> FolderData:
    faults = [Fault("unreadable_file", "\udcff.jpg", "no picture"), Fault("odd_name", "b.jpg", "")]
    return FolderData({}, hashes, faults)


def test_a_run_is_found_again(tmp_path: Path) -> None:
    settings = {"preset": "base", "seed": 7, "limit": None}
    write_run(tmp_path, {"settings": settings, "keras": "3"}, _folder_data())
    found = read_run(tmp_path)
    assert found["settings"] == settings
    assert found["keras"] == "3"
    assert found["images"] == {"train": 2, "validation": 1, "test": 0}
    assert found["faults"] == ["unreadable_file: \udcff.jpg", "odd_name: b.jpg"]
    lines = (tmp_path / "splits.txt").read_text("ascii").splitlines()
    assert lines == ["a" * 16 + " validation", "b" * 16 + " train", "c" * 16 + " train"]
    assert {path.name for path in tmp_path.iterdir()} == {"run.json", "splits.txt"}
    check_splits(tmp_path, _folder_data())


def test_a_run_is_resumed_only_as_it_was_started(tmp_path: Path) -> None:
    settings = {"preset": "base", "seed": 7, "photographs": True}
    write_run(tmp_path, {"settings": settings, "keras": "3"}, _folder_data())
    # Before its first whole epoch, too: what it made ready is used then.
    assert check_settings(tmp_path, settings)["keras"] == "3"
    assert not has_checkpoint(tmp_path)
    (tmp_path / "checkpoint.npz").write_bytes(b"")
    assert has_checkpoint(tmp_path)
    assert check_settings(tmp_path, settings)["keras"] == "3"
    for changed in (settings | {"seed": 8}, settings | {"teacher": "base"}, {"preset": "base"}):
        with pytest.raises(AnnotateError, match="was started with"):
            check_settings(tmp_path, changed)


@pytest.mark.parametrize("name", ["best.npz", "history.csv"])
def test_what_a_run_left_without_its_checkpoint_is_not_overwritten(
    name: str, tmp_path: Path
) -> None:
    settings = {"preset": "base"}
    check_unused(tmp_path / "not there")
    check_unused(tmp_path)
    write_run(tmp_path, {"settings": settings}, _folder_data())
    check_unused(tmp_path)
    (tmp_path / name).write_bytes(b"hours of work")
    said = rf"holds the {name} of a training run without its checkpoint\.npz: choose another --out"
    with pytest.raises(AnnotateError, match=said):
        check_unused(tmp_path)
    with pytest.raises(AnnotateError, match=said):
        check_settings(tmp_path, settings)
    (tmp_path / "checkpoint.npz").write_bytes(b"")
    with pytest.raises(AnnotateError, match="holds a training run: use --resume"):
        check_unused(tmp_path)


WHOLE = {
    "settings": {"preset": "base", "seed": 7, "limit": None},
    "images": {"train": 2},
    "faults": [],
    "command": "fit",
    "keras": "3",
    "backend": "jax",
}


def _write(folder: Path, run: object) -> None:
    (folder / "run.json").write_text(json.dumps(run))


def test_a_run_is_read_whole_with_or_without_what_newer_ones_say(tmp_path: Path) -> None:
    newer = {"start": {"epochs": 3}, "start_sha256": "0" * 64, "machine": "2 cores"}
    models = {"start": "base", "teachers": ["nano"], "photographs": True, "views": 1}
    for more in ({}, newer | {"settings": WHOLE["settings"] | models}):  # type: ignore[operator]
        _write(tmp_path, WHOLE | more)
        assert read_whole_run(tmp_path) == WHOLE | more


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"settings": {"preset": "base"}}, "settings.seed"),
        ({"settings": {"preset": ["base"], "seed": 7}}, "settings.preset"),
        ({"settings": {"preset": "base", "seed": -1, "limit": "9"}}, "settings.seed, settings"),
        ({"settings": {"preset": "base", "seed": 7, "start": 1}}, "settings.start"),
        ({"settings": {"preset": "base", "seed": 7, "teachers": "nano"}}, "settings.teachers"),
        ({"images": None}, "images"),
        ({"images": {"train": "2"}}, "images"),
        ({"faults": [1]}, "faults"),
        ({"command": None, "keras": 3}, "command, keras"),
    ],
)
def test_a_run_that_lacks_what_export_needs_is_a_one_line_error(
    wrong: dict[str, object], named: str, tmp_path: Path
) -> None:
    _write(tmp_path, WHOLE | wrong)
    with pytest.raises(AnnotateError, match=rf"run\.json lacks or misstates {named}") as caught:
        read_whole_run(tmp_path)
    assert "\n" not in str(caught.value)


def test_other_images_are_refused(tmp_path: Path) -> None:
    with pytest.raises(AnnotateError, match=r"cannot read .*splits\.txt"):
        check_splits(tmp_path, _folder_data())
    write_run(tmp_path, {"settings": {"preset": "base"}}, _folder_data())
    renamed = {"train": {"z.jpg": "b" * 64, "b.jpg": "c" * 64}, "validation": {"c": "a" * 64}}
    check_splits(tmp_path, _folder_data(renamed))  # contents count, names do not
    moved = {"train": {"a.jpg": "b" * 64}, "validation": {"c.jpg": "a" * 64, "b.jpg": "c" * 64}}
    for other in ({"train": HASHES["train"]}, moved):
        with pytest.raises(AnnotateError, match="was trained on other images"):
            check_splits(tmp_path, _folder_data(other))
    (tmp_path / "splits.txt").write_bytes(b"\xff")
    with pytest.raises(AnnotateError, match=r"cannot read .*splits\.txt"):
        check_splits(tmp_path, _folder_data())


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"settings": null}', '{"settings": {}}', "\x00", "[" * 10**5]
)
def test_a_folder_without_a_run_is_a_one_line_error(text: str, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(AnnotateError, match="holds no training run") as caught:
        read_run(tmp_path)
    assert "\n" not in str(caught.value)


def test_lines_replace_a_file_whole(tmp_path: Path) -> None:
    path = tmp_path / "lines.txt"
    path.write_text("a much longer text than what comes now\n")
    write_lines(path, iter(["one", "two"]))
    assert path.read_bytes() == b"one\ntwo\n"
    write_lines(path, [])
    assert path.read_bytes() == b""
    assert [found.name for found in tmp_path.iterdir()] == ["lines.txt"]
