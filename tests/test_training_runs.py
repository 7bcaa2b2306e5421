"""Runs: what fit leaves, how it goes on, and what it does not go on with."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from annotate.engines import import_keras
from annotate.errors import AnnotateError
from tests.tiny_runs import TINY, TINY_LINEAR, drawn_faces, fit_tiny, tiny_presets, trained_run  # noqa: F401 - fixtures
from training import history

import_keras()


def test_a_run_leaves_what_it_promises(run: Path) -> None:
    rows = history.read(run / "history.csv")
    assert [row["epoch"] for row in rows] == [1.0, 2.0]
    assert {"loss", "val_loss", "age_mae", "val_age_mae", "gender_accuracy", "seconds"} <= set(
        rows[0]
    )
    with Image.open(run / "history.png") as picture:
        assert picture.format == "PNG"
    said = json.loads((run / "run.json").read_text("utf-8"))
    assert sum(said["images"].values()) == 100
    assert len((run / "splits.txt").read_text("ascii").splitlines()) == 100


def test_a_resumed_run_equals_an_uninterrupted_one(drawn: Path, run: Path, tmp_path: Path) -> None:
    fit_tiny(TINY, drawn, tmp_path / "cut", epochs=1)
    fit_tiny(TINY, drawn, tmp_path / "cut", resume=True)
    with np.load(run / "checkpoint.npz") as whole, np.load(tmp_path / "cut/checkpoint.npz") as cut:
        assert set(whole.files) == set(cut.files)
        for name in whole.files:
            # Threads add in any order, so the last bits of the weights may differ.
            np.testing.assert_allclose(whole[name], cut[name], atol=1e-4, rtol=1e-3, err_msg=name)
    one, other = (history.read(folder / "history.csv") for folder in (run, tmp_path / "cut"))
    assert [row["val_loss"] for row in one] == pytest.approx(
        [row["val_loss"] for row in other], rel=1e-3
    )
    rows = (tmp_path / "cut/history.csv").read_bytes()
    fit_tiny(TINY, drawn, tmp_path / "cut", resume=True)  # nothing is left to do
    assert (tmp_path / "cut/history.csv").read_bytes() == rows


def test_a_run_is_not_mixed_with_another(drawn: Path, run: Path, tmp_path: Path) -> None:
    with pytest.raises(AnnotateError, match="holds a training run: use --resume"):
        fit_tiny(TINY, drawn, run)
    with pytest.raises(AnnotateError, match="was started with"):
        fit_tiny(TINY_LINEAR, drawn, run, resume=True)
    with pytest.raises(AnnotateError, match="holds no training run"):
        fit_tiny(TINY, drawn, tmp_path / "none", resume=True)
    with pytest.raises(AnnotateError, match="expected 1 to 2"):
        fit_tiny(TINY, drawn, tmp_path / "none", epochs=3)
    fewer = Path(shutil.copytree(drawn, tmp_path / "fewer"))
    next(fewer.iterdir()).unlink()
    with pytest.raises(AnnotateError, match="trained on other images"):
        fit_tiny(TINY, fewer, run, resume=True)


def test_damaged_and_foreign_weights_are_one_line_errors(run: Path, tmp_path: Path) -> None:
    from training.fit import build_model
    from training.keeper import load_best

    (tmp_path / "best.npz").write_bytes((run / "best.npz").read_bytes()[:1000])
    with pytest.raises(AnnotateError, match="cannot read"):
        load_best(build_model(TINY, fixed_size=True), tmp_path)
    with pytest.raises(AnnotateError, match="does not fit this preset"):
        load_best(build_model(TINY_LINEAR, fixed_size=True), run)
