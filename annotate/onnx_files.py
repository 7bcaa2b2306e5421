"""ONNX files from strangers: one in, a network that is fit to run out, or an AnnotateError.

A file may hold plain operations alone, whose names are listed here: no control flow, no code, no
custom operations, no weights in other files. What each of them gives is worked out before anything
runs, so that a small file cannot ask for terabytes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from annotate.errors import AnnotateError, one_line
from annotate.model_files import (
    INPUT,
    MAX_BYTES_PER_IMAGE,
    MAX_MULTIPLICATIONS_PER_IMAGE,
    OUTPUTS,
    Cost,
    import_late,
)

ONNX_ADVICE = "install it with: pip install onnxruntime onnx"

OPERATIONS = frozenset(
    [
        "Add",
        "AveragePool",
        "BatchNormalization",
        "Cast",
        "Clip",
        "Concat",
        "Constant",
        "Conv",
        "Div",
        "Elu",
        "Exp",
        "Flatten",
        "Gather",
        "Gemm",
        "GlobalAveragePool",
        "GlobalMaxPool",
        "HardSigmoid",
        "HardSwish",
        "Identity",
        "LayerNormalization",
        "LeakyRelu",
        "MatMul",
        "Max",
        "MaxPool",
        "Min",
        "Mul",
        "Neg",
        "PRelu",
        "Pad",
        "Pow",
        "Reciprocal",
        "ReduceMax",
        "ReduceMean",
        "ReduceSum",
        "Relu",
        "Reshape",
        "Shape",
        "Sigmoid",
        "Slice",
        "Softmax",
        "Sqrt",
        "Squeeze",
        "Sub",
        "Sum",
        "Tanh",
        "Transpose",
        "Unsqueeze",
    ]
)
"""What networks for images are exported to. The size of what each gives can be told beforehand."""

MAX_NODES = 5000
"""Bundled networks have about 100, the largest published ones some 2,000."""

MAX_INTEGER = 2**31
"""Of paddings, shapes and the like: sums of larger ones wrap around."""

SMALL_BYTES = 1024
"""Tensors up to this size may be shapes or axes, by which the sizes of others are told."""


class Value(NamedTuple):
    """What the shape inference says of a value. kind: the number of an ONNX element type."""

    kind: int
    shape: tuple[int, ...]

    @property
    def elements(self) -> int:
        """The number of its elements."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Outline:
    """A network without its weights, by which its size on batches of any size can be told.

    path: for messages. model: an ONNX model whose large weights are inputs. file_bytes: all of it.
    """

    path: Path
    model: Any
    file_bytes: int

    def output_widths(self, batch_size: int) -> tuple[int, ...]:
        """Values of (age, gender) that it gives for each image of a batch.

        Raises AnnotateError where it cannot run on such batches, or costs too much.
        """
        values = _inferred(self.path, self.model, batch_size)
        cost = Cost(
            self.path,
            # Weights may be kept as float16, which a Cast doubles, and be transposed or folded.
            allowed_bytes=MAX_BYTES_PER_IMAGE * batch_size + 4 * self.file_bytes,
            allowed_multiplications=MAX_MULTIPLICATIONS_PER_IMAGE * batch_size,
        )
        for node in self.model.graph.node:
            _add_cost(cost, node, values)
            _check_division(self.path, node, values, self.model.graph)
        return tuple(_width(self.path, name, values.get(name), batch_size) for name in OUTPUTS)


@dataclass(frozen=True)
class CheckedNetwork:
    """A network's file that is fit for an engine.

    data: what to load, which is not the file's own bytes. input_shape: (images, S, S, 3); None or
    a number of images. output_widths: values of (age, gender). outline: by which to check whether
    it can run on batches of another size as well.
    """

    data: bytes
    input_shape: tuple[int | None, ...]
    output_widths: tuple[int, ...]
    outline: Outline


def checked_onnx(path: Path, data: bytes, batch_size: int) -> CheckedNetwork:
    """Read an ONNX file, and refuse one that is damaged, or more than a plain, affordable network.

    path: for messages. batch_size: of the batches it will see. The bytes that come back are those
    of what was checked, without anything that this version of ONNX does not know, and without
    sizes that the file only claims, so that memory may force smaller batches on it.
    Raises AnnotateError.
    """
    onnx = import_late("onnx", ONNX_ADVICE)
    try:
        model = onnx.load_model_from_string(data)
        model.DiscardUnknownFields()
    except Exception as error:  # protobuf's DecodeError, and what its C code raises
        raise AnnotateError(f"{path} is not a readable ONNX file: {one_line(error)}") from error
    _check_operations(path, model)
    for tensor in _tensors(path, model.graph):
        _check_tensor(path, tensor)
    pixels = _check_ends(path, model.graph, batch_size)
    outline = Outline(path, _without_weights(model), len(data))
    widths = outline.output_widths(batch_size)
    _forget_claimed_sizes(model.graph)
    return CheckedNetwork(model.SerializeToString(), pixels, widths, outline)


