"""Small networks whose answers can be worked out by hand, as files for the engines."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from annotate.engines import import_keras

Faces = npt.NDArray[np.uint8]
Weights = dict[str, npt.NDArray[Any]]

FACES: Faces = np.random.default_rng(5).integers(0, 256, (60, 16, 16, 3), np.uint8)


def network(nodes: list[onnx.NodeProto], weights: Weights, images: int | str = "N") -> bytes:
    """An ONNX file from its operations. images: of its input and outputs, as the file claims."""
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [images, 1])
        for name in ("age", "gender")
    ]
    graph = helper.make_graph(
        [helper.make_node("Cast", ["pixels"], ["x"], to=TensorProto.FLOAT), *nodes],
        "drawn",
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, [images, 16, 16, 3])],
        ends,
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9, producer_name="tests"
    )
    data: bytes = model.SerializeToString()
    return data


def heads(values: str) -> list[onnx.NodeProto]:
    """age, and gender as a probability: (N, 1) of values from 0 to 255."""
    return [
        helper.make_node("Div", [values, "per_year"], ["age"]),
        helper.make_node("Div", [values, "white"], ["gender"]),
    ]


SCALES: Weights = {
    "per_year": np.array(2.55, np.float32),
    "white": np.array(255, np.float32),
}


def keras_network(layers: int, images: int | None) -> Any:
    """The brightest pixel, in so many equal channels, to age and gender: white is 100 and 1."""
    keras = import_keras()
    pixels = keras.Input((16, 16, 3), batch_size=images, dtype="uint8", name="pixels")
    x = keras.layers.Rescaling(1 / 255)(pixels)
    third = keras.initializers.Constant(1 / 3)
    x = keras.layers.Conv2D(layers, 1, activation="relu", kernel_initializer=third)(x)
    x = keras.layers.GlobalMaxPooling2D()(x)
    ages, shares = (keras.initializers.Constant(top / layers) for top in (100, 1))
    heads = {
        "age": keras.layers.Dense(1, name="age", kernel_initializer=ages)(x),
        "gender": keras.layers.Dense(1, name="gender", kernel_initializer=shares)(x),
    }
    return keras.Model(pixels, heads)
