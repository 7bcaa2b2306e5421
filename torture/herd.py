"""Herd: many seeds on several processes in, what became of them out, whatever kills the processes.

A process that dies or hangs is one fault, of the seed that it was at; another one goes on behind.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torture.trials import CPU_LIMIT_S, Outcome

STARTUP_S = 300
WALL_LIMIT_S = 20 * CPU_LIMIT_S
"""Longest silence of a process before it is ended: it may be hanging without working, and a busy
machine is slow."""

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Fault:
    """Something that annotate did wrong. text: several lines, perhaps."""

    seed: int
    kind: str
    text: str


@dataclass
class KindFigures:
    """What became of the files of one format. slowest_ms: of CPU, and the seed that took it."""

    trials: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    slowest_ms: float = 0.0
    slowest_seed: int = 0


@dataclass
class Figures:
    """What became of all of them."""

    kinds: dict[str, KindFigures] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)

    @property
    def trials(self) -> int:
        """How many files there were."""
        return sum(figures.trials for figures in self.kinds.values())

    def add(self, outcome: Outcome) -> None:
        """Count one trial."""
        figures = self.kinds.setdefault(outcome.kind, KindFigures())
        figures.trials += 1
        figures.statuses.update(outcome.statuses)
        if outcome.cpu_ms > figures.slowest_ms:
            figures.slowest_ms, figures.slowest_seed = outcome.cpu_ms, outcome.seed
        self.faults += [Fault(outcome.seed, outcome.kind, text) for text in outcome.faults]


def run_trials(
    first: int,
    count: int,
    *,
    processes: int,
    try_one: str = "torture.trials:trial",
    silence_s: float = WALL_LIMIT_S,
    progress: Callable[[int], None] = lambda done: None,
) -> Figures:
    """Try the seeds first to first + count - 1. try_one: MODULE:FUNCTION, as torture.trials.trial.

    progress: told how many are done, now and then, from several threads.
    """
    figures = Figures()
    lock = threading.Lock()

    def shepherd(number: int) -> None:
        for outcome in _outcomes(first + number, first + count, processes, try_one, silence_s):
            with lock:
                figures.add(outcome)
                progress(figures.trials)

    with ThreadPoolExecutor(processes) as pool:
        for done in [pool.submit(shepherd, number) for number in range(processes)]:
            done.result()
    figures.faults.sort(key=lambda fault: fault.seed)
    return figures


def _outcomes(
    first: int, stop: int, step: int, try_one: str, silence_s: float
) -> Iterator[Outcome]:
    """The outcomes of first, first + step, ...; of a seed that ends its process, a fault."""
    seed = first
    while seed < stop:
        is_at: dict[str, Any] = {"seed": seed, "kind": "start"}
        with tempfile.TemporaryFile() as stderr:
            process = _started(seed, stop, step, try_one, stderr.fileno())
            with process, _Watchdog(process, silence_s) as watchdog:
                assert process.stdout is not None
                for line in process.stdout:
                    watchdog.feed()
                    is_at = json.loads(line)
                    if "statuses" in is_at:
                        seed = is_at["seed"] + step
                        yield Outcome(**is_at)
                process.wait()
            if process.returncode == 0 and seed >= stop:
                return
            stderr.seek(0)
            said = stderr.read().decode(errors="replace")[-2000:].strip()
        text = _ending(process.returncode, watchdog.has_bitten, silence_s)
        if seed > is_at["seed"] or is_at["kind"] == "start":
            raise RuntimeError(f"the process of trials {text} between two of them: {said}")
        yield Outcome(is_at["seed"], is_at["kind"], faults=[f"{text} {said}".strip()])
        seed = is_at["seed"] + step


def _started(first: int, stop: int, step: int, try_one: str, stderr: int) -> subprocess.Popen[str]:
    arguments = [*map(str, (first, stop, step)), try_one]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "torture.trials", *arguments],
        stdout=subprocess.PIPE, stderr=stderr, text=True, env=environment, cwd=ROOT,
    )  # fmt: skip


def _ending(code: int, was_silent: bool, silence_s: float) -> str:
    if was_silent:
        return f"hung: silent for {silence_s:g} s"
    if code == -signal.SIGPROF:
        return f"hung: more than {CPU_LIMIT_S} s of CPU"
    return f"crashed: {signal.Signals(-code).name if code < 0 else f'exit code {code}'}"


class _Watchdog:
    """Ends a process that has been silent for too long. A context manager."""

    def __init__(self, process: subprocess.Popen[str], silence_s: float) -> None:
        self.has_bitten = False
        self._process = process
        self._silence_s = silence_s
        self._timer = self._wound(max(STARTUP_S, silence_s))

    def __enter__(self) -> _Watchdog:
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        self._process.kill()  # no-op where it has ended

    def feed(self) -> None:
        """The process has said something."""
        self._timer.cancel()
        self._timer = self._wound(self._silence_s)

    def _wound(self, seconds: float) -> threading.Timer:
        timer = threading.Timer(seconds, self._bite)
        timer.daemon = True
        timer.start()
        return timer

    def _bite(self) -> None:
        self.has_bitten = True
        self._process.kill()
