"""Hostile names: that command a terminal or a spreadsheet, or cost time."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotate import read, resolve
from annotate.decoding import DecodeOptions
from annotate.face_options import FaceOptions
from annotate.names import is_archive_name, split_archive
from annotate.records import Source
from tests.conftest import Invoke, draw, one_line
from tests.kinds import plain
from tests.packing import make_zip
from tests.pictures import encoded
from tests.steps import limited_steps
from tests.trees import NAMES, POSIX

CROP = DecodeOptions(size_px=16)
DETECT = DecodeOptions(size_px=16, faces=FaceOptions())


def source_of(data: bytes) -> Source:
    return Source(0, "/in", "a.jpg", b"/in/a.jpg", len(data), 1, data=data)


@POSIX
def test_names_that_command_a_terminal_or_a_spreadsheet_command_neither(
    tmp_path: Path, fake_model_folder: Path, command: Callable[..., Any]
) -> None:
    """Whatever is said of a run is printable; in a CSV no cell begins as a formula does."""
    folder = tmp_path / "in"
    folder.mkdir()
    names = [*NAMES, b"=1+1.png", b"+1.png", b"@SUM(1).png", b"\t=1.png", b"\r=1.png"]
    for number, name in enumerate(names):
        path = folder / os.fsdecode(name)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(encoded(plain(), "PNG") if number % 2 else b"no picture")
    words = ("--faces", "crop", "--model", str(fake_model_folder), "--workers", "1")
    done = command("run", str(folder), "-o", str(tmp_path / "x.csv"), *words)
    assert done.returncode == 3
    assert all(line.isprintable() for line in done.stderr.split("\n"))
    rows = read(tmp_path / "x.csv").to_dict("records")
    assert sorted(os.fsencode(resolve(row)) for row in rows) == sorted(
        bytes(folder) + b"/" + name for name in names
    )
    with open(tmp_path / "x.csv", encoding="utf-8", newline="") as file:
        cells = [cell for row in csv.DictReader(file) for name, cell in row.items()
                 if name in ("source", "path", "error")]  # fmt: skip
    assert len(cells) == 3 * len(names)
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]


def test_a_path_that_is_all_marks_of_archives_takes_no_time(tmp_path: Path) -> None:
    """A megabyte of them in a list took over a minute."""
    with limited_steps(500_000):
        assert split_archive(b"a.zip!/" * 150_000) is None
    make_zip(tmp_path / "b.zip", {b"a.png": b""})
    path = bytes(tmp_path / "b.zip")
    assert split_archive(path + b"!/" + b"a.zip!/" * 1000) == (path, b"a.zip!/" * 1000)


@given(st.text(max_size=5), st.sampled_from([".zip", ".TAR", ".tar.gz", ".TgZ", ".gz", "zip", ""]))
def test_archives_are_known_by_the_end_of_their_names_alone(start: str, end: str) -> None:
    name = start + end
    expected = name.lower().endswith((".zip", ".tar", ".tar.gz", ".tgz"))
    assert is_archive_name(name.encode("utf-8", "surrogatepass")) == expected


@POSIX
@pytest.mark.parametrize("name", NAMES)
def test_names_in_messages_are_printable(name: bytes, tmp_path: Path, invoke: Invoke) -> None:
    """A SOURCE that is not there, and an output that cannot be."""
    gone = str(tmp_path / os.fsdecode(name))
    code, out, err = invoke("run", gone, "-o", str(tmp_path / "x.csv"))
    assert (code, out) == (1, "")
    assert "no such file" in one_line(err) or "no file matches" in one_line(err)
    if len(name) < 250:  # a system takes no longer ones, with a suffix
        draw(tmp_path / "a.png", (1, 2, 3))
        code, out, err = invoke("run", str(tmp_path / "a.png"), "-o", gone + ".xyz")
        assert (code, out) == (1, "")
        one_line(err)


@POSIX
@pytest.mark.parametrize("name", [b"a\xff.parquet", b"file:x.csv"])
def test_outputs_of_any_name_are_written_and_read(
    tmp_path: Path, faces: Path, fake_model_folder: Path, command: Callable[..., Any], name: bytes
) -> None:
    """Arrow takes some names for addresses, and knows no name that is not UTF-8."""
    target = tmp_path / os.fsdecode(name)
    words = ("--faces", "crop", "--model", str(fake_model_folder), "--part-size", "6")
    done = command("run", str(faces), "-o", str(target), *words, errors="surrogateescape")
    assert done.returncode == 0, done.stderr
    assert read(target).path.to_list() == [f"{i:02d}.png" for i in range(20)]
    if name.endswith(b".parquet"):
        again = command("run", str(faces), "-o", str(target), "--update", *words)
        assert again.returncode == 0, again.stderr
