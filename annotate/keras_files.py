"""Keras files from strangers: one in, a network that is fit to load out, or an AnnotateError.

Keras's own safe mode stops Lambda layers, but not all that builds objects by name, and not a layer
that asks for terabytes. So every class must be on the lists here, and every layer's weights must
lie in the file, before anything is built.
"""

from __future__ import annotations

import io
import json
import math
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from annotate.errors import AnnotateError, one_line
from annotate.model_files import (
    MAX_BYTES_PER_IMAGE,
    MAX_MULTIPLICATIONS_PER_IMAGE,
    Cost,
    import_late,
)

LAYERS = frozenset(
    [
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
    ]
)
"""Keras layers that a model file may name. None of them can hold code or read a file."""

MERGING = frozenset({"Add", "Concatenate", "Multiply"})
"""Layers that take several inputs."""

SLIDING = frozenset({"Conv2D", "Dense", "DepthwiseConv2D", "SeparableConv2D"})
"""Layers that apply all their weights at each place."""

INITIALIZERS = frozenset(
    [
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
    ]
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

CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
"""The members of a .keras file."""

MAX_CONFIG_BYTES = 4_000_000
MAX_LAYERS = 2000
"""EfficientNet-B7 has about 800 layers, and takes 1 MB to describe."""

FLOAT32_BYTES = 4

Shape = tuple[int, ...]
"""Of what one image gives: without the number of images."""


def checked_keras(path: Path, data: bytes, keras: Any) -> bytes:
    """Read a .keras file, and refuse one that is damaged, or more than a plain network.

    path: for messages. keras: the module. Returns another .keras file, of what was checked alone.
    Raises AnnotateError.
    """
    members = _members(path, data)
    try:
        config = json.loads(members[CONFIG])
    except (ValueError, RecursionError) as error:
        raise AnnotateError(f"{path} is not a readable Keras file: {one_line(error)}") from error
    _check_classes(path, config)
    stored = _check_weights(path, members[WEIGHTS])
    try:
        _check_layers(path, config["config"]["layers"], stored, len(data), keras)
    except AnnotateError:
        raise
    except Exception as error:  # of a configuration of any form, and of Keras's layers
        raise AnnotateError(f"{path} does not fit together: {one_line(repr(error))}") from error
    members[CONFIG] = json.dumps(_without_claimed_sizes(config)).encode()
    clean = io.BytesIO()
    with zipfile.ZipFile(clean, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return clean.getvalue()


def _members(path: Path, data: bytes) -> dict[str, bytes]:
    """The three members of a .keras file, by name."""
    expected = sorted((CONFIG, METADATA, WEIGHTS))
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
            if sorted(member.filename for member in members) != expected:
                raise AnnotateError(f"{path}: expected the members {expected} alone")
            # Keras stores without compression; a bomb would need it.
            if any(member.compress_type != zipfile.ZIP_STORED for member in members):
                raise AnnotateError(f"{path}: compressed members are refused")
            sizes = [member.file_size for member in members if member.filename != WEIGHTS]
            if max(sizes) > MAX_CONFIG_BYTES:
                raise AnnotateError(
                    f"{path}: its description has {max(sizes):,} bytes, at most"
                    f" {MAX_CONFIG_BYTES:,} are expected"
                )
            return {member.filename: archive.read(member) for member in members}
    except AnnotateError:
        raise
    except Exception as error:  # zipfile raises a dozen kinds, EOFError and RuntimeError too
        raise AnnotateError(f"{path} is not a readable Keras file: {one_line(error)}") from error


def _check_classes(path: Path, config: Any) -> None:
    """Every object that a configuration names must be on the lists, and layers must be flat."""
    if not isinstance(config, dict) or config.get("class_name") != "Functional":
        raise AnnotateError(f"{path}: {CONFIG} describes no functional model")
    for item in _objects(config):
        if "class_name" not in item:
            continue
        nested = item is not config and item["class_name"] == "Functional"
        if nested or not _is_allowed(item):
            name = f"{item.get('module')}.{item['class_name']}"
            raise AnnotateError(
                f"{path} holds {one_line(name)}, which is not a known layer: refused"
            )


def _objects(config: Any) -> Iterator[dict[str, Any]]:
    """Every dictionary of a parsed JSON text, however deep."""
    pending = [config]
    while pending:
        item = pending.pop()
        if isinstance(item, list):
            pending.extend(item)
        elif isinstance(item, dict):
            pending.extend(item.values())
            yield item


def _is_allowed(item: Mapping[str, Any]) -> bool:
    name, module = item["class_name"], item.get("module")
    if not isinstance(name, str) or not isinstance(module, str | None):
        return False
    if item.get("registered_name") not in (None, name):
        return False
    if module is None:
        return name == "__keras_tensor__"
    return name in ALLOWED.get(module, frozenset())


def _without_claimed_sizes(config: Any) -> Any:
    """A configuration whose layers are built for what reaches them, not for what it says, and for
    any number of images: memory may force smaller batches on it.
    """
    for item in _objects(config):
        item.pop("build_config", None)
        if item.get("class_name") == "InputLayer":
            item["config"]["batch_shape"][0] = None
    return config


def _check_weights(path: Path, data: bytes) -> int:
    """The number of weights in an HDF5 file.

    HDF5 may point to other files, by links, external storage or virtual data sets, may hold
    graphs with circles, and sizes without content: all of it is refused.
    """
    h5py = import_late("h5py", "install it with: pip install h5py")
    met = set()

    def visit(group: Any) -> int:
        count = 0
        for name in group:
            link = group.get(name, getlink=True)
            if not isinstance(link, h5py.HardLink):
                raise AnnotateError(f"{path}: its weights link to another place ({one_line(name)})")
            item = group[name]
            address = h5py.h5o.get_info(item.id).addr
            if address in met:
                raise AnnotateError(f"{path}: its weights lie in a circle ({one_line(name)})")
            met.add(address)
            count += visit(item) if isinstance(item, h5py.Group) else _check_values(path, item)
        return count

    try:
        with h5py.File(io.BytesIO(data), "r") as file:
            met.add(h5py.h5o.get_info(file.id).addr)
            return visit(file)
    except AnnotateError:
        raise
    except Exception as error:  # h5py turns the C library's faults into any built-in exception
        raise AnnotateError(f"{path} has unreadable weights: {one_line(error)}") from error


def _check_values(path: Path, values: Any) -> int:
    """The number of elements of a data set, which are plain numbers that lie in its file."""
    if values.external or values.is_virtual:
        raise AnnotateError(f"{path}: its weights lie in other files: refused")
    if values.dtype.kind not in "fiu":
        raise AnnotateError(f"{path}: its weights are {one_line(values.dtype)}, not numbers")
    if values.chunks is not None or values.id.get_storage_size() != values.nbytes:
        raise AnnotateError(f"{path}: its weights are not stored whole: refused")
    return int(values.size)


def _check_layers(path: Path, layers: Any, stored: int, file_bytes: int, keras: Any) -> None:
    """Layers have the weights that the file holds, and their outputs are of a sane size.

    Follows the shape of one image through the layers without building any. stored: weights in
    the file. Raises AnnotateError, and anything where the configuration has another form.
    """
    if len(layers) > MAX_LAYERS:
        raise AnnotateError(f"{path} has {len(layers):,} layers, at most {MAX_LAYERS:,} expected")
    cost = Cost(path, MAX_BYTES_PER_IMAGE, MAX_MULTIPLICATIONS_PER_IMAGE)
    shapes: dict[str, Shape] = {}
    weights = 0
    for config in layers:
        name = config["name"]
        # A layer's own name may differ from that in the list, which is the one that others use.
        if name in shapes or not isinstance(name, str):
            raise AnnotateError(f"{path} has two layers of the name {one_line(name)!r}: refused")
        described = {key: config[key] for key in ("module", "class_name", "config")}
        layer = keras.saving.deserialize_keras_object(described, safe_mode=True)
        inputs = [shapes[parent] for parent in _parents(path, config)]
        shapes[name] = _given(layer, config, inputs)
        kind = config["class_name"]
        own = _weights(layer, kind, inputs)
        weights += own
        if weights > stored:
            raise AnnotateError(
                f"{path}: its layers have more weights than the {stored:,} that it holds"
            )
        kernel = own if kind in SLIDING else 0
        multiplications = _multiplications(layer, kernel, shapes[name])
        cost.add(math.prod(shapes[name]) * FLOAT32_BYTES, multiplications)


def _parents(path: Path, config: Mapping[str, Any]) -> list[str]:
    """The layers whose outputs a layer takes."""
    nodes, kind = config["inbound_nodes"], config["class_name"]
    if len(nodes) != (kind != "InputLayer"):
        raise AnnotateError(f"{path} uses a layer more than once, or never: refused")
    if not nodes:
        return []
    (tensors,) = nodes[0]["args"]
    options = nodes[0]["kwargs"].values()
    if isinstance(tensors, list) != (kind in MERGING) or set(options) - {None, False, True}:
        raise AnnotateError(f"{path} calls a {kind} in a way that it does not know: refused")
    parents = []
    for tensor in tensors if isinstance(tensors, list) else [tensors]:
        name, node, output = tensor["config"]["keras_history"]
        if tensor["class_name"] != "__keras_tensor__" or (node, output) != (0, 0):
            raise AnnotateError(f"{path} uses a layer more than once: refused")
        parents.append(name)
    return parents


def _given(layer: Any, config: Mapping[str, Any], inputs: list[Shape]) -> Shape:
    """The shape of what a layer gives for one image. Raises ValueError where it is not fixed."""
    if config["class_name"] == "InputLayer":
        _, *sides = config["config"]["batch_shape"]
    else:
        batches = [(None, *shape) for shape in inputs]
        _, *sides = layer.compute_output_shape(batches if len(batches) > 1 else batches[0])
    if not all(isinstance(side, int) and side > 0 for side in sides):
        raise ValueError(f"{config['name']} gives the shape {sides}")
    return tuple(sides)


def _dense(layer: Any, shape: Shape) -> int:
    return int(layer.units) * (shape[-1] + bool(layer.use_bias))


def _conv(layer: Any, shape: Shape) -> int:
    each: int = math.prod(layer.kernel_size) * (shape[-1] // layer.groups) + bool(layer.use_bias)
    return int(layer.filters) * each


def _depthwise(layer: Any, shape: Shape) -> int:
    each: int = math.prod(layer.kernel_size) + bool(layer.use_bias)
    return int(layer.depth_multiplier) * shape[-1] * each


def _separable(layer: Any, shape: Shape) -> int:
    widened = shape[-1] * int(layer.depth_multiplier)
    pointwise = int(layer.filters) * (widened + bool(layer.use_bias))
    depthwise: int = math.prod(layer.kernel_size) * widened
    return depthwise + pointwise


def _batch_normalization(layer: Any, shape: Shape) -> int:
    channels: int = (0, *shape)[layer.axis]
    return (2 + bool(layer.scale) + bool(layer.center)) * channels


def _layer_normalization(layer: Any, shape: Shape) -> int:
    axes = layer.axis if isinstance(layer.axis, list | tuple) else [layer.axis]
    each: int = math.prod((0, *shape)[axis] for axis in axes)
    return (bool(layer.scale) + bool(layer.center)) * each


def _prelu(layer: Any, shape: Shape) -> int:
    shared = set(layer.shared_axes or ())
    return math.prod(side for axis, side in enumerate(shape, 1) if axis not in shared)


WEIGHTS_OF: dict[str, Callable[[Any, Shape], int]] = {
    "BatchNormalization": _batch_normalization,
    "Conv2D": _conv,
    "Dense": _dense,
    "DepthwiseConv2D": _depthwise,
    "LayerNormalization": _layer_normalization,
    "PReLU": _prelu,
    "SeparableConv2D": _separable,
}
"""How many weights a layer has for an input of a shape. All others have none."""


def _weights(layer: Any, kind: str, inputs: list[Shape]) -> int:
    if getattr(layer, "data_format", "channels_last") != "channels_last":
        raise ValueError("channels must come last")
    quantized = getattr(layer.dtype_policy, "quantization_mode", None)
    if quantized or getattr(layer, "lora_rank", None):
        raise ValueError("layers must be plain, without quantization and adapters")
    return WEIGHTS_OF[kind](layer, inputs[0]) if kind in WEIGHTS_OF else 0


def _multiplications(layer: Any, kernel: int, shape: Shape) -> int:
    """About so many for one image: the kernel at each place, or a pool at each element."""
    pool = math.prod(getattr(layer, "pool_size", (1,)))
    return max(kernel * math.prod(shape[:-1]), pool * math.prod(shape))
