"""A small residual network: stem, four stages of two basic blocks, two heads.

About 180 million multiply-adds and 1.6 million parameters at 96 px. Works at any input size.
Source: He et al. 2015, the basic block; halving the sides while doubling the filters.
"""

from __future__ import annotations

import keras
from keras import layers

from training.architectures.normalization import batch_normalization

FILTERS = (24, 48, 96, 192)
BLOCKS_PER_STAGE = 2
AGES = 117
"""Classes of the age head: 0 to 116 years, the range of UTKFace's labels."""


def build(input_shape: tuple[int | None, int | None, int]) -> keras.Model:
    """The network. input_shape: (S, S, 3), or (None, None, 3) to train at rising sizes.

    Input uint8 RGB. Outputs: "age" (N, 117), probability of each age in years; "gender" (N, 1),
    probability of `female`.
    """
    pixels = keras.Input(input_shape, dtype="uint8", name="pixels")
    x = layers.Rescaling(1 / 127.5, offset=-1.0, name="scale")(pixels)
    x = _convolve(x, FILTERS[0], stride=2, activate=True)
    for stage, filters in enumerate(FILTERS):
        for block in range(BLOCKS_PER_STAGE):
            x = _basic_block(x, filters, stride=2 if stage and not block else 1)
    x = layers.GlobalAveragePooling2D(name="features")(x)
    x = layers.Dropout(0.2)(x)
    age = layers.Dense(AGES, activation="softmax", dtype="float32", name="age")(x)
    gender = layers.Dense(1, activation="sigmoid", dtype="float32", name="gender")(x)
    return keras.Model(pixels, {"age": age, "gender": gender}, name="residual")


def _basic_block(x: keras.KerasTensor, filters: int, stride: int) -> keras.KerasTensor:
    y = _convolve(x, filters, stride=stride, activate=True)
    y = _convolve(y, filters, stride=1, activate=False)
    if stride != 1 or x.shape[-1] != filters:
        x = _convolve(x, filters, stride=stride, activate=False, kernel_px=1)
    return layers.ReLU()(layers.Add()([x, y]))


def _convolve(
    x: keras.KerasTensor, filters: int, *, stride: int, activate: bool, kernel_px: int = 3
) -> keras.KerasTensor:
    x = layers.Conv2D(
        filters,
        kernel_px,
        stride,
        padding="same",
        use_bias=False,
        kernel_initializer="he_normal",
    )(x)
    x = batch_normalization()(x)
    return layers.ReLU()(x) if activate else x
