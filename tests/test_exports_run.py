"""What `training export` writes of every network is taken by both engines and by the command."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from annotate.api import run
from annotate.engines import import_keras
from annotate.model import FILES, load_model
from tests.conftest import Invoke
from tests.model_folders import folder_of
from training.presets import PRESETS, RGB200

import_keras()

from training.architectures import ARCHITECTURES  # noqa: E402
from training.folding import fold  # noqa: E402
from training.onnx_files import write_onnx  # noqa: E402

SMALL_RGB_PX = 40
"""The same layers as at 200 px; converting 139 MB of weights takes 40 s and 8 GB of memory."""


def _exported(folder: Path, name: str, size_px: int, tmp_path: Path, *, onnx: bool = True) -> Path:
    """A model folder of a preset's network with its first, random weights."""
    network = fold(ARCHITECTURES[PRESETS[name].architecture]((size_px, size_px, 3)))
    network.save(tmp_path / FILES["keras"])
    if onnx:
        write_onnx(network, tmp_path / FILES["onnx"])
    files = {n: (tmp_path / n).read_bytes() for n in FILES.values() if (tmp_path / n).exists()}
    return folder_of(folder, files, size_px, PRESETS[name].age_bins)


ONE_OF_EACH_NETWORK = {preset.architecture: name for name, preset in PRESETS.items()}


@pytest.mark.parametrize("name", ONE_OF_EACH_NETWORK.values(), ids=list(ONE_OF_EACH_NETWORK))
def test_both_engines_and_the_command_run_it(
    name: str, tmp_path: Path, faces: Path, invoke: Invoke
) -> None:
    preset = PRESETS[name]
    size_px = SMALL_RGB_PX if preset is RGB200 else preset.size_px
    folder = _exported(tmp_path / "model", name, size_px, tmp_path)
    pixels = np.random.default_rng(7).integers(0, 256, (3, size_px, size_px, 3), np.uint8)
    onnx, keras = (load_model(folder, engine=e, device="cpu", batch_size=2) for e in FILES)
    first, second = onnx.predict(pixels), keras.predict(pixels)
    assert first.age == pytest.approx(second.age, abs=0.01)
    assert first.female_probability == pytest.approx(second.female_probability, abs=1e-4)

    for path in sorted(faces.iterdir())[3:]:
        path.unlink()
    out = tmp_path / "people.csv"
    options = ["--faces", "crop", "--workers", "1", "--engine", "onnx", "-o", str(out)]
    code, _, err = invoke("run", str(faces), "--model", str(folder), *options)
    assert code == 0, err
    assert out.read_text().count(",ok,") == 3


def test_the_largest_network_runs_as_it_is(tmp_path: Path, faces: Path) -> None:
    """34.8 million weights, with Keras, in batches of any size."""
    folder = _exported(tmp_path / "model", "rgb200", RGB200.size_px, tmp_path, onnx=False)
    for path in sorted(faces.iterdir())[3:]:
        path.unlink()
    model = load_model(folder, engine="keras", device="cpu", batch_size=1)
    assert model.size_px == 200
    assert run([str(faces)], faces="crop", model=model).status.tolist() == ["ok"] * 3


@pytest.mark.skipif("ANNOTATE_LARGE_EXPORT" not in os.environ, reason="takes 40 s and 8 GB")
def test_the_largest_network_runs_as_onnx(tmp_path: Path) -> None:
    folder = _exported(tmp_path / "model", "rgb200", RGB200.size_px, tmp_path)
    pixels = np.zeros((1, 200, 200, 3), np.uint8)
    first, second = (load_model(folder, engine=e, device="cpu").predict(pixels) for e in FILES)
    assert first.age == pytest.approx(second.age, abs=0.01)
