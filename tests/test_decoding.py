"""Decoding: every status with a real cause, the facts of a file, the remarks on its pixels."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from annotate import decoding
from annotate.decoding import DecodeOptions, crashed, decode_source, timed_out
from annotate.records import Failure, Sample, Source, Status
from annotate.scan import scan
from annotate.selection import ScanOptions
from tests.conftest import draw
from tests.pictures import skip_if_absent

OPTIONS = DecodeOptions(size_px=16)


def source_of(path: Path) -> Source:
    (source,) = scan([str(path)], ScanOptions(suffixes=frozenset())).plan
    return source


def decoded(path: Path, options: DecodeOptions = OPTIONS) -> Sample:
    return decode_source(source_of(path), options)


def status_of(sample: Sample) -> Status | None:
    assert sample.pixels.shape[1:] == (16, 16, 3)
    if sample.failure is None:
        return None
    assert sample.failure.error
    assert sample.failure.error.isprintable()
    assert sample.faces == ()
    return sample.failure.status


def test_a_face_and_its_facts(tmp_path: Path) -> None:
    path = draw(tmp_path / "a.png", (10, 20, 30), (60, 50))
    os.utime(path, ns=(0, 1_700_000_000_123_456_789))
    sample = decoded(path)
    assert status_of(sample) is None
    assert (sample.pixels == [10, 20, 30]).all()
    assert sample.pixels.shape == (1, 16, 16, 3)
    (face,) = sample.faces
    assert (face.box, face.score) == ((0.0, 0.0, 60.0, 50.0), None)
    facts = sample.facts
    assert facts.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (facts.width, facts.height, facts.captured_at) == (60, 50, None)
    assert (facts.size_bytes, facts.modified_ns) == (
        path.stat().st_size,
        1_700_000_000_123_456_789,
    )


def test_the_box_is_that_of_the_upright_picture(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (60, 50)).save(tmp_path / "a.jpg", exif=exif)
    (face,) = decoded(tmp_path / "a.jpg").faces
    assert face.box == (0.0, 0.0, 50.0, 60.0)


def test_broken_and_empty_files(tmp_path: Path) -> None:
    whole = draw(tmp_path / "whole.png", (1, 2, 3), (64, 64)).read_bytes()
    for name, data in (("cut.png", whole[:-30]), ("empty.png", b""), ("text.png", b"hello")):
        (tmp_path / name).write_bytes(data)
        sample = decoded(tmp_path / name)
        assert status_of(sample) is Status.DECODE_ERROR
        assert sample.facts.sha256 == hashlib.sha256(data).hexdigest()
        assert (sample.facts.size_bytes, sample.facts.width) == (len(data), None)


def test_a_wrong_suffix_does_not_matter(tmp_path: Path) -> None:
    data = draw(tmp_path / "a.png", (1, 2, 3)).read_bytes()
    for name in ("b.jpg", "c.txt", "d"):
        (tmp_path / name).write_bytes(data)
        assert status_of(decoded(tmp_path / name)) is None


def test_too_many_pixels(tmp_path: Path) -> None:
    path = draw(tmp_path / "a.png", (1, 2, 3), (40, 30))
    assert status_of(decoded(path, DecodeOptions(16, max_pixels=1200))) is None
    sample = decoded(path, DecodeOptions(16, max_pixels=1199))
    assert status_of(sample) is Status.TOO_LARGE
    assert sample.facts.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_too_many_bytes_are_hashed_but_not_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = draw(tmp_path / "a.bmp", (1, 2, 3))
    monkeypatch.setattr(decoding, "MAX_FILE_BYTES", path.stat().st_size)
    assert status_of(decoded(path)) is None
    monkeypatch.setattr(decoding, "MAX_FILE_BYTES", path.stat().st_size - 1)
    sample = decoded(path)
    assert status_of(sample) is Status.TOO_LARGE
    assert sample.facts.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("name", ["a.NEF", "b.mp4"])
def test_unsupported_files_are_not_even_opened(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / name).write_bytes(b"12345")
    source = source_of(tmp_path / name)
    monkeypatch.setattr(os, "open", lambda *_: pytest.fail("opened"))
    sample = decode_source(source, OPTIONS)
    assert status_of(sample) is Status.UNSUPPORTED
    assert (sample.facts.size_bytes, sample.facts.sha256) == (5, None)


def test_a_file_that_has_gone_is_unreadable(tmp_path: Path) -> None:
    path = draw(tmp_path / "a.png", (1, 2, 3))
    source = source_of(path)
    path.unlink()
    sample = decode_source(source, OPTIONS)
    assert status_of(sample) is Status.UNREADABLE
    assert sample.failure == Failure(Status.UNREADABLE, "No such file or directory")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs FIFOs")
@pytest.mark.parametrize("kind", ["fifo", "folder"])
def test_what_took_the_file_s_place_is_unreadable(tmp_path: Path, kind: str) -> None:
    path = draw(tmp_path / "a.png", (1, 2, 3))
    source = source_of(path)
    path.unlink()
    os.mkfifo(path) if kind == "fifo" else path.mkdir()
    assert status_of(decode_source(source, OPTIONS)) is Status.UNREADABLE


def test_what_the_scan_could_not_open_is_not_tried_again(tmp_path: Path) -> None:
    failure = Failure(Status.UNREADABLE, "Permission denied")
    source = Source(0, str(tmp_path), "a.png", bytes(tmp_path / "a.png"), None, None, failure)
    sample = decode_source(source, OPTIONS)
    assert sample.failure == failure
    assert (sample.facts.size_bytes, sample.facts.modified_ns) == (None, None)


@pytest.mark.parametrize("change", ["grows", "shrinks", "is rewritten"])
def test_a_file_that_changes_while_it_is_read(
    tmp_path: Path, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = draw(tmp_path / "a.png", (1, 2, 3))
    source = source_of(path)
    plain = os.fdopen

    class Changing(io.BufferedReader):
        def read(self, size: int | None = -1, /) -> bytes:
            if change == "grows":
                with path.open("ab") as file:
                    file.write(b"more")
            elif change == "shrinks":
                os.truncate(path, 10)
            data = super().read(size)
            if change == "is rewritten":
                os.utime(path, ns=(1, 1))
            return data

    monkeypatch.setattr(os, "fdopen", lambda fd, mode: Changing(plain(fd, mode).detach()))
    sample = decode_source(source, OPTIONS)
    assert status_of(sample) is Status.CHANGED
    assert sample.facts.sha256 is None


def test_a_file_that_changed_since_the_scan_is_told_as_it_is_now(tmp_path: Path) -> None:
    path = draw(tmp_path / "a.png", (1, 2, 3))
    source = source_of(path)
    draw(path, (200, 2, 3), (99, 98))
    os.utime(path, ns=(5_000, 5_000))
    sample = decode_source(source, OPTIONS)
    assert status_of(sample) is None
    assert (sample.facts.width, sample.facts.modified_ns) == (99, 5_000)
    assert sample.facts.size_bytes == path.stat().st_size


@pytest.mark.parametrize("seconds", [12_000_000_000, 400_000_000_000])
def test_a_freak_modification_time_is_held_to_64_bits(
    tmp_path: Path, seconds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = draw(tmp_path / "a.png", (1, 2, 3))
    source = source_of(path)
    seen = os.fstat

    def fstat(fd: int) -> os.stat_result:
        status = seen(fd)
        fields = list(status)
        fields[8] = seconds
        return os.stat_result(fields, {"st_mtime_ns": seconds * 10**9})

    monkeypatch.setattr(decoding.os, "fstat", fstat)
    assert decode_source(source, OPTIONS).facts.modified_ns == 2**63 - 1


@pytest.mark.parametrize(
    ("make", "status", "error"),
    [
        (crashed, Status.CRASHED, "the process that decoded this file ended unexpectedly"),
        (timed_out, Status.TIMEOUT, "not decoded within 2.5 s"),
    ],
)
def test_the_sample_of_a_lost_process_keeps_what_the_scan_knows(
    tmp_path: Path, make: Callable[..., Sample], status: Status, error: str
) -> None:
    source = source_of(draw(tmp_path / "a.png", (1, 2, 3)))
    sample = make(source, replace(OPTIONS, timeout_s=2.5))
    assert status_of(sample) is status
    assert sample.failure == Failure(status, error)
    assert sample.facts.size_bytes == source.size_bytes
    assert sample.pixels.shape == (0, 16, 16, 3)


@pytest.mark.parametrize(
    ("timeout_s", "error"),
    [(120.0, "not decoded within 120 s"), (0.25, "not decoded within 0.25 s")],
)
def test_a_time_limit_is_said_without_needless_digits(
    tmp_path: Path, timeout_s: float, error: str
) -> None:
    source = source_of(draw(tmp_path / "a.png", (1, 2, 3)))
    sample = timed_out(source, replace(OPTIONS, timeout_s=timeout_s))
    assert isinstance(sample, Sample)
    assert sample.failure == Failure(Status.TIMEOUT, error)


def test_a_worker_that_decodes_crops_loads_nothing_heavy(tmp_path: Path) -> None:
    """What a worker process does for one crop, in a process of its own."""
    program = """