def _check_operations(path: Path, model: Any) -> None:
    if model.functions or model.training_info:
        raise AnnotateError(f"{path} defines operations of its own: refused")
    if len(model.graph.node) > MAX_NODES:
        raise AnnotateError(
            f"{path} has {len(model.graph.node):,} operations, at most {MAX_NODES:,} are expected"
        )
    for node in model.graph.node:
        if node.domain not in ("", "ai.onnx"):
            name = one_line(f"{node.domain}.{node.op_type}")
            raise AnnotateError(f"{path} uses custom operations ({name}): refused")
        if any(a.HasField("g") or a.graphs for a in node.attribute):
            raise AnnotateError(f"{path} uses control flow ({one_line(node.op_type)}): refused")
        if node.op_type not in OPERATIONS:
            raise AnnotateError(
                f"{path} uses the operation {one_line(node.op_type)}, which no network for faces"
                " needs: refused"
            )
        numbers = (n for a in node.attribute for n in (a.i, *a.ints))
        if any(abs(n) > MAX_INTEGER for n in numbers):
            raise AnnotateError(f"{path} has senseless attributes ({node.op_type}): refused")


def _tensors(path: Path, graph: Any) -> Iterator[Any]:
    """Every tensor that lies in a graph without control flow."""
    yield from graph.initializer
    attributes = [attribute for node in graph.node for attribute in node.attribute]
    if graph.sparse_initializer or any(
        a.HasField("sparse_tensor") or a.sparse_tensors for a in attributes
    ):
        raise AnnotateError(f"{path} has sparse weights: refused")
    for attribute in attributes:
        yield from attribute.tensors
        if attribute.HasField("t"):
            yield attribute.t


def _check_tensor(path: Path, tensor: Any) -> None:
    """Its values lie in the file, are numbers, and as many as its shape says."""
    onnx = import_late("onnx", ONNX_ADVICE)
    name = one_line(tensor.name, 60)
    if tensor.external_data or tensor.data_location == onnx.TensorProto.EXTERNAL:
        raise AnnotateError(f"{path} keeps weights in other files (external data): refused")
    item_bytes = _item_bytes(path, tensor.data_type)
    count = math.prod(tensor.dims)
    if any(side < 0 for side in tensor.dims):
        raise AnnotateError(f"{path}: the weights {name!r} have a negative size")
    fields = (tensor.float_data, tensor.int32_data, tensor.int64_data, tensor.double_data)
    listed = sum(map(len, fields)) + len(tensor.uint64_data) + len(tensor.string_data)
    fits = len(tensor.raw_data) == count * item_bytes and not listed
    if not fits and not (listed == count and not tensor.raw_data):
        raise AnnotateError(
            f"{path}: the weights {name!r} are not as many as their shape says: the file is damaged"
        )
    if item_bytes * count <= SMALL_BYTES and tensor.data_type in (
        onnx.TensorProto.INT32,
        onnx.TensorProto.INT64,
    ):
        values = onnx.numpy_helper.to_array(tensor)
        if any(abs(int(value)) > MAX_INTEGER for value in values.flat):
            raise AnnotateError(f"{path} has senseless sizes ({name!r}): refused")


def _item_bytes(path: Path, kind: int) -> int:
    """Bytes of one element of an ONNX element type. Raises AnnotateError for text and the like."""
    onnx = import_late("onnx", ONNX_ADVICE)
    names = ("FLOAT", "FLOAT16", "DOUBLE", "UINT8", "INT8", "INT32", "INT64", "BOOL")
    if kind not in {getattr(onnx.TensorProto, name) for name in names}:
        raise AnnotateError(f"{path} computes with other values than plain numbers: refused")
    return int(np.dtype(onnx.helper.tensor_dtype_to_np_dtype(kind)).itemsize)


def _check_ends(path: Path, graph: Any, batch_size: int) -> tuple[int | None, ...]:
    """The shape of a network's one input; its inputs and outputs have the names we know."""
    onnx = import_late("onnx", ONNX_ADVICE)
    weights = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in weights]
    names = [value.name for value in inputs]
    outputs = [value.name for value in graph.output]
    if names != [INPUT] or not set(OUTPUTS) <= set(outputs):
        raise AnnotateError(
            f"{path} has inputs {one_line(names)} and outputs {one_line(sorted(outputs))},"
            f" expected {INPUT!r} and {list(OUTPUTS)}"
        )
    tensor = inputs[0].type.tensor_type
    if tensor.elem_type != onnx.TensorProto.UINT8:
        raise AnnotateError(f"{path} does not take pixels as uint8")
    shape = tuple(d.dim_value if d.HasField("dim_value") else None for d in tensor.shape.dim)
    if len(shape) != 4 or shape[0] not in (None, batch_size):
        raise AnnotateError(
            f"{path} takes pixels of the shape {one_line(shape)}, expected any number of images,"
            " their sides and 3 colours"
        )
    return shape


