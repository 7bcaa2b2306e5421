"""ONNX files that ask for terabytes or days: refused before anything of them is built."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tests.conftest import ROOT
from tests.onnx_graphs import floats, graph_of, numbers, outer_sum, refused, with_onnx, zeros


def _outer_product_of_images() -> onnx.ModelProto:
    """Harmless for one image (2 MB), 64 x 64 times as much for a batch of 64."""
    return graph_of(
        [
            floats(),
            helper.make_node("Reshape", ["x", "column"], ["a"]),
            helper.make_node("Reshape", ["x", "row"], ["b"]),
            helper.make_node("MatMul", ["a", "b"], ["age"]),
        ],
        [numbers("column", -1, 1), numbers("row", 1, -1)],
    )


def _doublings() -> onnx.ModelProto:
    """Beside itself, 40 times over."""
    names = ["x", *(f"x{i}" for i in range(39)), "age"]
    pairs = itertools.pairwise(names)
    return graph_of(
        [floats(), *(helper.make_node("Concat", [a, a], [b], axis=1) for a, b in pairs)]
    )


def _padded(pads: list[int]) -> onnx.ModelProto:
    return graph_of(
        [floats(), helper.make_node("Pad", ["x", "pads"], ["age"])], [numbers("pads", *pads)]
    )


def _convolved(**options: Any) -> onnx.ModelProto:
    return graph_of(
        [
            floats(),
            helper.make_node("Transpose", ["x"], ["y"], perm=[0, 3, 1, 2]),
            helper.make_node("Conv", ["y", "kernel"], ["age"], **options),
        ],
        [zeros("kernel", 8, 3, 3, 3)],
    )


def _large_pool() -> onnx.ModelProto:
    """Cheap in memory, 10^14 comparisons."""
    return graph_of(
        [
            floats(),
            helper.make_node("Transpose", ["x"], ["y"], perm=[0, 3, 1, 2]),
            helper.make_node("Pad", ["y", "pads"], ["wide"]),
            helper.make_node("MaxPool", ["wide"], ["age"], kernel_shape=[800, 800]),
        ],
        [numbers("pads", 0, 0, 500, 500, 0, 0, 500, 500)],
    )


def _gathered() -> onnx.ModelProto:
    """Whole rows of pixels, a million times."""
    return graph_of(
        [floats(), helper.make_node("Gather", ["x", "places"], ["age"], axis=1)],
        [zeros("places", 1_000_000, kind=np.int64)],
    )


def _computed_shape() -> onnx.ModelProto:
    """A shape that depends on the pixels."""
    return graph_of(
        [
            helper.make_node("Cast", ["pixels"], ["n"], to=TensorProto.INT64),
            helper.make_node("Reshape", ["n", "flat"], ["m"]),
            floats(),
            helper.make_node("Reshape", ["x", "m"], ["age"]),
        ],
        [numbers("flat", -1)],
    )


def _false_claim() -> onnx.ModelProto:
    """The same, with a shape that the file claims."""
    model = _computed_shape()
    model.graph.value_info.append(helper.make_tensor_value_info("m", TensorProto.INT64, [1]))
    return model


def _computed_pads() -> onnx.ModelProto:
    """A thousand times the picture on each of its sides."""
    return graph_of(
        [
            floats(),
            helper.make_node("Shape", ["x"], ["sides"]),
            helper.make_node("Mul", ["sides", "often"], ["much"]),
            helper.make_node("Concat", ["much", "much"], ["pads"], axis=0),
            helper.make_node("Pad", ["x", "pads"], ["age"]),
        ],
        [numbers("often", 0, 1000, 1000, 0)],
    )


def _words() -> onnx.ModelProto:
    return graph_of([helper.make_node("Cast", ["pixels"], ["age"], to=TensorProto.STRING)])


def _long_chain() -> onnx.ModelProto:
    names = ["x", *(f"x{i}" for i in range(100_000)), "age"]
    pairs = itertools.pairwise(names)
    return graph_of([floats(), *(helper.make_node("Relu", [a], [b]) for a, b in pairs)])


BOMBS: list[tuple[Callable[[], onnx.ModelProto], str]] = [
    (outer_sum, "for the outputs of its layers"),
    (_outer_product_of_images, "for the outputs of its layers"),
    (_doublings, "for the outputs of its layers"),
    (lambda: _padded([0, 0, 0, 0, 0, 10**6, 10**6, 0]), "for the outputs of its layers"),
    (lambda: _padded([0, 0, 0, 0, 0, 2**62, 2**62, 0]), "senseless sizes"),
    (lambda: _padded([0, 0, 0, 0, 0, -(2**62), -(2**63), 0]), "senseless sizes"),
    (lambda: _convolved(pads=[10**5] * 4), "for the outputs of its layers"),
    (lambda: _convolved(pads=[2**62] * 4), "senseless attributes"),
    (lambda: _convolved(dilations=[2**31, 2**31]), "."),
    (lambda: _convolved(group=0), "."),
    (lambda: _convolved(strides=[0, 0]), "."),
    (_large_pool, "multiplications"),
    (_gathered, "for the outputs of its layers"),
    (_computed_shape, "cannot be told beforehand"),
    (_false_claim, "cannot be told beforehand"),
    (_computed_pads, "cannot be told beforehand"),
    (_words, "other values than plain numbers"),
    (_long_chain, "100,002 operations, at most 5,000"),
]


@pytest.mark.parametrize(("bomb", "said"), BOMBS)
def test_what_asks_for_terabytes_or_days_is_refused(
    bomb: Callable[[], onnx.ModelProto], said: str
) -> None:
    assert said in refused(bomb())


@pytest.mark.skipif(sys.platform != "linux", reason="limits memory as Linux does")
def test_refusing_a_bomb_takes_little_memory(copy: Path, tmp_path: Path) -> None:
    """2 GiB of address space are what the imports take, and no more."""
    code = (
        "import resource, sys\n"
        "from annotate.errors import AnnotateError\n"
        "from annotate.model import load_model\n"
        "resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))\n"
        "try:\n"
        "    load_model(sys.argv[1], threads=1)\n"
        "except AnnotateError as error:\n"
        "    print(error)\n"
    )
    for bomb in (outer_sum, _doublings):
        folder = with_onnx(copy, bomb().SerializeToString())
        done = subprocess.run(
            [sys.executable, "-c", code, str(folder)],
            env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert "for the outputs of its layers" in done.stdout
