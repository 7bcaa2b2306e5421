"""The journal: what a run into one output has done so far, kept beside the output until it is done.

`.OUT.annotate` holds `run.json` (what the run is), `plan.arrow` (its inputs, frozen), `parts/`
(finished rows, a Parquet file each) and `journal.jsonl` (a line for each part that is on disk).
A part counts once its line is there; what a crash left besides is removed. docs/reliability.md
tells the order of the steps.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from annotate import durable, plan_files
from annotate.arrow_files import count_rows, parquet
from annotate.errors import AnnotateError, one_line
from annotate.locks import Lock
from annotate.parts import Part
from annotate.plan import Plan
from annotate.records import Cursor
from annotate.summary import Tally
from annotate.targets import hidden_files, standing, work_folder

FORMAT = 1
"""Of the work folder. Raised when its files change their meaning."""

HEADER = "run.json"
PLAN = "plan.arrow"
LINES = "journal.jsonl"
PARTS = "parts"
KNOWN = "known.bin"
REPLACED = "replaced"

PUBLISHING = {"publishing": True}
"""The last line: the output is whole in the work folder, or has its final name already."""


@dataclass(frozen=True)
class Committed:
    """A part that is on disk. skipped: what was passed over in archives until its end."""

    name: str
    size_bytes: int
    cursor: Cursor
    tally: Tally
    skipped: Counter[str]

    def line(self) -> dict[str, Any]:
        """As a line of the journal, JSON types."""
        return {
            "part": self.name,
            "bytes": self.size_bytes,
            "cursor": list(self.cursor),
            "rows": self.tally.rows,
            "of_plan": self.tally.of_plan,
            "by_status": dict(self.tally.by_status),
            "unsupported": dict(self.tally.unsupported),
            "shapes": dict(self.tally.shapes),
            "skipped": dict(self.skipped),
        }

    @staticmethod
    def of(line: dict[str, Any]) -> Committed:
        """From a line. Raises KeyError, TypeError, ValueError."""
        return Committed(
            str(line["part"]),
            int(line["bytes"]),
            Cursor(*map(int, line["cursor"])),
            Tally(
                int(line["of_plan"]),
                int(line["rows"]),
                Counter(line["by_status"]),
                Counter(line["unsupported"]),
                Counter(line.get("shapes", {})),  # which older versions did not count
            ),
            Counter(line["skipped"]),
        )


class Journal:
    """The work folder of an output, locked. A context manager.

    `header` is None where no run has been begun. Raises AnnotateError where another process has
    the folder, and OSError.
    """

    def __init__(self, target: Path) -> None:
        self.target = target
        self.folder = work_folder(target)
        self._lock = Lock(self.folder, str(target))
        try:
            self.header = self._read_header()
            self.parts: list[Committed] = []
            self.is_publishing = False
            if self.header is None:
                self.clear()  # what a crash left of a beginning, or of an end
            else:
                self._read_lines()
        except BaseException:
            self._lock.release()
            raise

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    @property
    def is_there(self) -> bool:
        """Whether the run is on disk as far as it was committed: nobody removed it meanwhile."""
        paths = [HEADER, PLAN, *(os.path.join(PARTS, part.name) for part in self.parts)]
        return all((self.folder / path).exists() for path in paths)

    @property
    def known(self) -> Path:
        """The file for the contents that an earlier output knows."""
        return self.folder / KNOWN

    @property
    def cursor(self) -> Cursor:
        """The place in the plan behind the last part."""
        return self.parts[-1].cursor if self.parts else Cursor()

    @property
    def tally(self) -> Tally:
        """What all parts came to."""
        whole = Tally()
        for part in self.parts:
            whole.add(part.tally)
        return whole

    @property
    def skipped(self) -> Counter[str]:
        """What was passed over in archives before the cursor."""
        return Counter(self.parts[-1].skipped) if self.parts else Counter()

    def begin(self, header: dict[str, Any], plan: Plan) -> None:
        """Begin a run; what the folder held is removed. Raises OSError."""
        self.clear()
        (self.folder / PARTS).mkdir()
        self.replan(header, plan)

    def replan(self, header: dict[str, Any], plan: Plan) -> None:
        """Give the run another plan, which begins with what is done. Raises OSError."""
        temporary = self.folder / f".{PLAN}.part"
        plan_files.save(plan, temporary)
        durable.rename(temporary, self.folder / PLAN)
        header = header | {"format": FORMAT, "plan": plan_files.digest(plan), "items": len(plan)}
        # Written last: without it, all else counts for nothing.
        durable.write_whole(self.folder / HEADER, json.dumps(header, indent=1).encode())
        self.header = header

    def plan(self) -> Plan:
        """The frozen plan. Raises AnnotateError."""
        assert self.header is not None
        plan = plan_files.load(self.folder / PLAN)
        if plan_files.digest(plan) != self.header["plan"]:
            raise AnnotateError(
                f"the plan in {self.folder} is not the one that the run began with:"
                " --overwrite starts again"
            )
        return plan

    def commit(self, part: Part, skipped: Counter[str]) -> None:
        """Have a part on disk, and note that it is there. Raises OSError."""
        name = f"part-{len(self.parts):05d}.parquet"
        temporary = self.folder / PARTS / f".{name}.part"
        with durable.new_file(temporary) as file:
            pq.write_table(part.table, file, compression="zstd")
        if count_rows(temporary) != part.tally.rows:
            raise AnnotateError(f"{temporary} does not hold what was written to it: a faulty disk?")
        durable.rename(temporary, self.folder / PARTS / name)
        size = (self.folder / PARTS / name).stat().st_size
        committed = Committed(name, size, part.cursor, part.tally, self.skipped + skipped)
        self._append(committed.line())
        self.parts.append(committed)

    def tables(self) -> Iterator[pa.Table]:
        """The rows of all parts, a row group at a time. Raises AnnotateError."""
        for part in self.parts:
            path = self.folder / PARTS / part.name
            try:
                with parquet(path) as file:
                    for group in range(file.num_row_groups):
                        yield file.read_row_group(group)
            except (OSError, pa.ArrowException) as error:
                raise AnnotateError(f"cannot read {path}: {one_line(error)}") from error

    def publish(self, made: Path) -> None:
        """Give the output, complete and on disk in the work folder, its final name, and leave.

        made: its file, or the folder of the parts. Raises OSError, and AnnotateError where the
        target is not what it was when the run began.
        """
        if not self.is_publishing:
            self._append(PUBLISHING)
            self.is_publishing = True
        self.check_target()
        if self.target.is_dir():  # which no rename replaces
            durable.rename(self.target, self.folder / REPLACED)
        durable.rename(made, self.target)
        self._give_back()
        self.clear()

    def check_target(self) -> None:
        """Make sure that nothing came to the target since the run began. Raises AnnotateError."""
        assert self.header is not None
        now = standing(self.target)
        # A crash may have come when the old output was away already. Older runs did not look.
        if now is not None and now != self.header.get("standing", now):
            raise AnnotateError(
                f"{self.target} is not what stood there when its run began: move it away, and the"
                " same command goes on"
            )

    def _give_back(self) -> None:
        """Files that hid beside the parts of a data set that was replaced stay beside the new."""
        replaced = self.folder / REPLACED
        if replaced.is_dir() and self.target.is_dir():
            for file in hidden_files(replaced):
                if not (self.target / file.name).exists():
                    durable.rename(file, self.target / file.name)

    def finish(self) -> bool:
        """Do what is left of a publication that a crash cut short. Returns whether there was any.

        Raises OSError, AnnotateError.
        """
        if not self.is_publishing:
            return False
        made = self.made
        is_there = made.exists()
        if is_there:
            self.publish(made)
        else:  # it had its name already
            self._give_back()
            self.clear()
        return True

    @property
    def made(self) -> Path:
        """Where the output is made: a data set is the folder of its parts."""
        assert self.header is not None
        is_folder = self.header["kind"] == "folder"
        return self.folder / PARTS if is_folder else self.folder / self.target.name

    def clear(self) -> None:
        """Remove all but the lock. Raises OSError."""
        # First what makes the rest count, so that a crash leaves no half of a run.
        (self.folder / HEADER).unlink(missing_ok=True)
        durable.flush_folder(self.folder)
        for entry in self.folder.iterdir():
            if entry.name == "lock":
                continue
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()
        self.header, self.parts, self.is_publishing = None, [], False

    def _append(self, line: dict[str, Any]) -> None:
        durable.append(self.folder / LINES, json.dumps(line).encode() + b"\n")

    def _read_header(self) -> dict[str, Any] | None:
        path = self.folder / HEADER
        try:
            header = json.loads(path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RecursionError) as error:
            raise AnnotateError(
                f"cannot read {path}: {one_line(error)}; remove {self.folder} to start again"
            ) from error
        if not isinstance(header, dict) or header.get("format") != FORMAT:
            raise AnnotateError(
                f"{self.folder} is of another version of annotate: finish the run with that one,"
                " or remove the folder to start again"
            )
        return header

    def _read_lines(self) -> None:
        """Read which parts are there. The first that is not, and all behind it, are forgotten."""
        lines = self.folder / LINES
        data = lines.read_bytes() if lines.exists() else b""
        raws = data.splitlines(keepends=True)
        if raws and _parsed(raws[-1]) == PUBLISHING:
            self.is_publishing = True  # parts may have moved already, and are not needed any more
            return
        whole = 0
        for raw in raws:
            part = self._existing(_parsed(raw))
            if part is None:
                break
            self.parts.append(part)
            whole += len(raw)
        if whole < len(data):
            with lines.open("rb+") as file:
                file.truncate(whole)
                os.fsync(file.fileno())
        self._remove_strangers()

    def _existing(self, line: dict[str, Any] | None) -> Committed | None:
        """The part of a line, if it is on disk as the line says."""
        try:
            part = Committed.of(line or {})
            path = self.folder / PARTS / Path(part.name).name
            is_there = path.stat().st_size == part.size_bytes
            if is_there and count_rows(path) == part.tally.rows:
                return part
        except (OSError, KeyError, TypeError, ValueError, pa.ArrowException):
            pass
        return None

    def _remove_strangers(self) -> None:
        """Remove what is in the folder of the parts, and is none."""
        named = {part.name for part in self.parts}
        with contextlib.suppress(FileNotFoundError):
            for entry in (self.folder / PARTS).iterdir():
                if entry.name not in named:
                    entry.unlink()


def finish_left(target: Path) -> None:
    """Do what is left of a publication that a crash cut short, before the target is looked at.

    Only then is there what it is to hold. Raises OSError, AnnotateError.
    """
    if (work_folder(target) / HEADER).exists():
        with Journal(target) as journal:
            journal.finish()


def _parsed(raw: bytes) -> dict[str, Any] | None:
    """A line of the journal, None where a crash cut it short."""
    try:
        line = json.loads(raw) if raw.endswith(b"\n") else None
    except (ValueError, RecursionError):
        return None
    return line if isinstance(line, dict) else None
