"""ONNX files: a network in, a file for ONNX Runtime out, its weights stored in half the bytes."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SMALLEST = 1024
"""Values; smaller arrays stay as they are: they weigh nothing, and biases matter more."""


def write_onnx(network: Any, path: Path) -> None:
    """Write a Keras network, with a free number of images and a fixed size.

    Weights are stored as float16 and cast to float32 when the file is loaded, so inference is in
    float32. Needs Keras on the TensorFlow backend.
    """
    size_px = network.input_shape[1]
    network(np.zeros((1, size_px, size_px, 3), np.uint8))  # Keras exports what was called once
    with warnings.catch_warnings():
        # Keras 3.15 mends NumPy for tf2onnx in a way that NumPy warns of.
        warnings.simplefilter("ignore", FutureWarning)
        network.export(str(path), format="onnx", verbose=False)
    model = onnx.load(path)
    store_as_float16(model)
    onnx.save(model, path)


def store_as_float16(model: onnx.ModelProto) -> None:
    """Replace each large float32 array of a graph by a float16 one and a cast, in place.

    Arrays that float16 cannot hold, because a value is too large, stay as they are.
    """
    graph = model.graph
    casts = []
    for tensor in graph.initializer:
        if tensor.data_type != TensorProto.FLOAT:
            continue
        values = numpy_helper.to_array(tensor)
        if values.size < SMALLEST or np.abs(values).max() > np.finfo(np.float16).max:
            continue
        name, stored = tensor.name, f"{tensor.name}_float16"
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), stored))
        casts.append(helper.make_node("Cast", [stored], [name], to=TensorProto.FLOAT))
    rest = list(graph.node)
    del graph.node[:]
    graph.node.extend([*casts, *rest])
    onnx.checker.check_model(model)
