"""Fixtures: drawn pictures, and a tiny real model whose predictions can be worked out by hand."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from PIL import Image

from annotate.cli import main
from annotate.model import Model, load_model

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from annotate import EvaluationReport
    from tests.browsers import Seen

ROOT = Path(__file__).resolve().parents[1]
REAL_DATA = ROOT.parent / "shared" / "data"
FAKE_SIZE_PX = 16

FIRST = (
    "journal", "examples", "export", "docs", "paired", "fuzz", "review_page", "workers", "pool",
    "report_page", "deadlines", "exports_run", "doctor", "kills", "faces", "scan", "evaluation",
    "pipeline", "interrupts",
)  # fmt: skip

Invoke = Callable[..., tuple[int, str, str]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """First the tests that fork by the hundred: it costs as much as the process has in memory.
    Then those that take long, so that processes which share the tests end at about the same time.
    """
    place = {f"test_{name}.py": number for number, name in enumerate(FIRST)}
    items.sort(key=lambda item: place.get(item.path.name, len(FIRST)))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real faces; the test is skipped where it is absent."""
    if not REAL_DATA.is_dir():
        pytest.skip("real faces (../shared/data) are not on this machine")
    return REAL_DATA


@pytest.fixture(scope="session")
def fake_model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder whose age is the mean pixel / 2.55 and whose female_probability is the
    mean red / 255. Age 0 is black, 100 is white.
    """
    folder = tmp_path_factory.mktemp("models") / "fake"
    folder.mkdir()
    (folder / "model.onnx").write_bytes(_fake_graph().SerializeToString())
    (folder / "card.md").write_text("# fake\n", "utf-8")
    files = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.iterdir())}
    info = {
        "schema_version": 1,
        "preprocessing_version": 1,
        "name": "fake",
        "input": {"size_px": FAKE_SIZE_PX, "colours": "RGB"},
        "heads": {"age": {"kind": "regression"}, "gender": {"positive": "female"}},
        "calibration": {"age_temperature": 1.0, "gender_temperature": 1.0},
        "files": files,
    }
    (folder / "model.json").write_text(json.dumps(info), "utf-8")
    return folder


@pytest.fixture
def copy(fake_model_folder: Path, tmp_path: Path) -> Path:
    """A copy of the fake model's folder that a test may spoil."""
    return Path(shutil.copytree(fake_model_folder, tmp_path / "copy"))


def _fake_graph() -> onnx.ModelProto:
    """pixels (N, S, S, 3) uint8 -> age (N, 1) years, gender (N, 1) probability."""

    def constant(name: str, values: Any, kind: Any) -> onnx.TensorProto:
        return onnx.numpy_helper.from_array(np.asarray(values, kind), name)

    nodes = [
        helper.make_node("Cast", ["pixels"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["float", "space"], ["rgb"], keepdims=0),
        helper.make_node("ReduceMean", ["rgb", "colours"], ["gray"], keepdims=1),
        helper.make_node("Div", ["gray", "per_year"], ["age"]),
        helper.make_node("Gather", ["rgb", "red"], ["reds"], axis=1),
        helper.make_node("Div", ["reds", "white"], ["gender"]),
    ]
    side = FAKE_SIZE_PX
    graph = helper.make_graph(
        nodes,
        "fake",
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["N", side, side, 3])],
        [
            helper.make_tensor_value_info("age", TensorProto.FLOAT, ["N", 1]),
            helper.make_tensor_value_info("gender", TensorProto.FLOAT, ["N", 1]),
        ],
        [
            constant("space", [1, 2], np.int64),
            constant("colours", [1], np.int64),
            constant("per_year", 2.55, np.float32),
            constant("red", [0], np.int64),
            constant("white", 255.0, np.float32),
        ],
    )
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9, producer_name="tests"
    )


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of 23 inputs, good and bad, and of files that are none."""
    from tests.whole_runs import make_photos  # which draws with what is below

    return make_photos(tmp_path / "photos")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """An empty folder for outputs."""
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


@pytest.fixture
def invoke_rows(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], fake_model_folder: Path
) -> Callable[..., tuple[int, list[dict[str, Any]], str]]:
    """`annotate run` on crops, in this process, with CSV read back: see whole_runs.invoker."""
    from tests.whole_runs import invoker

    return invoker(monkeypatch, capsys, fake_model_folder)


@pytest.fixture
def fake_model(fake_model_folder: Path) -> Model:
    """The fake model, loaded with batches of 8."""
    return load_model(fake_model_folder, batch_size=8)


@pytest.fixture(scope="session")
def forty_report(tmp_path_factory: pytest.TempPathFactory) -> tuple[EvaluationReport, Path]:
    """The evaluation of the forty faces of labelled_folders, and its report's folder."""
    from tests.labelled_folders import forty, scored

    folder = tmp_path_factory.mktemp("forty")
    return scored(folder, forty(), report_dir=folder / "r" / "new"), folder / "r" / "new"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """The installed browser, headless. Of a module: while it is open, asyncio cannot be used."""
    from tests.browsers import browser

    with browser() as opened:
        yield opened


@pytest.fixture
def seen(chromium: Browser) -> Iterator[Seen]:
    """A page of 1280 x 900 px and what happens in it: `seen.page`, see browsers.Seen."""
    from tests.browsers import watched

    with watched(chromium) as page:
        yield page


def draw(path: Path, colour: tuple[int, int, int], size: tuple[int, int] = (32, 32)) -> Path:
    """Save a picture of one colour; the suffix decides the format."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)
    return path


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    """A folder of 20 drawn "faces" of rising brightness: face i is gray 10 i, red 255 - 10 i."""
    for i in range(20):
        draw(tmp_path / "faces" / f"{i:02d}.png", (255 - 10 * i, 10 * i, 10 * i))
    return tmp_path / "faces"


@pytest.fixture(scope="session")
def command() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run `annotate` in a process of its own, as a user would."""

    def run(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {"PYTHONPATH": str(ROOT)} | options.pop("env", {})
        return subprocess.run(
            [sys.executable, "-m", "annotate", *arguments],
            capture_output=True,
            text=True,
            timeout=300,
            env=environment,
            **options,
        )

    return run


@pytest.fixture
def invoke(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Invoke:
    """Run `annotate` in this process: (exit code, stdout, stderr)."""

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["annotate", *arguments])
        with pytest.raises(SystemExit) as caught:
            main()
        out, err = capsys.readouterr()
        code = caught.value.code
        assert isinstance(code, int)
        assert "Traceback" not in out + err
        return code, out, err

    return run


@pytest.fixture
def crop(fake_model_folder: Path) -> list[str]:
    """Options for labelling drawn faces with the fake model."""
    return ["--faces", "crop", "--model", str(fake_model_folder), "--workers", "1"]


@pytest.fixture
def on_path(tmp_path: Path) -> dict[str, str]:
    """An environment in which a shell finds `annotate`, that of this checkout."""
    program = tmp_path / "bin" / "annotate"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m annotate "$@"\n')
    program.chmod(0o755)
    paths = os.pathsep.join([str(program.parent), os.environ.get("PATH", os.defpath)])
    return {"PATH": paths, "PYTHONPATH": str(ROOT), "HOME": str(tmp_path), "TERM": "dumb"}


def one_line(err: str) -> str:
    """The message on stderr, which must be a single printable line."""
    assert err.endswith("\n")
    line = err[:-1]
    assert line.isprintable()
    assert line.startswith("annotate: ")
    return line
