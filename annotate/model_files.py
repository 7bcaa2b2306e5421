"""Model files from strangers: a network's file in, nothing out, or an AnnotateError of one line.

Checked before an engine builds anything: no code, no custom layers or operations, no control
flow, no file that names other files.
"""

from __future__ import annotations

import importlib
import io
import json
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from annotate.errors import AnnotateError, one_line

ONNX_ADVICE = "install it with: pip install onnxruntime onnx"

LAYERS = frozenset(
    {
        "Activation",
        "Add",
        "AveragePooling2D",
        "BatchNormalization",
        "Concatenate",
        "Conv2D",
        "Dense",
        "DepthwiseConv2D",
        "Dropout",
        "Flatten",
        "GlobalAveragePooling2D",
        "GlobalMaxPooling2D",
        "InputLayer",
        "LayerNormalization",
        "LeakyReLU",
        "MaxPooling2D",
        "Multiply",
        "PReLU",
        "ReLU",
        "Rescaling",
        "Reshape",
        "SeparableConv2D",
        "Softmax",
        "SpatialDropout2D",
        "ZeroPadding2D",
    }
)
"""Keras layers that a model file may name. None of them can hold code or read a file."""

INITIALIZERS = frozenset(
    {
        "Constant",
        "GlorotNormal",
        "GlorotUniform",
        "HeNormal",
        "HeUniform",
        "Ones",
        "RandomNormal",
        "RandomUniform",
        "TruncatedNormal",
        "VarianceScaling",
        "Zeros",
    }
)

ALLOWED = {
    "keras": frozenset({"DTypePolicy"}),
    "keras.layers": LAYERS,
    "keras.initializers": INITIALIZERS,
    "keras.regularizers": frozenset({"L1", "L2", "L1L2"}),
    "keras.src.models.functional": frozenset({"Functional"}),
    "keras.models": frozenset({"Functional"}),
}
"""What a Keras model file may be made of: module to classes."""

KERAS_MEMBERS = {"metadata.json", "config.json", "model.weights.h5"}


def check_onnx(path: Path, data: bytes) -> None:
    """Refuse an ONNX file that is damaged, names other files, or holds more than a plain graph.

    path: for messages. Raises AnnotateError.
    """
    onnx = import_late("onnx", ONNX_ADVICE)
    try:
        model = onnx.load_model_from_string(data)
    except Exception as error:  # protobuf's DecodeError, and what its C code raises
        raise AnnotateError(f"{path} is not a readable ONNX file: {one_line(error)}") from error
    domains = {node.domain for node in model.graph.node} - {"", "ai.onnx"}
    if domains or model.functions:
        raise AnnotateError(f"{path} uses custom operations {sorted(domains)}: refused")
    for tensor in _onnx_tensors(path, model.graph):
        if tensor.external_data or tensor.data_location == onnx.TensorProto.EXTERNAL:
            raise AnnotateError(f"{path} keeps weights in other files (external data): refused")


def _onnx_tensors(path: Path, graph: Any) -> Iterator[Any]:
    """Every tensor of a graph without control flow, which a network for faces does not need."""
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g") or attribute.graphs:
                raise AnnotateError(f"{path} uses control flow ({node.op_type}): refused")
            yield from attribute.tensors
            if attribute.HasField("t"):
                yield attribute.t
            if attribute.HasField("sparse_tensor") or attribute.sparse_tensors:
                raise AnnotateError(f"{path} uses sparse attributes ({node.op_type}): refused")


def check_keras(path: Path) -> None:
    """Refuse a .keras file that is damaged, holds code or custom objects, or names other files.

    Keras's own safe mode stops Lambda layers, but not all that builds objects by name; this is
    an allowlist. Raises AnnotateError.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if {m.filename for m in members} != KERAS_MEMBERS or len(members) != 3:
                raise AnnotateError(f"{path}: expected the members {sorted(KERAS_MEMBERS)} alone")
            # Keras stores without compression; a bomb would need it.
            if any(m.compress_type != zipfile.ZIP_STORED for m in members):
                raise AnnotateError(f"{path}: compressed members are refused")
            config = json.loads(archive.read("config.json"))
            weights = archive.read("model.weights.h5")
    except (OSError, ValueError, zipfile.BadZipFile, RecursionError) as error:
        raise AnnotateError(f"{path} is not a readable Keras file: {one_line(error)}") from error
    _check_config(path, config)
    _check_weights(path, weights)


def _check_config(path: Path, config: Any) -> None:
    """Every object that a configuration names must be on the allowlist."""
    if not isinstance(config, dict) or "class_name" not in config:
        raise AnnotateError(f"{path}: config.json describes no model")
    pending: list[Any] = [config]
    while pending:
        item = pending.pop()
        if isinstance(item, list):
            pending.extend(item)
        if not isinstance(item, dict):
            continue
        pending.extend(item.values())
        if "class_name" in item and not _is_allowed(item):
            name = f"{item.get('module')}.{item['class_name']}"
            raise AnnotateError(
                f"{path} holds {one_line(name)}, which is not a known layer: refused"
            )


def _is_allowed(item: Mapping[str, Any]) -> bool:
    name, module = item["class_name"], item.get("module")
    if not isinstance(name, str) or not isinstance(module, str | None):
        return False
    if item.get("registered_name") not in (None, name):
        return False
    if module is None:
        return name == "__keras_tensor__"
    return name in ALLOWED.get(module, frozenset())


def _check_weights(path: Path, data: bytes) -> None:
    """HDF5 may point to other files: by links, external storage or virtual data sets."""
    h5py = import_late("h5py", "install it with: pip install h5py")

    def visit(group: Any) -> None:
        for name in group:
            link = group.get(name, getlink=True)
            if not isinstance(link, h5py.HardLink):
                raise AnnotateError(f"{path}: its weights link to another place ({one_line(name)})")
            item = group[name]
            if isinstance(item, h5py.Group):
                visit(item)
            elif item.external or item.is_virtual:
                raise AnnotateError(f"{path}: its weights lie in other files: refused")

    try:
        with h5py.File(io.BytesIO(data), "r") as file:
            visit(file)
    except AnnotateError:
        raise
    except Exception as error:  # h5py turns the C library's faults into any built-in exception
        raise AnnotateError(f"{path} has unreadable weights: {one_line(error)}") from error


def import_late(module: str, advice: str) -> Any:
    """Import a module that is only needed now. Raises AnnotateError with the advice."""
    try:
        return importlib.import_module(module)
    except (ImportError, ValueError) as error:  # Keras: ValueError for an unknown backend
        raise AnnotateError(f"cannot import {module} ({one_line(error)}): {advice}") from error
