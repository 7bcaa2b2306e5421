"""The grayscale network that this project grew from: four convolutions, a branch for each head.

Graying and scaling to [0, 1] are its first layers, so that it takes the same pixels as every
other network.
"""

from __future__ import annotations

import keras
import numpy as np
from keras import layers

from annotate.images import LUMA

DROPOUT = 0.3
"""Share of dense units dropped in each branch; the recipe names dropout but no rate."""


def build(input_shape: tuple[int | None, int | None, int]) -> keras.Model:
    """The network. input_shape: (128, 128, 3).

    Input uint8 RGB, grayed in the graph. Outputs: "age" (N, 1), years; "gender" (N, 1),
    probability of `female`.
    """
    pixels = keras.Input(input_shape, dtype="uint8", name="pixels")
    x = layers.Rescaling(1 / 255, name="scale")(pixels)
    luma = layers.Conv2D(1, 1, use_bias=False, trainable=False, name="luma")
    x = luma(x)
    luma.set_weights([np.asarray(LUMA, np.float32).reshape(1, 1, 3, 1)])
    for filters in (32, 64, 128, 256):
        x = layers.Conv2D(filters, 3, activation="relu")(x)
        x = layers.MaxPooling2D(2)(x)
    x = layers.Flatten()(x)
    gender_branch = layers.Dropout(DROPOUT)(layers.Dense(256, activation="relu")(x))
    age_branch = layers.Dropout(DROPOUT)(layers.Dense(256, activation="relu")(x))
    gender = layers.Dense(1, activation="sigmoid", dtype="float32", name="gender")(gender_branch)
    # The recipe gives no activation; ReLU keeps ages at 0 years or more but can die at the
    # start, so the output is linear and negative ages are cut to 0 after the network.
    age = layers.Dense(1, activation="linear", dtype="float32", name="age")(age_branch)
    return keras.Model(pixels, {"age": age, "gender": gender}, name="gray128")
