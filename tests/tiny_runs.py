"""Training runs on drawn faces, made small: presets, networks, fixtures."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from annotate.engines import import_keras
from training.presets import BASE, PRESETS, RGB200, Preset

import_keras()

TINY = dataclasses.replace(
    BASE,
    name="tiny",
    architecture="drawn",
    size_px=32,
    kept_px=36,
    sizes=((1, 24), (2, 32)),
    epochs=2,
    batch_size=32,
    pretrained=None,
    frozen_up_to=None,
    photographs=False,
)
TINY_AVERAGED = dataclasses.replace(TINY, name="tiny_averaged", start="tiny", start_share=0.25)
TINY_LINEAR = dataclasses.replace(
    RGB200,
    name="tiny_linear",
    architecture="drawn_linear",
    size_px=32,
    epochs=1,
    batch_size=32,
    patience=1,
)


def _network(input_shape: tuple[int | None, int | None, int], ages: int | None = 117) -> Any:
    """The kinds of layers that `base` has, few of them, so that tests are quick."""
    keras = import_keras()
    layers = keras.layers
    pixels = keras.Input(input_shape, dtype="uint8", name="pixels")
    x = layers.Rescaling(1 / 127.5, offset=-1.0)(pixels)
    x = layers.Conv2D(8, 3, 2, padding="same", use_bias=False, name="first")(x)
    x = layers.BatchNormalization(momentum=0.5, name="first_norm")(x)
    y = layers.Conv2D(8, 3, padding="same", name="second")(x)
    x = layers.ReLU()(layers.Add()([x, y]))
    x = layers.Dropout(0.2)(layers.GlobalAveragePooling2D()(x))
    kind = "linear" if ages is None else "softmax"
    age = layers.Dense(ages or 1, activation=kind, name="age")(x)
    gender = layers.Dense(1, activation="sigmoid", name="gender")(x)
    return keras.Model(pixels, {"age": age, "gender": gender})


def _linear_network(input_shape: tuple[int | None, int | None, int]) -> Any:
    return _network(input_shape, ages=None)


@pytest.fixture(scope="module", autouse=True)
def tiny_presets() -> Iterator[None]:
    """The tiny presets and their networks are known in a module that imports this."""
    from training.architectures import ARCHITECTURES

    with pytest.MonkeyPatch.context() as patch:
        for preset in (TINY, TINY_AVERAGED, TINY_LINEAR):
            patch.setitem(PRESETS, preset.name, preset)
        patch.setitem(ARCHITECTURES, "drawn", _network)
        patch.setitem(ARCHITECTURES, "drawn_linear", _linear_network)
        yield


@pytest.fixture(scope="module", name="drawn")
def drawn_faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """100 drawn "faces" with UTKFace names: brighter is older, redder is female."""
    folder = tmp_path_factory.mktemp("drawn") / "utkface"
    folder.mkdir()
    rng = np.random.default_rng(5)
    for index in range(100):
        age, gender = index, index % 2
        pixels = rng.integers(0, 60, (8, 8, 3)) + age
        pixels[..., 0] += 90 * gender
        image = Image.fromarray(pixels.astype(np.uint8)).resize((40, 40))
        image.save(folder / f"{age}_{gender}_{index % 5}_{index:04d}.jpg", quality=90)
    return folder


def fit_tiny(preset: Preset, data: Path, out: Path, **options: Any) -> dict[str, float]:
    from training.fit import fit
    from training.material import Sources

    return fit(preset, Sources(data), out, progress=False, **options)


@pytest.fixture(scope="module", name="run")
def trained_run(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training run of two epochs at rising size."""
    out = tmp_path_factory.mktemp("runs") / "tiny"
    best = fit_tiny(TINY, drawn, out)
    assert best["epoch"] in (1.0, 2.0)
    return out
