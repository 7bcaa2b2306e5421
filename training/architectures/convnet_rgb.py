"""The RGB network that this project grew from: three convolutions and two dense layers.

34.8 million parameters (139 MB), nearly all of them in the first dense layer.
"""

from __future__ import annotations

import keras
from keras import layers


def build(input_shape: tuple[int | None, int | None, int]) -> keras.Model:
    """The network. input_shape: (200, 200, 3).

    Input uint8 RGB. Outputs: "age" (N, 1), years, linear; "gender" (N, 1), probability of
    `female`.
    """
    pixels = keras.Input(input_shape, dtype="uint8", name="pixels")
    x = layers.Rescaling(1 / 255, name="scale")(pixels)
    for filters in (32, 64, 128):
        x = layers.Conv2D(filters, 3, activation="relu")(x)
        x = layers.MaxPooling2D(2)(x)
    x = layers.Flatten()(x)
    x = layers.Dense(512, activation="relu")(x)
    x = layers.Dense(128, activation="relu")(x)
    gender = layers.Dense(1, activation="sigmoid", dtype="float32", name="gender")(x)
    age = layers.Dense(1, activation="linear", dtype="float32", name="age")(x)
    return keras.Model(pixels, {"age": age, "gender": gender}, name="rgb200")
