"""Kills: a run that is killed at random instants, again and again, and still gives the same rows.

Each trial runs the real command into a fresh output, kills its whole process group with SIGKILL
after a random time, and repeats the command until it ends by itself. What stands at the final
name at any time must be readable; the rows at the end must be those of a run that nobody killed.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from annotate.errors import AnnotateError
from annotate.readers import read_table

PART_SIZE = 7
INPUTS = 90
KINDS = ("out.parquet", "data", "out.csv", "out.jsonl")
FROM_START, FROM_PLAN = 0.3, 0.2
"""Of the kills, the shares that come at any time from the start of the process, and from when its
plan is frozen; the others wait until a part is recorded. Most of so short a run's time goes into
its start."""

MAX_KILLS = 12
"""Of one trial; after so many its run is left in peace, so that every trial ends."""


@dataclass
class Figures:
    """What became of the trials. trials: outputs. kills: of processes that were running, by what
    they had done: see _stage. resumed: of the runs after a kill, those that found work done.
    faults: what went wrong.
    """

    trials: int = 0
    stages: Counter[str] = field(default_factory=Counter)
    resumed: int = 0
    seconds: float = 0.0
    faults: list[str] = field(default_factory=list)

    @property
    def kills(self) -> int:
        """How many processes were killed while they ran."""
        return self.stages.total()


def make_inputs(folder: Path, seed: int) -> list[Path]:
    """A folder of pictures, some broken, and an archive. Returns the SOURCEs."""
    numbers = np.random.default_rng(seed)
    photos = folder / "photos"
    for index in range(INPUTS):
        path = photos / f"{index % 5}" / f"{index:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = numbers.integers(0, 256, (24, 24, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
        if index % 13 == 0:
            path.write_bytes(path.read_bytes()[:60])
    archive = shutil.make_archive(str(folder / "more"), "zip", photos)
    return [photos, Path(archive)]


def run_trials(
    folder: Path,
    model: str,
    *,
    kills: int,
    seed: int,
    progress: Callable[[Figures], None] = lambda figures: None,
) -> Figures:
    """Kill runs until so many were killed. folder: empty, for all that is made."""
    figures = Figures()
    started = time.monotonic()
    sources = make_inputs(folder, seed)
    whole = _whole(folder, sources, model)
    chance = random.Random(seed)
    while figures.kills < kills and not figures.faults:
        _trial(folder, sources, model, whole, chance, figures)
        figures.trials += 1
        figures.seconds = time.monotonic() - started
        progress(figures)
    return figures


def _command(sources: list[Path], target: Path, model: str) -> list[str]:
    return [
        sys.executable, "-m", "annotate", "run", *map(str, sources), "-o", str(target),
        "--faces", "crop", "--model", model, "--batch-size", "4", "--workers", "2",
        "--part-size", str(PART_SIZE),
    ]  # fmt: skip


@dataclass(frozen=True)
class _Whole:
    """A run that nobody kills: its rows, and its seconds, of which `work_s` after the plan."""

    rows: pa.Table
    seconds: float
    work_s: float


def _whole(folder: Path, sources: list[Path], model: str) -> _Whole:
    target = folder / "whole.parquet"
    begins = _header(target)
    started = time.monotonic()
    process = subprocess.Popen(
        _command(sources, target, model), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    _wait_for(begins, process)
    planned = time.monotonic()
    _, said = process.communicate()
    if process.returncode != 3:  # broken pictures are among the inputs
        raise RuntimeError(f"exit code {process.returncode}: {said!r}")
    ended = time.monotonic()
    return _Whole(_rows(target), ended - started, ended - planned)


def _header(target: Path) -> Path:
    """The file of an output's work folder that is there once its plan is frozen."""
    return target.parent / f".{target.name}.annotate" / "run.json"


def _wait_for(path: Path, process: subprocess.Popen[Any]) -> None:
    """Until a file is there, or the process that is to make it has ended."""
    while not path.exists() and process.poll() is None:
        time.sleep(0.001)


def _rows(target: Path) -> pa.Table:
    """The rows of an output, without what formats differ in."""
    table = read_table(target).replace_schema_metadata()
    return table.cast(
        pa.schema(
            pa.field(f.name, f.type.value_type if pa.types.is_dictionary(f.type) else f.type)
            for f in table.schema
        )
    )


def _trial(
    folder: Path,
    sources: list[Path],
    model: str,
    whole: _Whole,
    chance: random.Random,
    figures: Figures,
) -> None:
    """One output, killed until its run gets to the end."""
    out = folder / "out"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    target = out / chance.choice(KINDS)
    killed = 0
    while True:
        begins, wait_s = None, None
        if killed < MAX_KILLS:
            begins, longest_s = _moment(target, whole, chance.random())
            wait_s = chance.uniform(0.0, longest_s)
        code, said = _run(_command(sources, target, model), wait_s, begins)
        if "going on: " in said:
            figures.resumed += 1
        if target.exists():
            fault = _difference(target, whole.rows)
            if fault:
                figures.faults.append(f"{target.name} after {killed} kills: {fault}")
                return
        if code == -signal.SIGKILL:
            killed += 1
            figures.stages[_stage(out, target)] += 1
            continue
        # A kill after the rename, and before the end: the next run may find all done.
        is_done = code == 3 or (code == 0 and "nothing to do" in said)
        is_text = killed and "exists: pass --overwrite" in said
        if not is_done and not is_text:
            figures.faults.append(f"exit code {code} after {killed} kills: {said[-2000:]}")
        elif not target.exists():
            figures.faults.append(f"no {target.name} after {killed} kills")
        elif [entry.name for entry in out.iterdir()] != [target.name]:
            figures.faults.append(f"left beside {target.name}: {sorted(os.listdir(out))}")
        return


def _moment(target: Path, whole: _Whole, drawn: float) -> tuple[Path | None, float]:
    """From when on a kill may come, None for the start of the process, and how long it waits at
    most, in seconds. drawn: 0 to 1.
    """
    header = _header(target)
    if drawn < FROM_START:
        return None, 1.3 * whole.seconds
    if drawn < FROM_START + FROM_PLAN:
        return header, whole.work_s
    return header.parent / "journal.jsonl", whole.work_s


def _stage(out: Path, target: Path) -> str:
    """What a run that was killed had done."""
    work = out / f".{target.name}.annotate"
    journal = work / "journal.jsonl"
    lines = journal.read_bytes() if journal.exists() else b""
    if target.exists():
        return "the output had its name"
    if not (work / "run.json").exists():
        return "before the plan was frozen"
    if not lines:
        return "before the first part"
    is_being_made = b"publishing" in lines or (work / target.name).exists()
    return "while the output was made" if is_being_made else "between parts"


def _run(command: list[str], wait_s: float | None, begins: Path | None = None) -> tuple[int, str]:
    """Run a command, and kill it and all that it started after a time. (exit code, stderr).

    begins: the file from whose appearance on the time counts.
    """
    process = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    if begins is not None:
        _wait_for(begins, process)
    try:
        _, said = process.communicate(timeout=wait_s)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        _, said = process.communicate()
    return process.returncode, said


def _difference(target: Path, expected: pa.Table) -> str:
    """What is wrong with an output that stands at its final name; empty where nothing is."""
    try:
        found = _rows(target)
    except AnnotateError as error:
        return str(error)
    if found.num_rows != expected.num_rows:
        return f"{found.num_rows} rows, expected {expected.num_rows}"
    for name in expected.schema.names:
        if found[name].to_pylist() != expected[name].to_pylist():
            return f"other values in {name}"
    return ""
