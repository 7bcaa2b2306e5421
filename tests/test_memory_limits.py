"""Memory that really runs out: the kernel limits the addresses that a process may use."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from onnx import helper

import annotate
from tests.conftest import ROOT
from tests.model_folders import folder_of
from tests.networks import FACES, SCALES, Weights, heads, keras_network, network

limited = pytest.mark.skipif(sys.platform != "linux", reason="needs RLIMIT_AS and /proc")

LIMIT = """
import resource
from pathlib import Path

def leave(mib):
    '''Let this process have so much more memory than it has.'''
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + mib * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
"""

LIMITED_FACES = FACES[:40]

PREDICT = """
import json, sys
import numpy as np
from annotate.model import load_model

folder, engine, mib = sys.argv[1], sys.argv[2], int(sys.argv[3])
model = load_model(folder, engine=engine, device="cpu", batch_size=32, threads=1)
faces = np.random.default_rng(5).integers(0, 256, (60, 16, 16, 3), np.uint8)[:40]
model._batches.engine.run(faces[:1])  # starts threads, whose stacks take addresses too
leave(mib)
found = model.predict(faces)
print(json.dumps([found.age.tolist(), found.female_probability.tolist(), model.remarks]))
"""

COMMAND = """
import annotate.model

load = annotate.model.load_model

def load_and_limit(*arguments, **options):
    model = load(*arguments, **options)
    leave(450)
    return model

annotate.model.load_model = load_and_limit
from annotate.cli import main
main()
"""

MIB_PER_FACE = 16


def _wide() -> bytes:
    """Mean pixel to age, by way of 16 MiB for each face."""
    nodes = [
        helper.make_node("Reshape", ["x", "flat"], ["pixel"]),
        helper.make_node("Mul", ["pixel", "ones"], ["copies"]),
        helper.make_node("ReduceMax", ["copies", "copied"], ["each"], keepdims=0),
        helper.make_node("ReduceMean", ["each", "last"], ["mean"], keepdims=1),
        *heads("mean"),
    ]
    copies = MIB_PER_FACE * 2**20 // (16 * 16 * 3 * 4)
    weights: Weights = {
        "flat": np.array([0, -1, 1]),
        "ones": np.ones((1, 1, copies), np.float32),
        "copied": np.array([2]),
        "last": np.array([1]),
        **SCALES,
    }
    return network(nodes, weights)


@pytest.fixture(scope="module")
def wide_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that needs 16 MiB for each face."""
    return folder_of(tmp_path_factory.mktemp("wide") / "wide", {"model.onnx": _wide()}, 16, None)


def _python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run code that may call `leave`, in a process of its own, with few addresses to spare."""
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        # One heap for all threads: each takes 64 MiB of addresses. Arrow would reserve 1 GiB.
        "MALLOC_ARENA_MAX": "1",
        "ARROW_DEFAULT_MEMORY_POOL": "system",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "TF_NUM_INTRAOP_THREADS": "1",
        # On some processors its kernels end the process where there is no memory for them.
        "TF_ENABLE_ONEDNN_OPTS": "0",
    }
    # JAX sets this where it is imported.
    environment.pop("TF_CPP_MIN_LOG_LEVEL", None)
    return subprocess.run(
        [sys.executable, "-c", LIMIT + code, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )


def _predicted(folder: Path, engine: str, mib: int) -> tuple[list[float], list[float], list[str]]:
    done = _python(PREDICT, str(folder), engine, str(mib))
    assert (done.returncode, done.stderr) == (0, "")
    age, female, remarks = json.loads(done.stdout)
    return age, female, remarks


@limited
def test_onnx_runtime_without_memory_goes_on_with_smaller_batches(wide_folder: Path) -> None:
    # 32 faces take 512 MiB, 16 take 256, 8 take 128.
    age, female, remarks = _predicted(wide_folder, "onnx", 200)
    assert remarks == ["out of memory with batches of 32 faces: going on with 8"]
    means = LIMITED_FACES.mean((1, 2, 3))
    assert age == pytest.approx(means / 2.55, abs=0.01)
    assert female == pytest.approx(means / 255, abs=1e-4)


@limited
def test_tensorflow_without_memory_goes_on_with_smaller_batches(tmp_path: Path) -> None:
    channels = MIB_PER_FACE * 2**20 // (16 * 16 * 4)
    keras_network(channels, None).save(tmp_path / "model.keras")
    files = {"model.keras": (tmp_path / "model.keras").read_bytes()}
    folder = folder_of(tmp_path / "wide", files, 16, None)
    age, female, remarks = _predicted(folder, "keras", 200)
    assert len(remarks) == 1
    said, size = remarks[0].rsplit(" ", 1)
    assert said == "out of memory with batches of 32 faces: going on with"
    assert int(size) in (1, 2, 4, 8)
    brightest = LIMITED_FACES.mean(-1).max((1, 2)) / 255
    assert age == pytest.approx(100 * brightest, abs=0.01)
    assert female == pytest.approx(brightest, abs=1e-4)


@limited
def test_the_command_says_it_once_and_at_once(wide_folder: Path, faces: Path) -> None:
    arguments = [
        "run",
        str(faces),
        "--faces",
        "crop",
        "--model",
        str(wide_folder),
        "--workers",
        "1",
    ]
    done = _python(COMMAND, *arguments, "--engine", "onnx", "-o", str(faces.parent / "out.parquet"))
    assert done.returncode == 0, done.stderr
    said = "out of memory with batches of 64 faces: going on with 16"
    assert done.stderr.count("memory") == 1
    lines = done.stderr.splitlines()
    assert lines.index(said) < next(i for i, line in enumerate(lines) if "20 rows" in line)
    rows = annotate.read(faces.parent / "out.parquet")
    assert rows["age"].tolist() == pytest.approx(
        [(255 + 10 * i) / 3 / 2.55 for i in range(20)], abs=0.01
    )
