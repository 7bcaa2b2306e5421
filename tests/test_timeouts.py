"""Time limits in whole runs: real files that take too long, and what the command line says."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from annotate import AnnotateError
from annotate.cli.options import MAX_TIMEOUT_S, inference_options
from annotate.model import Model
from annotate.pipeline import prepare, run_table
from annotate.run_config import RunConfig
from tests import pictures
from tests.conftest import Invoke, draw

SLOW_PX = 8000
"""Side of a picture in which a search for the smallest faces takes many seconds."""


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three small pictures, and between them one of 9 KB and 64 million pixels."""
    folder = tmp_path / "photos"
    for name in ("a.png", "c.png", "d.png"):
        draw(folder / name, (200, 90, 40))
    rows = bytes(SLOW_PX * (1 + SLOW_PX // 8))
    (folder / "b.png").write_bytes(pictures.png((SLOW_PX, SLOW_PX), 1, 0, rows))
    return folder


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.long)])
def test_a_photograph_that_takes_too_long_is_a_timeout(
    photos: Path, fake_model: Model, workers: int
) -> None:
    assert (photos / "b.png").stat().st_size < 20_000
    config = RunConfig((str(photos),), detect_size="auto", timeout_s=1.5, workers=workers)
    result = run_table(config, model=fake_model)
    found = [(row["path"], row["status"], row["error"]) for row in result.table.to_pylist()]
    assert found == [
        ("a.png", "no_face", None),
        ("b.png", "timeout", "not decoded within 1.5 s"),
        ("c.png", "no_face", None),
        ("d.png", "no_face", None),
    ]
    assert result.summary.exit_code == 3
    assert result.summary.by_status == {"no_face": 3, "timeout": 1}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs FIFOs")
def test_a_fifo_that_took_a_file_s_place_holds_nothing_up(photos: Path, fake_model: Model) -> None:
    """It is no slow file, but none: nothing waits for its other end to be opened."""
    config = RunConfig((str(photos),), faces="crop", workers=2)
    run = prepare(config, model=fake_model)
    (photos / "b.png").unlink()
    os.mkfifo(photos / "b.png")
    rows = [row for batch in run.batches() for row in batch.to_pylist()]
    assert [row["status"] for row in rows] == ["ok", "unreadable", "ok", "ok"]
    assert rows[1]["error"] == "not a regular file"


@pytest.mark.parametrize("timeout_s", [0, -1, float("nan"), float("inf"), MAX_TIMEOUT_S + 1])
def test_a_limit_that_is_none_is_refused(timeout_s: float) -> None:
    with pytest.raises(AnnotateError, match=r"timeout_s must be above 0 .*, or None for no limit"):
        RunConfig(("x",), timeout_s=timeout_s)
    assert RunConfig(("x",), timeout_s=None).timeout_s is None


@pytest.mark.parametrize("command", ["run", "evaluate"])
@pytest.mark.parametrize("value", ["0", "-3", "inf", "soon"])
def test_the_command_line_refuses_it_too(
    command: str, value: str, faces: Path, invoke: Invoke
) -> None:
    code, _, err = invoke(command, str(faces), "--timeout-s", value)
    assert code == 2
    assert "--timeout-s" in err


def test_the_command_line_s_limit_is_that_of_python() -> None:
    options: Any = inference_options(lambda: None)
    defaults = {parameter.name: parameter.default for parameter in options.__click_params__}
    assert defaults["timeout_s"] == RunConfig(("x",)).timeout_s == 120