import sys
from annotate.decoding import DecodeOptions, decode_source
from annotate.records import Source
source = Source(0, sys.argv[1], "a.png", sys.argv[1].encode() + b"/a.png", None, None)
sample = decode_source(source, DecodeOptions(16))
heavy = {"onnx", "onnxruntime", "mtcnn", "pyarrow", "pandas", "tensorflow"}
print(len(sample.faces), heavy & set(sys.modules))
"""
    arguments = [sys.executable, "-c", program, str(tmp_path)]
    draw(tmp_path / "a.png", (200, 90, 40))
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert done.stdout == "1 set()\n"


def test_no_input_waits_for_a_decoder_to_load(tmp_path: Path) -> None:
    """Of no format that is read; and none is loaded that may not run."""
    for kind in ("WEBP", "AVIF", "JPEG2000"):
        skip_if_absent(kind)
    for suffix in ("jpg", "png", "webp", "tif", "bmp", "gif", "avif", "jp2"):
        draw(tmp_path / f"a.{suffix}", (200, 90, 40))
    (tmp_path / "a.mpo").write_bytes(b"no picture")
    program = """
import sys
from annotate.decoding import DecodeOptions, decode_source, load_decoders
from annotate.scan import scan
from annotate.selection import ScanOptions
sources = list(scan([sys.argv[1]], ScanOptions(suffixes=frozenset(sys.argv[2:]))).plan)
options = DecodeOptions(16)
load_decoders(options)
before = set(sys.modules)
samples = [decode_source(source, options) for source in sources]
print(sum(len(sample.faces) for sample in samples), set(sys.modules) - before)
print({"PIL.EpsImagePlugin", "PIL.PdfImagePlugin", "PIL.FitsImagePlugin"} & set(sys.modules))
"""
    suffixes = [path.suffix for path in tmp_path.iterdir()]
    arguments = [sys.executable, "-c", program, str(tmp_path), *suffixes]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert done.stdout == "8 set()\nset()\n"
