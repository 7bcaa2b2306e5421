"""Engines: which one runs, on what, and what its import does not do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from annotate import engines
from annotate.engines import OnnxEngine
from annotate.errors import AnnotateError
from annotate.model import load_model
from tests.conftest import ROOT
from tests.model_folders import assert_refused


def test_impossible_wishes_are_errors(fake_model_folder: Path) -> None:
    assert_refused(fake_model_folder, "use --engine keras", engine="onnx", device="gpu")
    assert_refused(fake_model_folder, "unknown engine 'tpu'", engine="tpu")
    assert_refused(fake_model_folder, "unknown device 'tpu'", device="tpu")
    assert_refused(fake_model_folder, "has no model.keras", engine="keras", device="cpu")
    with pytest.raises(ValueError, match="1 or more"):
        load_model(fake_model_folder, batch_size=0)


def test_the_choice_of_engine_and_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "cpu_name", lambda: "a CPU")
    monkeypatch.setattr(engines, "may_have_gpu", lambda: False)
    monkeypatch.setattr(engines, "usable_gpu", lambda: pytest.fail("needless"))
    assert engines.choose("auto", "auto") == ("onnx", "cpu", "a CPU", None)
    assert engines.choose("auto", "cpu") == ("onnx", "cpu", "a CPU", None)
    assert engines.choose("keras", "auto") == ("keras", "cpu", "a CPU", None)
    monkeypatch.setattr(engines, "may_have_gpu", lambda: True)
    assert engines.choose("onnx", "auto") == ("onnx", "cpu", "a CPU", None)
    monkeypatch.setattr(engines, "usable_gpu", lambda: ("a GPU", ""))
    assert engines.choose("auto", "auto") == ("keras", "gpu", "a GPU", None)
    assert engines.choose("auto", "gpu") == ("keras", "gpu", "a GPU", None)
    monkeypatch.setattr(engines, "usable_gpu", lambda: (None, "no driver"))
    engine, device, _, remark = engines.choose("auto", "auto")
    assert (engine, device) == ("onnx", "cpu")
    assert remark is not None
    assert "no driver" in remark
    with pytest.raises(AnnotateError, match="--device gpu: no usable GPU, no driver"):
        engines.choose("auto", "gpu")


def test_a_model_says_why_no_gpu_runs_it(
    monkeypatch: pytest.MonkeyPatch, fake_model_folder: Path
) -> None:
    monkeypatch.setattr(engines, "may_have_gpu", lambda: True)
    monkeypatch.setattr(engines, "usable_gpu", lambda: (None, "no driver"))
    (remark,) = load_model(fake_model_folder).remarks
    assert remark == "the machine seems to have a GPU, but it is not used: no driver"


def test_a_hidden_gpu_is_not_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert not engines.may_have_gpu()


def test_cpu_use_never_imports_tensorflow(fake_model_folder: Path) -> None:
    code = (
        "import sys, annotate.model as m\n"
        "heavy = {'tensorflow', 'keras', 'pandas', 'onnxruntime', 'onnx'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
        "m.load_model(sys.argv[1], device='cpu')\n"
        "assert not {'tensorflow', 'keras'} & set(sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(fake_model_folder)], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_keras_is_quiet_and_leaves_nothing_in_the_users_home(tmp_path: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "KERAS_HOME"}
    code = "from annotate.engines import import_keras; print(import_keras().__name__)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={
            **environment,
            "HOME": str(tmp_path),
            "USERPROFILE": str(tmp_path),
            "PYTHONPATH": str(ROOT),
        },
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "keras\n", "")
    assert not (tmp_path / ".keras").exists()


@pytest.mark.parametrize(("batch_size", "threads"), [(64, 2), (47, 3), (33, 2), (16, 4), (1, 2)])
def test_a_batch_that_threads_share_gives_what_one_thread_gives(
    batch_size: int, threads: int
) -> None:
    """Each part in its place, also where a batch cannot be cut into equal ones."""
    shared = load_model("nano", engine="onnx", batch_size=batch_size, threads=threads)
    alone = load_model("nano", engine="onnx", batch_size=batch_size, threads=1)
    side = shared.size_px
    shades = np.random.default_rng(6).integers(0, 256, (70, 4, 4, 3), np.uint8)
    faces = shades.repeat(side // 4, axis=1).repeat(side // 4, axis=2)
    for one, other in zip(shared.predict_raw(faces), alone.predict_raw(faces), strict=True):
        assert one == pytest.approx(other, abs=1e-5)
        # Else an exchange of faces would not be seen.
        assert len(np.unique(one[:, 0])) == len(faces)


def test_a_part_that_fails_fails_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    model = load_model("nano", engine="onnx", threads=2)
    engine = model._batches.engine
    assert isinstance(engine, OnnxEngine)
    whole = engine._run_part

    def fails_on_white(pixels: np.ndarray) -> Any:
        if pixels.max() == 255:
            raise RuntimeError("a white face")
        return whole(pixels)

    monkeypatch.setattr(engine, "_run_part", fails_on_white)
    faces = np.zeros((64, model.size_px, model.size_px, 3), np.uint8)
    assert len(model.predict(faces)) == 64
    faces[63] = 255
    with pytest.raises(AnnotateError, match="a white face"):
        model.predict(faces)
