"""How long a run over very many files takes to begin, how much memory it needs, and how long it
takes to go on after it was stopped.

    python benchmarks/measure_start.py PICTURES --files 1000000

Makes a folder of so many hard links to the first pictures of PICTURES, in folders of 1,000, and
another of 1,000 links. Runs `annotate run` over both; the large run is stopped with SIGINT after
its first part, and the same command is started again. Seconds count from the start of the process
to the first part on disk (`started`) and to the next one (`resumed`). Memory is the highest sum
over the main process and its workers of their proportional set sizes, which count shared pages
once; Linux only.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from annotate.version import __version__

PART_SIZE = 512
PER_FOLDER = 1000
DISTINCT = 20
"""Files that are linked to: ext4 allows 65,000 links to one."""


def make_folder(folder: Path, pictures: list[Path], files: int) -> Path:
    """A tree of hard links, in folders of PER_FOLDER."""
    originals = folder.with_name(f"{folder.name}-originals")
    originals.mkdir(parents=True)
    for number, picture in enumerate(pictures):
        (originals / f"{number}{picture.suffix}").write_bytes(picture.read_bytes())
    sources = sorted(originals.iterdir())
    for number in range(files):
        if number % PER_FOLDER == 0:
            place = folder / f"{number // PER_FOLDER:04d}"
            place.mkdir(parents=True)
        source = sources[number % len(sources)]
        os.link(source, place / f"{number % PER_FOLDER:03d}{source.suffix}")
    return folder


class Measured:
    """A run, until something is so: seconds since its start, and the most memory seen."""

    def __init__(self, folder: Path, target: Path, model: str) -> None:
        self.started = time.monotonic()
        self.most_mb = 0.0
        self.process = subprocess.Popen(
            [
                sys.executable, "-m", "annotate", "run", str(folder), "-o", str(target), "--faces",
                "crop", "--model", model, "--part-size", str(PART_SIZE), "--quiet",
            ]
        )  # fmt: skip

    def until_parts(self, target: Path, count: int) -> float:
        """Seconds until an output has so many parts. Raises RuntimeError if the run ends first."""
        while parts(target) < count:
            if self.process.poll() is not None:
                raise RuntimeError(f"the run ended with {self.process.returncode}")
            self._look()
        return time.monotonic() - self.started

    def until_its_end(self) -> None:
        """Wait."""
        while self.process.poll() is None:
            self._look()

    def _look(self) -> None:
        self.most_mb = max(self.most_mb, memory_mb(self.process.pid))
        time.sleep(0.02)


def memory_mb(pid: int) -> float:
    """Proportional set size of a process and its descendants, MB."""
    total = 0.0
    for one in (pid, *descendants(pid)):
        try:
            text = Path(f"/proc/{one}/smaps_rollup").read_text("ascii")
        except OSError:  # it has ended
            continue
        total += next(float(x.split()[1]) for x in text.splitlines() if x.startswith("Pss:"))
    return total / 1000


def descendants(pid: int) -> list[int]:
    """Processes that a process started, and those that they started."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = [int(child) for child in task.read_text("ascii").split()]
        except OSError:
            continue
        found += children
        for child in children:
            found += descendants(child)
    return found


def parts(target: Path) -> int:
    """Parts that an unfinished output has."""
    return len(list((target.parent / f".{target.name}.annotate" / "parts").glob("part-*")))


def main() -> None:
    """Make the folders, run, and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--files", type=int, default=1_000_000)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--folder", type=Path, help="where the links are made; on the same disk")
    asked = parser.parse_args()
    pictures = sorted(path for path in asked.pictures.iterdir() if path.is_file())[:DISTINCT]
    with tempfile.TemporaryDirectory(dir=asked.folder) as name:
        work = Path(name)
        few = make_folder(work / "few", pictures, 1000)
        many = make_folder(work / "many", pictures, asked.files)
        target = work / "few.parquet"
        small = Measured(few, target, asked.model)
        small.until_its_end()
        print(f"annotate {__version__}, model {asked.model}, {DISTINCT} distinct files")
        print(f"1,000 files: {small.most_mb:,.0f} MB at most")
        target, done, before = work / "many.parquet", 0, ""
        for word in ("started", "resumed"):
            run = Measured(many, target, asked.model)
            seconds = run.until_parts(target, done + 1)
            run.process.send_signal(signal.SIGINT)
            run.until_its_end()
            done = parts(target)
            print(
                f"{asked.files:,} files {word}: first{before} part after {seconds:.1f} s;"
                f" {run.most_mb:,.0f} MB at most, {run.most_mb - small.most_mb:+,.0f};"
                f" {done} parts kept"
            )
            before = " further"


if __name__ == "__main__":
    main()
