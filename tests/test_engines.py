"""Engines: which one runs, on what, and what its import does not do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from annotate import engines
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
