"""Architectures: what each network is made of, counted by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from annotate.engines import OUTPUTS, KerasEngine, import_keras
from training.presets import BASE, GRAY128, PRESETS, RGB200

keras = import_keras()

from training.architectures import ARCHITECTURES, efficientnet_lite  # noqa: E402
from training.fit import build_model  # noqa: E402
from training.folding import fold  # noqa: E402

AGES = 117


def test_the_rgb_network_is_the_one_described() -> None:
    network = build_model(RGB200, fixed_size=True)
    assert network.input_shape == (None, 200, 200, 3)
    assert _layers(network) == [
        ("Conv2D", 32, (3, 3), "relu"),
        ("MaxPooling2D", (2, 2)),
        ("Conv2D", 64, (3, 3), "relu"),
        ("MaxPooling2D", (2, 2)),
        ("Conv2D", 128, (3, 3), "relu"),
        ("MaxPooling2D", (2, 2)),
        ("Flatten",),
        ("Dense", 512, "relu"),
        ("Dense", 128, "relu"),
        ("Dense", 1, "linear"),
        ("Dense", 1, "sigmoid"),
    ]
    # Sides 200 -> 198 -> 99 -> 97 -> 48 -> 46 -> 23.
    convolutions = (27 + 1) * 32 + (288 + 1) * 64 + (576 + 1) * 128
    dense = (23 * 23 * 128 + 1) * 512 + (512 + 1) * 128 + 2 * (128 + 1)
    assert network.count_params() == convolutions + dense == 34_828_226


def test_the_gray_network_is_the_one_described() -> None:
    network = build_model(GRAY128, fixed_size=True)
    assert network.input_shape == (None, 128, 128, 3)
    convolutions = [
        layer
        for filters in (32, 64, 128, 256)
        for layer in (("Conv2D", filters, (3, 3), "relu"), ("MaxPooling2D", (2, 2)))
    ]
    layers = _layers(network)
    assert layers[0] == ("Conv2D", 1, (1, 1), "linear")  # graying, which is not trained
    assert layers[1:10] == [*convolutions, ("Flatten",)]
    assert sorted(layers[10:]) == sorted(
        [("Dense", 256, "relu"), ("Dropout", 0.3)] * 2
        + [("Dense", 1, "linear"), ("Dense", 1, "sigmoid")]
    )
    # Sides 128 -> 126 -> 63 -> 61 -> 30 -> 28 -> 14 -> 12 -> 6.
    weights = (9 + 1) * 32 + (288 + 1) * 64 + (576 + 1) * 128 + (1152 + 1) * 256
    weights += 2 * (6 * 6 * 256 + 1) * 256 + 2 * (256 + 1)
    assert network.count_params() == weights + 3 == 5_107_461
    assert sum(int(np.prod(v.shape)) for v in network.trainable_weights) == weights
    assert (GRAY128.epochs, GRAY128.validation_share, GRAY128.optimizer) == (30, 0.2, "adam")
    assert GRAY128.age_loss == "mean_absolute_error"


def test_the_gray_network_sees_brightness_from_0_to_1() -> None:
    network = build_model(GRAY128, fixed_size=True)
    gray = keras.Model(network.inputs, network.get_layer("luma").output)
    pixels = np.zeros((3, 128, 128, 3), np.uint8)
    pixels[0, ..., 0] = 255
    pixels[1, ..., 1] = 255
    pixels[2] = 255
    seen = np.asarray(gray.predict_on_batch(pixels))
    assert seen.shape == (3, 128, 128, 1)
    assert seen[:, 5, 5, 0] == pytest.approx([0.299, 0.587, 1.0], abs=1e-5)


def _layers(network: object) -> list[tuple[object, ...]]:
    """What matters of each layer, without the input and scaling."""
    found: list[tuple[object, ...]] = []
    for layer in network.layers:  # type: ignore[attr-defined]
        kind = type(layer).__name__
        config = layer.get_config()
        if kind == "Conv2D":
            size = tuple(config["kernel_size"])
            found.append((kind, config["filters"], size, config["activation"]))
        elif kind == "Dense":
            found.append((kind, config["units"], config["activation"]))
        elif kind == "MaxPooling2D":
            found.append((kind, tuple(config["pool_size"])))
        elif kind == "Dropout":
            found.append((kind, config["rate"]))
        elif kind not in ("InputLayer", "Rescaling"):
            found.append((kind,))
    return found


@pytest.fixture(scope="module")
def lite() -> Any:
    return ARCHITECTURES["efficientnet_lite"]((None, None, 3))


@pytest.fixture(scope="module")
def nano() -> Any:
    return ARCHITECTURES["efficientnet_lite_nano"]((None, None, 3))


def test_a_network_takes_any_size_in_training_and_one_in_use() -> None:
    free, fixed = build_model(BASE, fixed_size=False), build_model(BASE, fixed_size=True)
    assert free.input_shape == (None, None, None, 3)
    assert fixed.input_shape == (None, 144, 144, 3)
    assert free.count_params() == fixed.count_params()


PUBLISHED = (
    # (blocks, kernel, expansion, filters) of the paper's table, for the stages after the stem.
    (1, 3, 1, 16),
    (2, 3, 6, 24),
    (2, 5, 6, 40),
    (3, 3, 6, 80),
    (3, 5, 6, 112),
    (4, 5, 6, 192),
    (1, 3, 6, 320),
)

FRONT = (*PUBLISHED[:3], (2, 3, 6, 80), (2, 5, 6, 112), (1, 5, 6, 192))
"""What `nano` keeps of it."""


def _bottlenecks(stages: tuple[tuple[int, int, int, int], ...]) -> int:
    """Parameters of a stem of 32 filters, the stages and the heads; four a normalised channel."""
    total, channels = 3 * 3 * 3 * 32 + 4 * 32, 32
    for blocks, kernel, expansion, filters in stages:
        for _ in range(blocks):
            widened = channels * expansion
            if expansion > 1:
                total += channels * widened + 4 * widened
            total += kernel * kernel * widened + 4 * widened
            total += widened * filters + 4 * filters
            channels = filters
    return total + (channels + 1) * (AGES + 1)


def test_the_parameters_of_the_lite_networks_are_those_of_the_paper(lite: Any, nano: Any) -> None:
    assert lite.count_params() == _bottlenecks(PUBLISHED) == 3_036_182
    assert nano.count_params() == _bottlenecks(FRONT) == 708_502
    assert [tuple(stage)[:2] + tuple(stage)[3:] for stage in efficientnet_lite.STAGES] == list(
        PUBLISHED
    )


def test_blocks_add_what_came_in_where_shapes_allow(lite: Any, nano: Any) -> None:
    def added(network: Any) -> list[str]:
        return [layer.name for layer in network.layers if type(layer).__name__ == "Add"]

    # All blocks but the first of their stage.
    stages = (2, 2), (3, 2), (4, 3), (5, 3), (6, 4)
    names = [f"stage{n}_block{block}_add" for n, last in stages for block in range(2, last + 1)]
    assert added(lite) == names
    assert added(nano) == [f"stage{number}_block2_add" for number in (2, 3, 4, 5)]


def test_whole_blocks_are_left_out_in_training_alone() -> None:
    network = ARCHITECTURES["efficientnet_lite"]((32, 32, 3), block_dropout=0.8)
    # The blocks are counted from 1 to 16; the rates rise evenly to that of the last.
    blocks = {"stage2_block2": 3, "stage3_block2": 5, "stage4_block2": 7, "stage4_block3": 8}
    blocks |= {"stage5_block2": 10, "stage5_block3": 11}
    blocks |= {"stage6_block2": 13, "stage6_block3": 14, "stage6_block4": 15}
    for name, number in blocks.items():
        assert network.get_layer(f"{name}_left_out").rate == pytest.approx(0.8 * number / 16)
    left_out = network.get_layer("stage6_block2_left_out")
    inner = np.ones((200, 2, 2, 3), np.float32)
    kept = np.asarray(left_out(inner, training=True))
    # An image has all of the block or nothing, and what it has is larger for that: 1 / (1 - 0.65).
    assert {(image.min(), image.max()) for image in kept.round(3)} == {
        (np.float32(0), np.float32(0)),
        (np.float32(2.857), np.float32(2.857)),
    }
    assert 0.2 < (kept > 0).mean() < 0.5
    assert np.array_equal(np.asarray(left_out(inner, training=False)), inner)


def test_what_only_training_needs_is_not_exported() -> None:
    network = ARCHITECTURES["efficientnet_lite_nano"]((32, 32, 3), block_dropout=0.5)
    folded = fold(network)
    kinds = {type(layer).__name__ for layer in folded.layers}
    assert kinds == {type(layer).__name__ for layer in network.layers} - {
        "BatchNormalization",
        "Dropout",
    }
    pixels = np.random.default_rng(3).integers(0, 256, (4, 32, 32, 3), np.uint8)
    expected, found = (n(pixels, training=False) for n in (network, folded))
    for head in ("age", "gender"):
        assert np.asarray(found[head]) == pytest.approx(np.asarray(expected[head]), abs=1e-3)


def test_sides_are_halved_five_times(lite: Any) -> None:
    # By the stem and by stages 2, 3, 4 and 6; 112 px leave 4 x 4 after rounding up.
    last = lite.get_layer("stage7_block1_project")
    shape = keras.Model(lite.input, last.output).compute_output_shape((1, 112, 112, 3))
    assert tuple(shape) == (1, 4, 4, 320)
    strides = {
        layer.name: layer.strides[0]
        for layer in lite.layers
        if hasattr(layer, "strides") and layer.strides[0] != 1
    }
    assert strides == {"stem": 2} | {f"stage{n}_block1_depthwise": 2 for n in (2, 3, 4, 6)}


def test_pixels_are_centred_and_activations_end_at_six(lite: Any) -> None:
    scale = keras.Model(lite.input, lite.get_layer("scale").output)
    seen = np.asarray(scale(np.array([[[[0, 127, 255]]]], np.uint8)))
    assert seen.ravel().tolist() == [-127 / 128, 0.0, 1.0]
    ends = {layer.max_value for layer in lite.layers if type(layer).__name__ == "ReLU"}
    assert ends == {6.0}


@pytest.mark.parametrize("side", [8, 33, 64])
def test_pictures_of_any_size_give_an_age_and_a_gender(nano: Any, side: int) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (3, side, side, 3), np.uint8)
    found = nano(pixels, training=False)
    age, gender = (np.asarray(found[head]) for head in ("age", "gender"))
    assert (age.shape, gender.shape) == ((3, AGES), (3, 1))
    assert age.sum(axis=1) == pytest.approx(np.ones(3), abs=1e-5)
    assert ((gender > 0) & (gender < 1)).all()


def test_what_is_frozen_is_a_layer_and_outputs_are_those_of_the_preset() -> None:
    for preset in PRESETS.values():
        network = build_model(preset, fixed_size=True)
        names = [layer.name for layer in network.layers]
        assert preset.frozen_up_to is None or preset.frozen_up_to in names
        side = preset.size_px
        assert network.input_shape == (None, side, side, 3)
        shapes = {head: tuple(values.shape) for head, values in network.output.items()}
        assert shapes == {"age": (None, preset.age_bins or 1), "gender": (None, 1)}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_network_can_be_exported_and_loaded(name: str, tmp_path: Path) -> None:
    """It is made of layers that the engine takes from strangers, and of nothing else."""
    path = tmp_path / "model.keras"
    network = ARCHITECTURES[name]((48, 48, 3))
    network.save(path)
    engine = KerasEngine(path, path.read_bytes(), "cpu", "a processor")
    assert engine.input_shape == (None, 48, 48, 3)
    assert engine.output_widths == tuple(network.output[head].shape[-1] for head in OUTPUTS)
    assert [layer.name for layer in engine.model.layers] == [layer.name for layer in network.layers]
    for found, expected in zip(engine.model.get_weights(), network.get_weights(), strict=True):
        assert np.array_equal(found, expected)
