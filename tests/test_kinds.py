"""A folder with one file of each kind and each fault: a row each, and exit code 3."""

from __future__ import annotations

import csv
import os
import re
import subprocess
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.kinds import all_kinds, make_kinds

pytestmark = pytest.mark.skipif(os.name != "posix", reason="pipes and links need POSIX")

TOLERANCE = 3.0
"""Levels of 255 by which a lossy format may change a plain colour."""


@dataclass(frozen=True)
class Finished:
    """A run over every file. expected: the status of each row, by name. rows: by name."""

    expected: dict[str, str]
    code: int
    said: list[str]
    paths: list[str]
    rows: dict[str, dict[str, str]]


@pytest.fixture(scope="module")
def finished(
    tmp_path_factory: pytest.TempPathFactory,
    command: Callable[..., subprocess.CompletedProcess[str]],
    fake_model_folder: Path,
) -> Finished:
    folder = tmp_path_factory.mktemp("kinds")
    expected = make_kinds(folder / "in")
    model = ("--faces", "crop", "--model", str(fake_model_folder), "--workers", "2")
    done = command("run", str(folder / "in"), "-o", str(folder / "out.csv"), *model)
    assert done.stdout == ""
    with open(folder / "out.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    paths = [row["path"] for row in rows]
    by_name = dict(zip(paths, rows, strict=True))
    return Finished(expected, done.returncode, done.stderr.splitlines(), paths, by_name)


def test_every_file_has_one_row_and_its_status(finished: Finished) -> None:
    assert finished.paths == sorted(finished.expected)
    statuses = {name: row["status"] for name, row in finished.rows.items()}
    assert statuses == finished.expected
    assert finished.code == 3


def test_every_file_without_a_picture_says_why_in_one_line(finished: Finished) -> None:
    for name, row in finished.rows.items():
        if row["status"] == "ok":
            assert row["error"] == "", name
        else:
            assert row["error"].isprintable(), name
            assert 5 <= len(row["error"]) <= 200, name
            assert "0x" not in row["error"], name


@pytest.mark.parametrize("name", [name for name, kind in all_kinds().items() if kind.colour])
def test_every_kind_shows_its_colour(name: str, finished: Finished) -> None:
    """The fake model's age is the mean level / 2.55, its female_probability is red / 255."""
    colour, row = all_kinds()[name].colour, finished.rows[name]
    assert colour is not None
    assert abs(float(row["age"]) * 2.55 - sum(colour) / 3) <= TOLERANCE
    assert abs(float(row["female_probability"]) * 255 - colour[0]) <= TOLERANCE


def test_sizes_are_those_of_the_upright_picture(finished: Finished) -> None:
    sizes = {name: (row["width"], row["height"]) for name, row in finished.rows.items()}
    assert sizes["baseline.jpg"] == ("48", "32")
    assert sizes["turned.jpe"] == ("32", "48")
    assert sizes["empty.jpg"] == ("", "")


def test_the_summary_adds_up(finished: Finished) -> None:
    counted = [re.fullmatch(r"  (\w+) +(\d+)", line) for line in finished.said]
    by_status = {match[1]: int(match[2]) for match in counted if match}
    assert by_status == Counter(finished.expected.values())
    by_suffix = Counter(
        os.path.splitext(name)[1].lower()
        for name, status in finished.expected.items()
        if status == "unsupported"
    )
    said = ", ".join(f"{suffix} {n}" for suffix, n in by_suffix.most_common())
    assert f"  unsupported by suffix: {said}" in finished.said
    assert "not inputs: not a regular file 1" in finished.said


def test_nothing_but_the_run_s_own_lines_is_said(finished: Finished) -> None:
    """libtiff, libjpeg and others print on their own account; none of that may show."""
    own = r"  \w+ +\d+|  unsupported by suffix: .+|not inputs: .+|\d+ inputs, .+|wrote .+"
    assert [line for line in finished.said if not re.fullmatch(own, line)] == []
