"""The summary of a run: counts that add up, said in a few lines, and the exit code they mean."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from annotate.records import Status


@dataclass
class Tally:
    """What some inputs came to, in inputs by status and, if unsupported, by suffix; and in rows:
    faces and inputs without one. of_plan: inputs that the plan has. shapes: of the pictures that
    were decoded, see hints.Shape.
    """

    of_plan: int = 0
    rows: int = 0
    by_status: Counter[str] = field(default_factory=Counter)
    unsupported: Counter[str] = field(default_factory=Counter)
    shapes: Counter[str] = field(default_factory=Counter)

    @property
    def done(self) -> int:
        """Inputs that have their rows."""
        return sum(self.by_status.values())

    def add(self, other: Tally) -> None:
        """Count others too."""
        self.of_plan += other.of_plan
        self.rows += other.rows
        self.by_status.update(other.by_status)
        self.unsupported.update(other.unsupported)
        self.shapes.update(other.shapes)


@dataclass
class Summary(Tally):
    """What a run did. inputs: those known so far; archives tell what is in them as they are read,
    and is_total_known says whether there may be more; by_status sums to it once the run is
    complete. skipped: entries of folders, archives and lists by reason. remarks: those of the
    model, which are said when they come up. already: inputs that an earlier process did.
    """

    inputs: int = 0
    is_total_known: bool = True
    skipped: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    remarks: tuple[str, ...] = ()
    already: int = 0

    def take_up(self, tally: Tally) -> None:
        """Count what an earlier process did."""
        self.add(tally)
        self.already = self.done

    @property
    def rate(self) -> float:
        """Inputs a second, of this process."""
        return (self.done - self.already) / max(self.seconds, 1e-9)

    @property
    def failures(self) -> int:
        """Inputs whose status is a failure."""
        return sum(n for status, n in self.by_status.items() if Status(status).is_failure)

    @property
    def exit_code(self) -> int:
        """0 where all inputs went well, 3 where some failed."""
        return 3 if self.failures else 0

    def render(self) -> str:
        """The summary for a terminal, without a final newline."""
        before = f", {self.already:,} of them before," if self.already else ""
        lines = [
            f"{_count(self.done, 'input')}, {_count(self.rows, 'row')}"
            f"{before} in {self.seconds:.1f} s ({self.rate:,.0f} inputs/s)"
        ]
        order = [str(status) for status in Status]
        for status in sorted(self.by_status, key=order.index):
            lines.append(f"  {status:<12} {self.by_status[status]:>9,}")
        if self.unsupported:
            kinds = ", ".join(f"{suffix} {n:,}" for suffix, n in self.unsupported.most_common())
            lines.append(f"  unsupported by suffix: {kinds}")
        if self.skipped:
            reasons = ", ".join(f"{why} {n:,}" for why, n in self.skipped.most_common())
            lines.append(f"not inputs: {reasons}")
        return "\n".join(lines)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
