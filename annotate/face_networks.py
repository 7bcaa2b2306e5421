"""Face networks: the weights of the mtcnn package in, three ONNX Runtime sessions out.

Only the package's weight files are used, none of its code: its loader looks in the current folder
first and unpickles what it finds there. Here the files are found beside the package, read once,
and unpickled only if their SHA-256 is the one that was looked at. The graphs are assembled in
memory; nothing of the package is copied or cached.

Source: P-Net, R-Net and O-Net, Zhang et al. 2016, "Joint Face Detection and Alignment using
Multi-task Cascaded Convolutional Networks", as trained weights in mtcnn 1.0.0 (MIT licence,
Iván de Paz Centeno, https://github.com/ipazc/mtcnn).
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import joblib
import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from annotate.errors import AnnotateError

Weights = Sequence[npt.NDArray[np.float32]]

WEIGHT_FILES = {
    "pnet": "ea6b0c3e685ebee3165326ad6484acc95f2ef78f1c94fbf40a55704fa989f7b5",
    "rnet": "cb00e6460f3c98b0bfafaba3c0a0ded4bdf6e62cee7174d969e8670d7e757fee",
    "onet": "94f6ea2f4cf985275ee958cdd762d17b6009348a4fb9d8c6be39ba73ffd22ca3",
}
"""SHA-256 of `mtcnn/assets/weights/NAME.lz4` in mtcnn 1.0.0: pickled lists of arrays and nothing
else."""

RNET_PX = 24
ONET_PX = 48
"""Sides of the patches that R-Net and O-Net judge."""

BLACK_TO_ZERO = 127.5 / 128
"""The networks were trained on (value - 127.5) / 128."""

_PNET_FILTERS = 16
_OPSET = 17
_IR_VERSION = 9


@dataclass(frozen=True)
class FaceNetworks:
    """The three networks. Pixels are float32 NCHW RGB, value / 128, so that black is 0.

    pnet: "pixels" (1, 3, h, w) -> (1, 5, h', w'), four offsets and the logit of a face, for a cell
    of 12 pixels every 2. rnet: "pixels" (b, 3, h, w), "boxes" (n, 4) corners of patches, and
    "picture_of" int64 (n), which of the b each is cut from -> offsets (n, 4), probability (n).
    onet: the same, and landmarks (n, 10), x then y, between the two.
    """

    pnet: onnxruntime.InferenceSession
    rnet: onnxruntime.InferenceSession
    onet: onnxruntime.InferenceSession


def load_networks() -> FaceNetworks:
    """Build the networks. Each runs on one thread: its operations are small, and several threads
    wait for each other longer than they work. Photographs are shared out to processes instead.

    Raises AnnotateError where the package or its weights are not those that are known.
    """
    return FaceNetworks(
        pnet=_session(_pnet(read_weights("pnet"))),
        rnet=_session(_rnet(read_weights("rnet"))),
        onet=_session(_onet(read_weights("onet"))),
    )


def check_weights() -> None:
    """Make sure that face detection can start. Raises AnnotateError as `load_networks` does."""
    for name in WEIGHT_FILES:
        _checked_bytes(name)


def read_weights(name: str) -> list[npt.NDArray[np.float32]]:
    """The arrays of one network: pnet, rnet or onet, in the package's order (Keras layout).

    Raises AnnotateError.
    """
    # A pickle, but of known content: these very bytes have been checked.
    weights = joblib.load(io.BytesIO(_checked_bytes(name)))
    return [np.asarray(array, np.float32) for array in weights]


def _checked_bytes(name: str) -> bytes:
    """A weight file, as it was looked at. Raises AnnotateError."""
    package = importlib.util.find_spec("mtcnn")
    if package is None or package.origin is None:
        raise AnnotateError("face detection needs the package mtcnn: pip install 'mtcnn==1.0.0'")
    folder = os.path.dirname(os.path.abspath(package.origin))
    path = os.path.join(folder, "assets", "weights", f"{name}.lz4")
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        raise AnnotateError(f"cannot read {path}: {error.strerror}; reinstall mtcnn") from error
    if hashlib.sha256(data).hexdigest() != WEIGHT_FILES[name]:
        raise AnnotateError(f"{path} is not the file of mtcnn 1.0.0: pip install 'mtcnn==1.0.0'")
    return data


def _session(graph: onnx.GraphProto) -> onnxruntime.InferenceSession:
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


@dataclass
class _Chain:
    """A graph that grows a layer at a time, from `value` on."""

    weights: list[npt.NDArray[np.float32]]
    value: str = "pixels"
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    tensors: list[onnx.TensorProto] = field(default_factory=list)

    def add(self, kind: str, *constants: npt.NDArray[Any], **attributes: Any) -> str:
        """Append an operation with constants as its further inputs; returns its output."""
        names = []
        for constant in constants:
            names.append(f"constant{len(self.tensors)}")
            self.tensors.append(numpy_helper.from_array(np.array(constant, order="C"), names[-1]))
        output = f"value{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, [self.value, *names], [output], **attributes))
        self.value = output
        return output

    def branch(self, value: str) -> _Chain:
        """A chain that goes on from another value and adds to the same graph."""
        return _Chain(self.weights, value, self.nodes, self.tensors)

    def conv(self) -> None:
        """A convolution without padding. Keras keeps (h, w, in, out), ONNX (out, in, h, w)."""
        kernel, bias = self._take(2)
        self.add("Conv", kernel.transpose(3, 2, 0, 1), bias)

    def conv_prelu(self, *, as_convs: bool = False) -> None:
        """A convolution and a PReLU with one slope a channel; see `_prelu_as_convs`."""
        self.conv()
        slope = self._take(1)[0].ravel()
        if as_convs:
            self._prelu_as_convs(slope)
        elif slope.max() <= 1:
            # Then it is the larger of x and slope x, and two operations are faster than PRelu.
            linear = self.value
            self.add("Mul", slope.reshape(-1, 1, 1))
            self._join("Max", linear)
        else:
            self.add("PRelu", slope.reshape(-1, 1, 1))

    def _join(self, kind: str, other: str) -> None:
        """Append an operation on this value and another one."""
        output = f"value{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, [self.value, other], [output]))
        self.value = output

    def _prelu_as_convs(self, slope: npt.NDArray[np.float32]) -> None:
        """PReLU(x) = slope x + (1 - slope) ReLU(x), with 1x1 convolutions for the factors.

        ONNX Runtime keeps these in the blocked layout of its convolutions, where PRelu is slow
        by itself and makes it go back and forth: P-Net takes half the time so.
        """
        linear = self.value
        scaled = self.add("Conv", np.diag(slope)[:, :, None, None])
        rectified = self.branch(linear)
        rectified.add("Relu")
        rest = rectified.add("Conv", np.diag(1 - slope)[:, :, None, None])
        self.value = rest
        self._join("Add", scaled)

    def pool(self, size: int, padding: str = "SAME_UPPER") -> None:
        """A max pool of stride 2; SAME_UPPER is what TensorFlow calls "same"."""
        self.add("MaxPool", kernel_shape=[size, size], strides=[2, 2], auto_pad=padding)

    def flatten(self) -> None:
        """To (n, width * height * channels), the order in which the dense layers were trained."""
        self.add("Transpose", perm=[0, 3, 2, 1])
        self.add("Flatten", axis=1)

    def dense(self) -> str:
        """A fully connected layer."""
        kernel, bias = self._take(2)
        return self.add("Gemm", kernel, bias)

    def dense_prelu(self) -> str:
        """A fully connected layer and a PReLU with one slope a unit."""
        self.dense()
        return self.add("PRelu", self._take(1)[0])

    def face_probability(self, axis: int = 1) -> str:
        """The second of two classes, as a probability."""
        self.add("Softmax", axis=axis)
        return self.add("Gather", np.asarray(1), axis=axis)

    def patches(self, size_px: int) -> None:
        """Cut `boxes` out of the pictures, bilinearly, one sample a pixel, black outside."""
        self.nodes.append(
            helper.make_node(
                "RoiAlign",
                ["pixels", "boxes", "picture_of"],
                ["patches"],
                coordinate_transformation_mode="half_pixel",
                output_height=size_px,
                output_width=size_px,
                sampling_ratio=1,
                mode="avg",
            )
        )
        self.value = "patches"
        self.add("Sub", np.asarray(BLACK_TO_ZERO, np.float32))

    def graph(self, name: str, outputs: dict[str, int]) -> onnx.GraphProto:
        """The finished graph. outputs: value -> its number of dimensions."""
        if self.weights:
            raise AnnotateError(f"{name}: {len(self.weights)} arrays of mtcnn are left over")
        inputs = [("pixels", TensorProto.FLOAT, [None, 3, None, None])]
        if any("boxes" in node.input for node in self.nodes):
            inputs += [("boxes", TensorProto.FLOAT, [None, 4])]
            inputs += [("picture_of", TensorProto.INT64, [None])]
        starts = [helper.make_tensor_value_info(*each) for each in inputs]
        ends = [
            helper.make_tensor_value_info(value, TensorProto.FLOAT, [None] * dimensions)
            for value, dimensions in outputs.items()
        ]
        return helper.make_graph(self.nodes, name, starts, ends, self.tensors)

    def _take(self, count: int) -> list[npt.NDArray[np.float32]]:
        taken = self.weights[:count]
        del self.weights[:count]
        return taken


def _pnet(weights: Weights) -> onnx.GraphProto:
    """The network runs over whole pictures, so its layers are put as ONNX Runtime likes them: 10
    filters padded to 16 with zeros, and both heads as one convolution of five outputs.
    """
    first, bias, slope, second, *middle, offset_kernel, offset_bias, kernel, class_bias = weights
    filters = (0, _PNET_FILTERS - first.shape[-1])
    arrays = [
        np.pad(first, [(0, 0)] * 3 + [filters]),
        np.pad(bias, filters),
        np.pad(slope, [(0, 0)] * 2 + [filters]),
        np.pad(second, [(0, 0)] * 2 + [filters, (0, 0)]),
        *middle,
        # A softmax over two classes is the sigmoid of the difference of their logits.
        np.concatenate([offset_kernel, kernel[..., 1:] - kernel[..., :1]], axis=-1),
        np.concatenate([offset_bias, class_bias[1:] - class_bias[:1]]),
    ]
    # What is subtracted from each pixel goes into the first bias.
    arrays[1] -= arrays[0].sum(axis=(0, 1, 2)) * np.float32(BLACK_TO_ZERO)
    chain = _Chain(arrays)
    chain.conv_prelu(as_convs=True)
    chain.pool(2)
    chain.conv_prelu(as_convs=True)
    chain.conv_prelu()
    chain.conv()
    return chain.graph("pnet", {chain.value: 4})


def _rnet(weights: Weights) -> onnx.GraphProto:
    chain = _Chain(list(weights))
    chain.patches(RNET_PX)
    chain.conv_prelu()
    chain.pool(3)
    chain.conv_prelu()
    chain.pool(3, "VALID")
    chain.conv_prelu()
    return _with_heads(chain, "rnet", regressions=1)


def _onet(weights: Weights) -> onnx.GraphProto:
    chain = _Chain(list(weights))
    chain.patches(ONET_PX)
    chain.conv_prelu()
    chain.pool(3)
    chain.conv_prelu()
    chain.pool(3, "VALID")
    chain.conv_prelu()
    chain.pool(2)
    chain.conv_prelu()
    return _with_heads(chain, "onet", regressions=2)


def _with_heads(chain: _Chain, name: str, regressions: int) -> onnx.GraphProto:
    """Finish a graph: a dense layer, and on it so many linear heads and the faces' probability."""
    chain.flatten()
    trunk = chain.dense_prelu()
    outputs = {chain.branch(trunk).dense(): 2 for _ in range(regressions)}
    scores = chain.branch(trunk)
    scores.dense()
    return chain.graph(name, outputs | {scores.face_probability(): 1})
