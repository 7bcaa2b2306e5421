"""Replacing: a new model folder takes the place of an old one, and of nothing else."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from annotate.errors import AnnotateError
from training.replacing import prepare, put


def _model(folder: Path, said: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("model.json", "model.onnx", "card.md"):
        (folder / name).write_text(said)
    return folder


def _found(folder: Path) -> dict[str, str]:
    """Every file below a folder."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_text() for path in files}


NEW = {f"model/{name}": "new" for name in ("model.json", "model.onnx", "card.md")}


def test_a_new_folder_and_one_that_replaces_another_leave_nothing_beside(tmp_path: Path) -> None:
    out = tmp_path / "model"
    put(_model(prepare(out, overwrite=False), "old"), out)
    with pytest.raises(AnnotateError, match="exists: pass --overwrite"):
        prepare(out, overwrite=False)
    building = prepare(out, overwrite=True)
    assert (out / "card.md").read_text() == "old"
    put(_model(building, "new"), out)
    assert _found(tmp_path) == NEW


def _make(out: Path, kind: str) -> None:
    if kind == "file":
        out.write_text("mine")
    elif kind == "link":
        out.symlink_to(_model(out.parent / "elsewhere", "mine"))
    elif kind == "photos":
        _model(out, "mine")
        (out / "holiday.jpg").write_text("mine")
    elif kind == "folders":
        (out / "models" / "base").mkdir(parents=True)
        (out / "model.json").write_text("mine")
    else:
        out.mkdir()
        (out / "card.md").write_text("mine")


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("file", "is no folder, and is not replaced"),
        ("link", "is no folder, and is not replaced"),
        ("photos", "is no model folder, and is not replaced: it holds 'holiday.jpg'"),
        ("folders", "is no model folder, and is not replaced: it holds 'models'"),
        ("card", r"is no model folder, and is not replaced: it has no model\.json"),
    ],
)
def test_nothing_but_a_model_folder_is_replaced(kind: str, said: str, tmp_path: Path) -> None:
    out, building = tmp_path / "out", tmp_path / ".out.tmp"
    _make(out, kind)
    before = _found(tmp_path)
    with pytest.raises(AnnotateError, match=said) as caught:
        prepare(out, overwrite=True)
    assert "\n" not in str(caught.value)
    # Nor where it comes while the new one is made.
    with pytest.raises(AnnotateError, match=said):
        put(_model(building, "new"), out)
    shutil.rmtree(building)
    assert _found(tmp_path) == before


def test_a_place_that_no_folder_can_have_is_a_one_line_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(AnnotateError, match=r"cannot write .*file/model: ") as caught:
        prepare(tmp_path / "file" / "model", overwrite=False)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("step", [1, 2, 3])
def test_a_crash_at_any_step_leaves_the_old_or_the_new_model(
    step: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old one aside, the new one in its place, the old one deleted: each may be the last."""
    out = _model(tmp_path / "model", "old")
    building = _model(prepare(out, overwrite=True), "new")
    left = [step]

    def until_the_crash(real: Any) -> Any:
        def limited(*arguments: Any, **options: Any) -> Any:
            left[0] -= 1
            if not left[0]:
                raise KeyboardInterrupt  # no handler of errors sees it, as of a crash
            return real(*arguments, **options)

        return limited

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", until_the_crash(os.replace))
        patch.setattr(shutil, "rmtree", until_the_crash(shutil.rmtree))
        with pytest.raises(KeyboardInterrupt):
            put(building, out)
    with pytest.raises(AnnotateError, match="exists: pass --overwrite"):
        prepare(out, overwrite=False)
    assert (out / "card.md").read_text() == ("new" if step == 3 else "old")
    # The next one ends well, and clears away what the crash left.
    put(_model(prepare(out, overwrite=True), "new"), out)
    assert _found(tmp_path) == NEW


def test_an_error_puts_the_old_model_back_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = _model(tmp_path / "model", "old")
    building = _model(prepare(out, overwrite=True), "new")
    real = os.replace

    def replace(old: Path, new: Path) -> None:
        if old == building:
            raise OSError(28, os.strerror(28))
        real(old, new)

    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(AnnotateError, match=r"cannot write .*: No space left"):
        put(building, out)
    assert (out / "card.md").read_text() == "old"
