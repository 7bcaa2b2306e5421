"""The RGB network that this project grew from: three convolutions and two dense layers.

34.8 million parameters (139 MB), nearly all of them in the first dense layer.
"""

from __future__ import annotations

import keras
from keras import layers

MEAN_AGE = 33.0
AGE_SPREAD = 20.0
"""Years, of UTKFace's labels: the last layer says how many spreads from the mean a face is.

It is linear in years all the same. But an optimiser whose steps are of one size takes thousands of
them to 33 years, and then each step moves all ages at once.
"""


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
    age = layers.Dense(1, activation="linear", dtype="float32", name="standard_age")(x)
    age = layers.Rescaling(AGE_SPREAD, offset=MEAN_AGE, dtype="float32", name="age")(age)
    return keras.Model(pixels, {"age": age, "gender": gender}, name="rgb200")
