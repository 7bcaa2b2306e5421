"""Measuring point estimates: of calibrated probabilities, on the split of the model itself."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from annotate.heads import estimates

measure: Any = importlib.import_module("benchmarks.measure_estimates")


def test_every_point_estimate_is_of_calibrated_probabilities() -> None:
    raw = (np.array([[0.2, 0.1, 0.7]], np.float32), np.array([[0.5]], np.float32))
    # Squared and of sum 1: 0.04, 0.01 and 0.49 of 0.54.
    calibration = {"age_temperature": 0.5, "gender_temperature": 1.0}
    info = {"heads": {"age": {"kind": "distribution", "bins": 3}}, "calibration": calibration}
    found = dict(measure.point_estimates(raw, estimates(*raw, info), calibration))
    assert found["mean"] == pytest.approx((0.01 + 2 * 0.49) / 0.54)
    # Age 2 stands for 1.5 to 2.5 years; half of all, 0.27, is 0.22 of its 0.49 in.
    assert found["median"] == pytest.approx(1.5 + 0.22 / 0.49)
    assert found["mode"] == 2


def _run(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> str:
    """Run it where it cannot be done. Returns the line that it ends with."""
    monkeypatch.setattr(sys, "argv", ["measure_estimates.py", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        measure.main()
    assert isinstance(caught.value.code, str)  # which goes to stderr, with exit code 1
    assert caught.value.code.startswith("error: ")
    assert "\n" not in caught.value.code
    return caught.value.code


def test_a_model_that_it_is_not_about_is_one_line(
    monkeypatch: pytest.MonkeyPatch, copy: Path, tmp_path: Path
) -> None:
    said = _run(monkeypatch, tmp_path, "--model", copy)
    assert "the model fake gives one number for age" in said
    assert "no model 'nowhere'" in _run(monkeypatch, tmp_path, "--model", "nowhere")


def test_the_split_is_the_models_own(
    monkeypatch: pytest.MonkeyPatch, copy: Path, tmp_path: Path
) -> None:
    """Its seed and its limit are what the images are read by."""
    info = json.loads((copy / "model.json").read_text("utf-8"))
    info |= {
        "preset": "gray128",
        "data": {"split": {"seed": 7, "limit": 40, "validation_share": 0.2}},
    }
    info["heads"]["age"] = {"kind": "distribution", "bins": 117}
    model = type("Model", (), {"info": info, "name": "fake"})()
    (copy / "model.json").write_text(json.dumps(info), "utf-8")
    monkeypatch.setattr(measure, "load_model", lambda *names, **options: model)
    asked: dict[str, Any] = {}

    def load_parts(folder: Path, preset: Any, **options: Any) -> str:
        asked.update(options, preset=preset.name)
        return "the parts"

    monkeypatch.setattr(measure, "load_parts", load_parts)
    options = type("Options", (), {"data": tmp_path, "model": str(copy), "part": "test"})()
    assert measure.load(options) == (model, model, "the parts")
    parts = ("validation", "test")
    assert asked == {"preset": "gray128", "seed": 7, "limit": 40, "parts": parts}
