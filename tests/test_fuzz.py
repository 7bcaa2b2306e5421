"""Fuzzing: thousands of damaged files of every format, of which none may do more than fail.

`make torture` does the same at length. A fault names its seed, and the command that repeats it.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import features

from annotate.archives import Archive
from annotate.decoding import DecodeOptions, decode_source
from annotate.face_options import FaceOptions
from annotate.images import FORMATS, SUFFIXES
from annotate.records import Face, Facts, Failure, Sample, Source, Status
from annotate.selection import ScanOptions, Selection
from tests.conftest import ROOT
from tests.kinds import HAS_HEIF
from tests.sabotage import GOOD
from torture.__main__ import table
from torture.herd import Figures, run_trials
from torture.mutations import mutated
from torture.seeds import ARCHIVES, seeds
from torture.trials import faults

pytestmark = pytest.mark.skipif(os.name != "posix", reason="limits processes as POSIX does")

COUNT = 5000
NEEDED = {"WEBP": "webp", "AVIF": "avif", "JPEG2000": "jpg_2000"}
"""What Pillow has to be built with for a format."""


@pytest.fixture(scope="module")
def figures() -> Figures:
    return run_trials(0, COUNT, processes=2)


def test_no_damaged_file_does_more_than_fail(figures: Figures) -> None:
    said = [
        f"seed {fault.seed} ({fault.kind}): {fault.text}\n"
        f"again: python -m torture mutations --seed {fault.seed} --count 1"
        for fault in figures.faults
    ]
    assert not said, "\n".join(said)


def test_every_format_was_tried_and_some_files_survived(figures: Figures) -> None:
    """Damage that breaks all files would test nothing but the first check of each parser."""
    assert figures.trials == COUNT >= 5000
    assert figures.kinds.keys() == seeds().keys()
    for kind, of_kind in figures.kinds.items():
        assert of_kind.trials > COUNT / len(seeds()) / 2, kind
        whole = of_kind.statuses["ok"] + of_kind.statuses["no_face"]
        assert whole >= 20, kind
        assert of_kind.statuses["decode_error"] >= 20, kind
    assert {"ok", "no_face", "decode_error", "too_large"} <= {
        status for of_kind in figures.kinds.values() for status in of_kind.statuses
    }


def test_the_table_adds_up(figures: Figures) -> None:
    lines = table(figures).splitlines()
    files = {line[:10].strip(): int(line[10:19]) for line in lines[1:]}
    assert files.pop("all") == sum(files.values()) == COUNT
    assert files.keys() == figures.kinds.keys()


def test_there_are_whole_files_of_every_format() -> None:
    absent = {kind for kind, name in NEEDED.items() if not features.check(name)}
    expected = {*FORMATS, "MPO", *ARCHIVES, *(["HEIF"] if HAS_HEIF else [])} - absent
    assert seeds().keys() == expected
    for kind in expected - {*ARCHIVES}:
        statuses = Counter(_decoded(data, DecodeOptions(16)) for data in seeds()[kind])
        assert statuses["ok"] >= len(seeds()[kind]) - 2, (kind, statuses)  # LAB has no RGB


def test_the_portraits_among_them_have_a_face() -> None:
    """So that the whole of the detector sees damaged files."""
    options = DecodeOptions(16, faces=FaceOptions())
    found = [_decoded(data, options) for kind in ("JPEG", "WEBP") for data in seeds()[kind]]
    assert found.count("ok") == 2
    assert found.count("no_face") == len(found) - 2


@pytest.mark.parametrize("kind", ARCHIVES)
def test_all_members_of_the_archives_among_them_are_read(kind: str, tmp_path: Path) -> None:
    for number, data in enumerate(seeds()[kind]):
        path = tmp_path / f"{number}.{kind.lower()}"
        path.write_bytes(data)
        source = Source(0, "", path.name, bytes(path), len(data), 0, is_archive=True)
        archive = Archive(source, Selection(ScanOptions(SUFFIXES)))
        members = list(archive)
        assert len(members) >= 3
        assert all(member.failure is None for member in members)
        assert sum(archive.skipped.values()) == 1  # a folder, or a link


def _decoded(data: bytes, options: DecodeOptions) -> str:
    sample = decode_source(Source(0, "", "x", b"", None, None, data=data), options)
    if sample.failure is not None:
        return str(sample.failure.status)
    return "ok" if sample.faces else "no_face"


def test_a_seed_stands_for_the_same_file_in_every_process() -> None:
    program = (
        "import hashlib, sys; from torture.mutations import mutated\n"
        "for i in range(300): print(hashlib.sha256(mutated(i)[1]).hexdigest())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT,
        env=os.environ | {"PYTHONHASHSEED": "7"},
    )  # fmt: skip
    hashes = [hashlib.sha256(mutated(i)[1]).hexdigest() for i in range(300)]
    assert done.stdout.split() == hashes
    assert len(set(hashes)) > 290


@pytest.mark.long
def test_nothing_that_goes_wrong_in_a_trial_goes_unnoticed() -> None:
    """Crashes, exceptions, hangs of two kinds, output, early ends: each names its seed, and all
    other seeds are tried.
    """
    figures = run_trials(0, 100, processes=2, try_one="tests.sabotage:trial", silence_s=8)
    said = {fault.seed: fault.text for fault in figures.faults}
    assert said.keys() == {1, 3, 5, 7, 9, 11, 13, 15, 17, 19}
    assert said[1].startswith("crashed: SIGSEGV")
    assert "ZeroDivisionError: an exception that nobody caught" in said[3]
    assert said[5].startswith("hung: more than 10 s of CPU")
    assert said[7].startswith("hung: silent for 8 s")
    assert said[9] == "printed b'libsomething: a warning\\n'"
    assert said[11] == "printed b'\\x1b[2J\\n'"
    assert said[13].startswith("crashed: exit code 0")
    assert said[15].startswith("crashed: SIGKILL")
    assert "an end that nobody asked for" in said[17]
    assert said[19] == "a status that cannot be"
    assert figures.trials == 100
    assert figures.kinds["PNG"].slowest_seed == max(GOOD) + 1 == 99


def test_what_a_sample_may_not_be_is_a_fault() -> None:
    none = np.empty((0, 32, 32, 3), np.uint8)
    one = np.zeros((1, 32, 32, 3), np.uint8)
    source = Source(0, "/in", "a.png", b"/in/a.png", 1, 1)
    facts = Facts(1, 1, "0" * 64, 10, 20)
    box = Face((0.0, 0.0, 10.0, 20.0))

    def said(sample: Sample) -> str:
        return "; ".join(faults(sample, {Status.OK, Status.NO_FACE, Status.DECODE_ERROR}))

    def failed(text: str, status: Status = Status.DECODE_ERROR) -> str:
        return said(Sample(source, facts, (), none, Failure(status, text)))

    assert said(Sample(source, facts, (box,), one)) == ""
    assert said(Sample(source, facts, (), none)) == ""
    assert failed("broken") == ""
    assert "status timeout" in failed("broken", Status.TIMEOUT)
    for text in ("", "two\nlines", "\x1b[2J", "\u202e", "x" * 301, "<object at 0x7f12>"):
        assert failed(text), text
    outside = Face((0.0, 0.0, 10.0, 20.5))
    assert "box" in said(Sample(source, facts, (outside,), one))
    assert "score" in said(Sample(source, facts, (Face(box.box, score=1.5),), one))
    assert "flags" in said(Sample(source, facts, (Face(box.box, flags=("odd",)),), one))
    assert "landmarks" in said(
        Sample(source, facts, (Face(box.box, landmarks=((np.nan, 1),)),), one)
    )
    assert "pixels" in said(Sample(source, Facts(), (), none))


def test_the_command_exits_with_1_and_the_seed_where_something_is_wrong(tmp_path: Path) -> None:
    """And with 0 where nothing is."""
    arguments = ["--seed", "100", "--count", "20", "--processes", "1", "--keep", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-m", "torture", "mutations", *arguments],
        capture_output=True, text=True, cwd=ROOT, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 faults" in done.stdout
    assert list(tmp_path.iterdir()) == []
