"""Unfolding: an exported model goes on as the function that it was, with its statistics found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from annotate.engines import import_keras
from annotate.errors import AnnotateError
from annotate.model import FILES
from tests.model_folders import folder_of

keras = import_keras()

from keras import layers  # noqa: E402

from training.folding import fold, normalizations  # noqa: E402
from training.unfolding import load_exported  # noqa: E402

SIDE = 16
AGES = 5


def _network(filters: int = 6) -> Any:
    """Each kind of layer that folding knows, and a normalisation after each kind of convolution."""
    pixels = keras.Input((SIDE, SIDE, 3), dtype="uint8", name="pixels")
    x = layers.Rescaling(1 / 255, name="scale")(pixels)
    x = layers.Conv2D(filters, 3, use_bias=False, name="first")(x)
    x = layers.ReLU(6)(layers.BatchNormalization(name="first_norm")(x))
    x = layers.DepthwiseConv2D(3, use_bias=False, name="second")(x)
    x = layers.ReLU(6)(layers.BatchNormalization(name="second_norm")(x))
    x = layers.Conv2D(4, 1, name="third")(x)
    x = layers.BatchNormalization(name="third_norm")(x)
    x = layers.GlobalAveragePooling2D(name="features")(x)
    age = layers.Dense(AGES, activation="softmax", name="age")(x)
    gender = layers.Dense(1, activation="sigmoid", name="gender")(x)
    return keras.Model(pixels, {"age": age, "gender": gender})


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    rng = np.random.default_rng(4)
    return (rng.random((64, SIDE, SIDE, 3)) * rng.integers(1, 256, (64, 1, 1, 3))).astype(np.uint8)


def _trained(seed: int) -> Any:
    """A network whose normalisations are far from what they begin as."""
    keras.utils.set_random_seed(seed)
    rng = np.random.default_rng(seed)
    network = _network()
    for norm in normalizations(network):
        shape = norm.gamma.shape
        gamma, beta = rng.uniform(-2, 2, shape), rng.normal(0, 1, shape)
        norm.set_weights([gamma, beta, rng.normal(0, 0.3, shape), rng.uniform(0.05, 2, shape)])
    return network


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of such a network, folded."""
    where = tmp_path_factory.mktemp("unfolding")
    fold(_trained(1)).save(where / FILES["keras"])
    files = {FILES["keras"]: (where / FILES["keras"]).read_bytes()}
    return folder_of(where / "model", files, SIDE, AGES)


def test_it_goes_on_as_the_function_that_was_exported(exported: Path, pixels: np.ndarray) -> None:
    network = _trained(2)
    load_exported(network, str(exported), pixels)
    folded = keras.saving.load_model(exported / FILES["keras"])
    expected, found = (n.predict(pixels, verbose=0) for n in (folded, network))
    for head in ("age", "gender"):
        assert found[head] == pytest.approx(expected[head], abs=1e-5)


def test_where_it_trains_its_normalisations_meet_the_statistics_that_they_have(
    exported: Path, pixels: np.ndarray
) -> None:
    """Then the batch's own mean and variance, which training goes by, change nothing."""
    network = _trained(2)
    load_exported(network, str(exported), pixels)
    at_use = network(pixels, training=False)
    at_training = network(pixels, training=True)
    for head in ("age", "gender"):
        assert np.asarray(at_training[head]) == pytest.approx(np.asarray(at_use[head]), abs=1e-3)
    for norm in normalizations(network):
        before = norm.get_weights()[2]
        watched = keras.Model(network.input, norm.input)(pixels)
        mean = np.asarray(watched).mean(axis=(0, 1, 2))
        assert before == pytest.approx(mean, abs=1e-4)


def test_filters_have_unit_length(exported: Path, pixels: np.ndarray) -> None:
    network = _trained(2)
    load_exported(network, str(exported), pixels)
    for name, axes in (("first", (0, 1, 2)), ("second", (0, 1, 3)), ("third", (0, 1, 2))):
        kernel = network.get_layer(name).get_weights()[0]
        assert np.sqrt(np.square(kernel).sum(axis=axes)) == pytest.approx(1, abs=1e-5)


def test_a_filter_of_nothing_stays_one(tmp_path: Path, pixels: np.ndarray) -> None:
    network = _trained(3)
    second = network.get_layer("second")
    (kernel,) = second.get_weights()
    kernel[:, :, 0] = 0
    second.set_weights([kernel])
    fold(network).save(tmp_path / FILES["keras"])
    files = {FILES["keras"]: (tmp_path / FILES["keras"]).read_bytes()}
    folder = folder_of(tmp_path / "model", files, SIDE, AGES)
    again = _trained(2)
    load_exported(again, str(folder), pixels)
    expected = keras.saving.load_model(folder / FILES["keras"]).predict(pixels, verbose=0)
    assert again.predict(pixels, verbose=0)["age"] == pytest.approx(expected["age"], abs=1e-5)


def test_a_model_of_another_network_is_a_one_line_error(exported: Path, pixels: np.ndarray) -> None:
    with pytest.raises(AnnotateError, match="is of another network") as caught:
        load_exported(_network(filters=7), str(exported), pixels)
    assert "\n" not in str(caught.value)
