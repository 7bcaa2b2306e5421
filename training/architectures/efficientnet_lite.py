"""EfficientNet-Lite0 without its last convolution: mobile inverted bottlenecks, two heads.

About 100 million multiply-adds and 3.0 million parameters at 112 px. Works at any input size.
Source: Tan and Le 2019, without squeeze-and-excitation and with ReLU6, as its authors' Lite
variants are (https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import keras
from keras import layers

from training.architectures.normalization import batch_normalization


class Stage(NamedTuple):
    """Blocks of one shape. stride: of the first of them. expansion: how much they widen."""

    blocks: int
    kernel_px: int
    stride: int
    expansion: int
    filters: int


STEM_FILTERS = 32
STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)
AGES = 117
"""Classes of the age head: 0 to 116 years, the range of UTKFace's labels."""

DROPOUT = 0.2


def build(
    input_shape: tuple[int | None, int | None, int], block_dropout: float = 0.0
) -> keras.Model:
    """The network. input_shape: (S, S, 3), or (None, None, 3) to train at rising sizes.

    block_dropout: probability with which the last block is left out for an image in training;
    earlier ones are less often.
    Input uint8 RGB. Outputs: "age" (N, 117), probability of each age in years; "gender" (N, 1),
    probability of `female`.
    """
    return network(input_shape, STAGES, "efficientnet_lite", block_dropout)


def network(
    input_shape: tuple[int | None, int | None, int],
    stages: Sequence[Stage],
    name: str,
    block_dropout: float = 0.0,
) -> keras.Model:
    """A network of the given stages. training.pretrained finds layers by the names given here."""
    blocks = sum(stage.blocks for stage in stages)
    before = 0
    pixels = keras.Input(input_shape, dtype="uint8", name="pixels")
    x = layers.Rescaling(1 / 128, offset=-127 / 128, name="scale")(pixels)
    x = layers.Conv2D(STEM_FILTERS, 3, 2, padding="same", use_bias=False, name="stem")(x)
    x = layers.ReLU(6)(batch_normalization("stem_norm")(x))
    for number, stage in enumerate(stages, 1):
        for block in range(1, stage.blocks + 1):
            before += 1
            x = _bottleneck(
                x,
                stage,
                first=block == 1,
                dropout=block_dropout * before / blocks,
                name=f"stage{number}_block{block}",
            )
    x = layers.GlobalAveragePooling2D(name="features")(x)
    x = layers.Dropout(DROPOUT)(x)
    age = layers.Dense(AGES, activation="softmax", dtype="float32", name="age")(x)
    gender = layers.Dense(1, activation="sigmoid", dtype="float32", name="gender")(x)
    return keras.Model(pixels, {"age": age, "gender": gender}, name=name)


def _bottleneck(
    x: keras.KerasTensor, stage: Stage, *, first: bool, dropout: float, name: str
) -> keras.KerasTensor:
    """Widen, filter each channel, narrow; added to what came in where the shapes allow it.

    dropout: how often, in training, nothing is added (stochastic depth, Huang et al. 2016).
    """
    channels, stride = x.shape[-1], stage.stride if first else 1
    y = x
    if stage.expansion > 1:
        widened = channels * stage.expansion
        y = layers.Conv2D(widened, 1, use_bias=False, name=f"{name}_expand")(y)
        y = layers.ReLU(6)(batch_normalization(f"{name}_expand_norm")(y))
    y = layers.DepthwiseConv2D(
        stage.kernel_px, stride, padding="same", use_bias=False, name=f"{name}_depthwise"
    )(y)
    y = layers.ReLU(6)(batch_normalization(f"{name}_depthwise_norm")(y))
    y = layers.Conv2D(stage.filters, 1, use_bias=False, name=f"{name}_project")(y)
    y = batch_normalization(f"{name}_project_norm")(y)
    if stride == 1 and channels == stage.filters:
        if dropout > 0:
            y = layers.Dropout(dropout, noise_shape=(None, 1, 1, 1), name=f"{name}_left_out")(y)
        y = layers.Add(name=f"{name}_add")([x, y])
    return y
