"""ONNX files by hand, and what is said of those that are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from annotate.errors import AnnotateError
from annotate.onnx_files import checked_onnx
from tests.model_folders import edit

Nodes = list[onnx.NodeProto]


def graph_of(
    nodes: Nodes,
    initializers: list[onnx.TensorProto] | None = None,
    domain: str = "",
    kind: int = TensorProto.FLOAT,
) -> onnx.ModelProto:
    """An ONNX file with the input and outputs of a model."""
    ends = [helper.make_tensor_value_info(name, kind, ["N", 1]) for name in ("age", "gender")]
    graph = helper.make_graph(
        nodes,
        "hostile",
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["N", 16, 16, 3])],
        ends,
        initializers or [],
    )
    opsets = [helper.make_opsetid("", 18)] + ([helper.make_opsetid(domain, 1)] if domain else [])
    return helper.make_model(graph, opset_imports=opsets, ir_version=9)


def zeros(name: str, *sides: int, kind: Any = np.float32) -> onnx.TensorProto:
    return numpy_helper.from_array(np.zeros(sides, kind), name)


def numbers(name: str, *values: int) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(values, np.int64), name)


def floats() -> onnx.NodeProto:
    return helper.make_node("Cast", ["pixels"], ["x"], to=TensorProto.FLOAT)


def refused(model: onnx.ModelProto | bytes) -> str:
    """What is said of a file by the check alone, for batches of 64."""
    data = model if isinstance(model, bytes) else model.SerializeToString()
    with pytest.raises(AnnotateError) as caught:
        checked_onnx(Path("model.onnx"), data, 64)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500
    return str(caught.value)


def with_onnx(folder: Path, data: bytes) -> Path:
    (folder / "model.onnx").write_bytes(data)
    edit(folder)
    return folder


def outer_sum() -> onnx.ModelProto:
    """A column and a row of 100,000: 40 GB of sums, of constants."""
    return graph_of(
        [helper.make_node("Add", ["a", "b"], ["age"])],
        [zeros("a", 100_000, 1), zeros("b", 1, 100_000)],
    )
