"""Tally: what went into an export and what was left out, by reason; lines for people, exit code."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import Enum

from annotate.errors import shown


class Reason(Enum):
    """Why an input, or a face of one, is not in an export.

    text: what follows "3 inputs" or "3 faces". is_fault: whether it was to be there; the exit code
    is 3 then. is_of_faces: whether faces are counted.
    """

    NO_FACE = ("without a face",)
    FAILED = ("that annotate run could not read",)
    UNSUPPORTED = ("of a kind that is not decoded",)
    DUPLICATE = ("identical to another one",)
    IN_ARCHIVE = ("in an archive, which other tools do not open",)
    EXISTS = ("with a file in the sidecar's place; --overwrite replaces it",)
    NO_GENDER = ("without a gender", False, True)
    TOLD_TWICE = ("in a second row with the same number", False, True)
    NO_BOX = ("whose box is none", True, True)
    NO_SIZE = ("whose row lacks the size of the picture", True)
    BAD_PATH = ("whose row has no path of a file", True)
    NOT_UTF8 = ("with a name that is not UTF-8, which JSON cannot hold", True)
    GONE = ("that cannot be opened any more", True)
    CHANGED = ("whose file is not the one that was labelled any more", True)
    UNREADABLE = ("whose orientation cannot be read", True)
    CLASH = ("whose sidecar would have the name of another one's", True)
    BLOCKED = ("with something else in the sidecar's place", True)
    BAD_NAME = ("with a name that the target cannot hold", True)

    def __init__(self, text: str, is_fault: bool = False, is_of_faces: bool = False) -> None:
        self.text = text
        self.is_fault = is_fault
        self.is_of_faces = is_of_faces

    def counted(self, number: int) -> str:
        """Such as `3 inputs without a face`."""
        return f"{count(number, 'face' if self.is_of_faces else 'input')} {self.text}"


@dataclass
class Tally:
    """Counts of an export. first: by reason, the `path` of the first input that was left out."""

    inputs: int = 0
    faces: int = 0
    left_out: Counter[Reason] = field(default_factory=Counter)
    first: dict[Reason, str] = field(default_factory=dict)

    def leave_out(self, reason: Reason, path: str) -> None:
        """Count an input or a face that is left out. path: of its row."""
        self.left_out[reason] += 1
        self.first.setdefault(reason, path)

    @property
    def seen(self) -> int:
        """Inputs that are accounted for."""
        reasons = self.left_out.items()
        return self.inputs + sum(count for reason, count in reasons if not reason.is_of_faces)

    @property
    def exit_code(self) -> int:
        """0, or 3 where something was to be exported and could not."""
        return 3 if any(reason.is_fault for reason in self.left_out) else 0

    def render(self) -> str:
        """What was left out, a line a reason, without a final newline; empty where nothing was."""
        return "\n".join(
            f"left out: {reason.counted(self.left_out[reason])}"
            f" (first: {shown(self.first[reason], 120, quote=False)})"
            for reason in Reason
            if self.left_out[reason]
        )


def count(number: int, noun: str) -> str:
    """Such as `1 face` and `2 faces`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