def _forget_claimed_sizes(graph: Any) -> None:
    """Leave shapes to be worked out, and the number of images open."""
    del graph.value_info[:]
    for value in graph.output:
        value.type.tensor_type.ClearField("shape")
    pixels = next(value for value in graph.input if value.name == INPUT)
    pixels.type.tensor_type.shape.dim[0].Clear()


def _without_weights(model: Any) -> Any:
    """A model's operations, with its large weights as inputs: by their shape, not their bytes.

    What the file itself says of the shapes between them is left out.
    """
    onnx = import_late("onnx", ONNX_ADVICE)
    bare = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
    bare.graph.name = "checked"
    bare.graph.node.extend(model.graph.node)
    for tensor in model.graph.initializer:
        if tensor.ByteSize() <= 2 * SMALL_BYTES:
            bare.graph.initializer.append(tensor)
        else:
            kind, dims = tensor.data_type, list(tensor.dims)
            bare.graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, kind, dims))
    bare.graph.input.extend(value for value in model.graph.input if value.name == INPUT)
    return bare


def _inferred(path: Path, outline: Any, batch_size: int) -> dict[str, Value]:
    """Type and shape of every value for a batch, as ONNX works them out."""
    onnx = import_late("onnx", ONNX_ADVICE)
    sized = onnx.ModelProto()
    sized.CopyFrom(outline)
    sized.graph.input[-1].type.tensor_type.shape.dim[0].dim_value = batch_size
    try:
        # data_prop: Keras's Flatten is exported as a Reshape to a part of an earlier shape.
        options = {"check_type": True, "strict_mode": True, "data_prop": True}
        found = onnx.shape_inference.infer_shapes(sized, **options).graph
    except Exception as error:  # what the C++ code raises has no common base
        raise AnnotateError(f"{path} does not fit together: {one_line(error)}") from error
    values = {t.name: Value(t.data_type, tuple(t.dims)) for t in sized.graph.initializer}
    for value in (*found.input, *found.value_info):
        tensor = value.type.tensor_type
        sides = tensor.shape.dim
        if tensor.HasField("shape") and all(side.HasField("dim_value") for side in sides):
            shape = tuple(side.dim_value for side in sides)
            values[value.name] = Value(tensor.elem_type, shape)
    return values


def _add_cost(cost: Cost, node: Any, values: Mapping[str, Value]) -> None:
    """Count what one operation gives and how often it multiplies for that."""
    try:
        inputs = [values[name] for name in node.input if name]
        outputs = [values[name] for name in node.output if name]
    except KeyError as error:
        name = one_line(error.args[0], 60)
        raise AnnotateError(
            f"{cost.path}: the size of {name!r}, of a {node.op_type}, cannot be told beforehand:"
            " refused"
        ) from error
    if any(side < 0 for value in outputs for side in value.shape):
        raise AnnotateError(f"{cost.path}: a {node.op_type} has a negative size: refused")
    kernels = [a.ints for a in node.attribute if a.name == "kernel_shape"]
    each = 1
    if node.op_type == "Conv":
        each = math.prod(inputs[1].shape[1:])
    elif kernels:
        each = math.prod(kernels[0])
    multiplications = sum(value.elements for value in outputs) * each
    if node.op_type in ("MatMul", "Gemm"):
        # (m k) (k n) (m n) is the square of m k n.
        multiplications = math.isqrt(inputs[0].elements * inputs[1].elements * outputs[0].elements)
    held = sum(value.elements * _item_bytes(cost.path, value.kind) for value in outputs)
    cost.add(held, multiplications)


def _check_division(path: Path, node: Any, values: Mapping[str, Value], graph: Any) -> None:
    """Whole numbers are divided by weights above 0 alone.

    By 0, and the lowest one by -1, the processor ends the whole process.
    """
    onnx = import_late("onnx", ONNX_ADVICE)
    if node.op_type != "Div":
        return
    kind, divisor = values[node.input[0]].kind, node.input[1]
    if np.issubdtype(onnx.helper.tensor_dtype_to_np_dtype(kind), np.inexact):
        return
    known = [onnx.numpy_helper.to_array(t) for t in graph.initializer if t.name == divisor]
    if not known or (known[0] <= 0).any():
        raise AnnotateError(f"{path} divides whole numbers by what may be 0 or less: refused")


def _width(path: Path, name: str, value: Value | None, batch_size: int) -> int:
    """How many numbers an output gives for each image. Raises AnnotateError."""
    onnx = import_late("onnx", ONNX_ADVICE)
    if value is None:
        raise AnnotateError(f"{path}: nothing gives its output {name!r}")
    if value.kind != onnx.TensorProto.FLOAT:
        raise AnnotateError(f"{path}: its output {name!r} is not float32")
    if len(value.shape) != 2 or value.shape[0] != batch_size:
        raise AnnotateError(
            f"{path}: its output {name!r} has the shape {one_line(value.shape)} for {batch_size}"
            f" images, expected ({batch_size}, values)"
        )
    return value.shape[1]
