"""Hostile files: what is no file, what may not be read, what is no picture, names that command
terminals, pictures of any shape.
"""

from __future__ import annotations

import ast
import contextlib
import csv
import io
import json
import os
import shutil
import socket
import stat
import struct
import subprocess
import sys
import tarfile
import time
import warnings
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFile

from annotate import images, read, resolve
from annotate.decoding import DecodeOptions, decode_source, load_decoders
from annotate.face_options import FaceOptions
from annotate.images import MAX_PIXELS, MAX_SIDE_PX
from annotate.names import is_archive_name, split_archive
from annotate.records import Source, Status
from annotate.workers import OrderedMap
from tests.conftest import ROOT, Invoke, draw, one_line
from tests.kinds import all_kinds, make_kinds, plain
from tests.packing import make_zip
from tests.pictures import drawing, encoded, failure, png, skip_if_absent
from tests.trees import NAMES, POSIX, found, make, paths
from torture.seeds import seeds

CROP = DecodeOptions(size_px=16)
DETECT = DecodeOptions(size_px=16, faces=FaceOptions())


def source_of(data: bytes) -> Source:
    return Source(0, "/in", "a.jpg", b"/in/a.jpg", len(data), 1, data=data)


# What is no file --------------------------------------------------------------------------


@contextlib.contextmanager
def listening(path: Path) -> Iterator[None]:
    """A socket in the file system; its name has to be short."""
    with socket.socket(socket.AF_UNIX) as server, contextlib.chdir(path.parent):
        server.bind(path.name)
        yield


def device(path: Path) -> None:
    """The device that gives zeros without end."""
    try:
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 5))
    except PermissionError:
        pytest.skip("only root may make device files")


@POSIX
@pytest.mark.parametrize("kind", ["socket", "device", "link to a device", "fifo"])
def test_what_is_no_file_is_counted_in_a_folder_and_is_a_row_where_it_is_named(
    tmp_path: Path, kind: str, invoke: Invoke, crop: list[str]
) -> None:
    draw(tmp_path / "a.png", (1, 2, 3))
    path = tmp_path / "x.png"
    with listening(path) if kind == "socket" else contextlib.nullcontext():
        if kind == "device":
            device(path)
        elif kind == "link to a device":
            path.symlink_to("/dev/zero")
        elif kind == "fifo":
            os.mkfifo(path)
        result = found(tmp_path)
        assert paths(result) == ["a.png"]
        assert result.skipped == {"not a regular file": 1}
        output = tmp_path / "x.csv"
        code, _, _ = invoke("run", str(path), str(tmp_path / "a.png"), "-o", str(output), *crop)
    assert code == 3
    with output.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["status"] for row in rows] == ["unreadable", "ok"]
    assert rows[0]["error"] == "not a regular file"


@POSIX
@pytest.mark.parametrize("kind", ["socket", "device", "link to a device", "loop", "fifo"])
def test_what_took_a_file_s_place_since_the_scan_is_unreadable_at_once(
    tmp_path: Path, kind: str
) -> None:
    path = draw(tmp_path / "x.png", (1, 2, 3))
    (source,) = found(tmp_path).plan
    path.unlink()
    with listening(path) if kind == "socket" else contextlib.nullcontext():
        if kind == "device":
            device(path)
        elif kind == "link to a device":
            path.symlink_to("/dev/zero")
        elif kind == "loop":
            (tmp_path / "other").symlink_to("x.png")
            path.symlink_to("other")
        elif kind == "fifo":
            os.mkfifo(path)
        sample = decode_source(source, CROP)
    assert sample.failure is not None
    assert sample.failure.status is Status.UNREADABLE


@POSIX
def test_links_in_circles_end(tmp_path: Path) -> None:
    """Files that lead to each other, folders that lead up, and to each other; followed, too."""
    make(tmp_path, "one/a.png", "two/b.png")
    (tmp_path / "one" / "x.png").symlink_to("y.png")
    (tmp_path / "one" / "y.png").symlink_to("x.png")
    (tmp_path / "one" / "two").symlink_to("../two")
    (tmp_path / "two" / "one").symlink_to("../one")
    (tmp_path / "two" / "up").symlink_to("..")
    assert paths(found(tmp_path)) == ["one/a.png", "one/x.png", "one/y.png", "two/b.png"]
    followed = found(tmp_path, follow_links=True)
    names = [Path(path).name for path in paths(followed)]
    assert sorted(names) == ["a.png", "b.png", "x.png", "y.png"]
    assert followed.skipped == {"folder reached twice": 3}


# What may not be read ---------------------------------------------------------------------


def without_privileges() -> list[str]:
    """What comes before a command, so that permissions hold for it although root runs the tests."""
    if os.geteuid() != 0:
        return []
    lost = "-dac_override,-dac_read_search"
    command = ["setpriv", f"--bounding-set={lost}", f"--inh-caps={lost}"]
    if shutil.which("setpriv") is None:
        pytest.skip("root may read everything, and there is no setpriv to change that")
    if subprocess.run([*command, "true"], capture_output=True).returncode:
        pytest.skip("root may read everything, and setpriv may not change that here")
    return command


@POSIX
def test_folders_and_files_without_permission_are_rows(
    tmp_path: Path, fake_model_folder: Path
) -> None:
    prefix = without_privileges()
    folder = tmp_path / "in"
    for name in ("a.png", "closed/b.png", "listed/c.png", "shut.png", "z.png"):
        draw(folder / name, (200, 100, 0))
    (folder / "shut.png").chmod(0)
    (folder / "closed").chmod(0)
    (folder / "listed").chmod(0o600)  # its names may be read, what they name may not
    words = ["run", str(folder), "-o", str(tmp_path / "x.csv"), "--faces", "crop"]
    model = ["--model", str(fake_model_folder), "--workers", "1"]
    try:
        done = subprocess.run(
            [*prefix, sys.executable, "-m", "annotate", *words, *model],
            env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
    finally:
        for path in (folder / "shut.png", folder / "closed", folder / "listed"):
            path.chmod(0o700)
    assert done.returncode == 3, done.stderr
    rows = read(tmp_path / "x.csv")
    assert dict(zip(rows["path"], rows["status"], strict=True)) == {
        "a.png": "ok",
        "closed/": "unreadable",
        "listed/c.png": "unreadable",
        "shut.png": "unreadable",
        "z.png": "ok",
    }
    errors = dict(zip(rows["path"], rows["error"], strict=True))
    assert errors["closed/"] == "folder cannot be listed: Permission denied"
    assert errors["shut.png"] == errors["listed/c.png"] == "Permission denied"


# What is no picture -----------------------------------------------------------------------


def foreign() -> dict[str, bytes]:
    """Whole files that annotate has nothing to do with, some of which Pillow could read."""
    picture = plain()
    made = {}
    for kind in ("PPM", "TGA", "ICO", "PCX", "SGI", "DDS", "ICNS", "EPS", "PDF", "IM", "SPIDER"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            made[kind] = encoded(picture.convert("F") if kind == "SPIDER" else picture, kind)
    for kind in ("XBM", "MSP"):
        made[kind] = encoded(picture.convert("1"), kind)
    for kind in ("BLP", "GBR", "QOI"):
        with contextlib.suppress(KeyError, OSError, ValueError):
            made[kind] = encoded(picture.convert("P"), kind)
    with io.BytesIO() as buffer:
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            archive.addfile(tarfile.TarInfo("a.jpg"))
        made["tar"] = buffer.getvalue()
    with io.BytesIO() as buffer:
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("a.jpg", encoded(picture, "JPEG"))
        made["zip"] = buffer.getvalue()
    return made | {
        "PSD": b"8BPS" + struct.pack(">H6xHIIHH", 1, 3, 4, 4, 8, 3) + bytes(62),
        "FITS": b"SIMPLE  =                    T".ljust(80) + b"END".ljust(2800),
        "EPS for DOS": struct.pack("<4L", 0xC6D3D0C5, 32, 100, 0) + bytes(16) + made["EPS"],
        "XPM": b'/* XPM */\nstatic char *x[] = {"1 1 1 1", "a c #fff", "a"};',
        "WMF": bytes.fromhex("d7cdc69a 0000 0000 0000 0a00 0a00 4800 00000000 0000"),
        "EMF": struct.pack("<L", 1).ljust(40, b"\0") + b" EMF" + bytes(60),
        "HDF5": b"\x89HDF\r\n\x1a\n" + bytes(100),
        "GRIB": b"GRIB\0\0\0\1" + bytes(100),
        "BUFR": b"BUFR" + bytes(100),
        "MPEG": b"\0\0\1\xb3" + bytes(100),
        "FLI": struct.pack("<LHHHHH", 128, 0xAF11, 1, 4, 4, 8).ljust(200, b"\0"),
        "PostScript": b"%!PS\n(/etc/passwd) (r) file 100 string readstring pop print\n",
        "SVG": b"<svg xmlns='http://www.w3.org/2000/svg'><script>1</script></svg>",
        "MVG": b"push graphic-context\nimage over 0,0 0,0 'ephemeral:/etc/passwd'\n",
        "HTML": b"<!DOCTYPE html><img src=x onerror=alert(1)>",
        "pickle": b"\x80\4\x8c\5posix\x8c\6system\x93\x8c\4true\x85R.",
        "ELF": b"\x7fELF\2\1\1" + bytes(100),
        "script": b"#!/bin/sh\ntouch /tmp/owned\n",
    }


PROGRAM = """
import json, sys
from PIL import Image
from annotate.decoding import DecodeOptions, decode_source, load_decoders
from annotate.face_options import FaceOptions
from annotate.images import FORMATS
from annotate.records import Source

crop, detect = DecodeOptions(16), DecodeOptions(16, faces=FaceOptions())
load_decoders(crop)
load_decoders(detect)
imported = sorted(Image.OPEN)
Image.init()  # the worst case: all of Pillow's parsers are there
ran, events = set(), set()
for name, (factory, accept) in list(Image.OPEN.items()):
    if name not in FORMATS:
        Image.OPEN[name] = (lambda *_, name=name: ran.add(name), None)  # takes whatever comes
folder = sys.argv[1].encode()
watched = ("subprocess", "os.system", "os.exec", "os.posix_spawn", "os.fork", "socket", "shutil",
           "os.remove", "os.rename", "os.mkdir", "os.chmod", "exec", "compile", "ctypes.dlopen")

def hook(event, arguments):
    if event.startswith(watched) or event == "open" and arguments[2] & 3:
        events.add(f"{event} {arguments!r}"[:200])

def sample(name, options):
    path = folder + b"/" + name.encode()
    return decode_source(Source(0, "", name, path, None, None), options)

names = json.load(sys.stdin)
for name in names:  # what is loaded late is loaded now
    sample(name, detect)
sys.addaudithook(hook)
found = {}
for name in names:
    for options in (crop, detect):
        failure = sample(name, options).failure
        found.setdefault(name, []).append([failure and failure.status, failure and failure.error])
json.dump([imported, sorted(ran), sorted(events), found], sys.stdout)
"""


def watched(folder: Path, names: list[str]) -> list[Any]:
    """What decoding files did, in a process that watches itself: the parsers that were imported,
    those that ran and may not, what else was done, and the failures of each file.
    """
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(folder)], input=json.dumps(names),
        capture_output=True, text=True, timeout=300, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return list(json.loads(done.stdout))


def test_files_of_other_kinds_are_failures_and_their_parsers_never_run(tmp_path: Path) -> None:
    names = []
    for kind, data in foreign().items():
        for suffix in (".jpg", ".png", ".tif"):
            names.append(kind.replace(" ", "-") + suffix)
            (tmp_path / names[-1]).write_bytes(data)
    imported, ran, events, failures = watched(tmp_path, names)
    assert set(imported) - set(images.FORMATS) <= {"PPM", "MPO"}  # Pillow takes PPM for granted
    assert ran == []
    assert events == []
    text = "not an image of a format that annotate reads"
    for name in names:
        for status, error in failures[name]:
            assert status == "decode_error", name
            assert error == text or name.startswith(("FLI", "EMF", "PSD")), (name, error)


def test_decoding_reads_and_does_nothing_else(tmp_path: Path) -> None:
    """Every good and every broken kind of file: no process, no connection, nothing written."""
    expected = make_kinds(tmp_path)
    files = [name for name, status in expected.items() if status != "unreadable"]
    _, ran, events, failures = watched(tmp_path, files)
    assert (ran, events) == ([], [])
    for name in files:
        status = failures[name][0][0] or "ok"
        assert status == expected[name], name


def state_after(options: DecodeOptions, source: Source) -> tuple[Any, ...]:
    """In a worker: what decoding has left of Pillow's settings."""
    sample = decode_source(source, options)
    status = sample.failure.status if sample.failure else Status.OK
    return status, Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, os.getpid()


@pytest.mark.parametrize("max_pixels", [MAX_PIXELS, 10**9])
def test_workers_keep_pillow_s_limits(max_pixels: int) -> None:
    """After every kind of file, also where the user asks for larger pictures than Pillow takes."""
    options = DecodeOptions(16, max_pixels=max_pixels)
    sources = [source_of(kind.data) for kind in all_kinds().values() if len(kind.data) < 10**6]
    with OrderedMap(
        partial(state_after, options),
        sources,
        on_crash=lambda source: (),
        prepare=partial(load_decoders, options),
        workers=2,
        window=64,
        chunk=8,
    ) as results:
        states = list(results)
    assert {state[1:3] for state in states} == {(1024 * 1024 * 1024 // 4 // 3, False)}
    assert {state[0] for state in states} >= {Status.OK, Status.DECODE_ERROR}
    assert os.getpid() not in {state[3] for state in states}


def test_nothing_in_the_package_lifts_a_limit() -> None:
    """MAX_IMAGE_PIXELS is set in one function, to numbers; LOAD_TRUNCATED_IMAGES nowhere."""
    set_at = []
    for path in sorted((ROOT / "annotate").rglob("*.py")):
        text = path.read_text("utf-8")
        assert "LOAD_TRUNCATED_IMAGES" not in text
        tree = ast.parse(text)
        for node in ast.walk(tree):
            targets = node.targets if isinstance(node, ast.Assign) else []
            if any(getattr(target, "attr", "") == "MAX_IMAGE_PIXELS" for target in targets):
                set_at.append((path.name, ast.unparse(node.value)))
        if "MAX_IMAGE_PIXELS" in text:
            assert path.name == "images.py"
    assert set_at == [("images.py", "(max_pixels + 1) // 2"), ("images.py", "limit")]


# Sizes ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [*images.FORMATS, "MPO", "HEIF"])
def test_the_limit_on_pixels_holds_for_every_format(kind: str) -> None:
    """To the pixel, and before any of them is decoded."""
    skip_if_absent(kind)
    for data in seeds()[kind]:
        sample = decode_source(source_of(data), CROP)
        if sample.failure is not None:
            continue
        pixels = (sample.facts.width or 0) * (sample.facts.height or 0)
        assert decode_source(source_of(data), DecodeOptions(16, max_pixels=pixels)).faces
        error = failure(data, max_pixels=pixels - 1)
        assert error.status is Status.TOO_LARGE
        assert str(error).endswith(f"the limit is {pixels - 1}")


def patched_after(data: bytes, mark: bytes, value: bytes) -> bytes:
    place = data.index(mark) + len(mark)
    return data[:place] + value + data[place + len(value) :]


BIG_ENDIAN = struct.pack(">LL", 12_500, 12_001)
LARGE: dict[str, Callable[[bytes], bytes]] = {
    "JPEG": lambda data: patched_after(data, b"\xff\xc0\0\x11\x08", b"\x30\xd4\x30\xd4"),
    "GIF": lambda data: patched_after(data, b"GIF87a", struct.pack("<HH", 12_500, 12_001)),
    "BMP": lambda data: data[:18] + struct.pack("<ll", 12_500, 12_001) + data[26:],
    "DIB": lambda data: data[:4] + struct.pack("<ll", 12_500, 12_001) + data[12:],
    "TIFF": lambda data: patched_after(data, struct.pack("<HHL", 256, 4, 1), b"\1\xc4\x23\0"),
    "WEBP": lambda data: patched_after(data, b"\x2f", struct.pack("<L", 12_499 | 12_000 << 14)),
    "JPEG2000": lambda data: patched_after(data, b"ihdr", BIG_ENDIAN),
    "AVIF": lambda data: patched_after(data, b"ispe\0\0\0\0", BIG_ENDIAN),
    "HEIF": lambda data: patched_after(data, b"ispe\0\0\0\0", BIG_ENDIAN),
}
"""What makes a picture of 64 x 64 one whose header says just over 150 million pixels."""


@pytest.mark.parametrize("kind", LARGE)
def test_pictures_of_just_over_150_million_pixels_are_refused_by_their_header(kind: str) -> None:
    skip_if_absent(kind)
    options = {"lossless": True} if kind == "WEBP" else {}
    picture = drawing(64, 64).convert("P" if kind == "GIF" else "RGB")
    data = encoded(picture, kind, **options)
    large = LARGE[kind](data)
    assert large != data
    error = failure(large)
    assert error.status is Status.TOO_LARGE
    assert str(error).endswith("pixels, the limit is 150000000")


def test_the_limit_on_pixels_is_an_option(tmp_path: Path, invoke: Invoke, crop: list[str]) -> None:
    draw(tmp_path / "in" / "a.png", (1, 2, 3), (40, 25))
    output = str(tmp_path / "x.csv")
    for limit, code in (("1000", 0), ("999", 3)):
        words = ("run", str(tmp_path / "in"), "-o", output, "--max-pixels", limit, "--overwrite")
        assert invoke(*words, *crop)[0] == code
    (row,) = read(output).to_dict("records")
    assert (row["status"], row["error"]) == ("too_large", "40 x 25 pixels, the limit is 999")
    code, _, err = invoke("run", str(tmp_path), "-o", output, "--max-pixels", "0", *crop)
    assert code == 2
    assert "max-pixels" in err


THIN = [(1, 1), (1, 2), (2, 1), (1, 5000), (5000, 1), (3, 70_000), (70_000, 3)]


@pytest.mark.parametrize("size", THIN)
@pytest.mark.parametrize("options", [CROP, DETECT], ids=["crop", "detect"])
def test_thin_and_tiny_pictures(size: tuple[int, int], options: DecodeOptions) -> None:
    sample = decode_source(source_of(encoded(Image.new("RGB", size, "red"), "PNG")), options)
    assert sample.failure is None
    assert (sample.facts.width, sample.facts.height) == size
    if options is CROP:
        assert (sample.pixels == [255, 0, 0]).all()
    else:
        assert sample.faces == ()


@pytest.mark.parametrize("turned", [False, True])
def test_a_side_has_a_million_pixels_at_most(turned: bool) -> None:
    """A picture of 1 x 150,000,000 took 15 s and 4 GB."""

    def thin(length: int) -> bytes:
        size = (length, 1) if turned else (1, length)
        rows = np.zeros((size[1], 1 + size[0]), np.uint8)
        return png(size, 8, 0, rows.tobytes())

    sample = decode_source(source_of(thin(MAX_SIDE_PX)), CROP)
    assert sample.failure is None
    assert not sample.pixels.any()
    error = failure(thin(MAX_SIDE_PX + 1))
    assert error.status is Status.TOO_LARGE
    assert str(error).endswith("1048577 pixels, the limit of a side is 1048576") or turned
    assert failure(thin(150_000_000)[:100_000]).status is Status.TOO_LARGE


@pytest.mark.parametrize("size", [(0, 0), (0, 5), (5, 0)])
def test_pictures_of_no_pixels_are_failures(size: tuple[int, int]) -> None:
    gif = encoded(plain("P"), "GIF")
    frame = gif.index(b",") + 5
    bmp = encoded(plain(), "BMP")
    for data in (
        png(size, 8, 2, b""),
        gif[:6] + struct.pack("<HH", *size) + gif[10:frame] + struct.pack("<HH", *size)
        + gif[frame + 4 :],
        bmp[:18] + struct.pack("<ll", *size) + bmp[26:],
    ):  # fmt: skip
        assert failure(data).status is Status.DECODE_ERROR


def test_a_picture_for_which_there_is_no_memory_is_a_failure(tmp_path: Path) -> None:
    """Of 8000 x 8000, in a process that may have some 100 MB more than it has."""
    (tmp_path / "a.png").write_bytes(encoded(Image.new("RGB", (8000, 8000)), "PNG"))
    program = (
        "import resource, sys; from annotate.images import ImageError, decode, load_parsers\n"
        "load_parsers(); data = open(sys.argv[1], 'rb').read()\n"
        "pages = int(open('/proc/self/statm').read().split()[0])\n"
        "limit = pages * resource.getpagesize() + int(sys.argv[2])\n"
        "resource.setrlimit(resource.RLIMIT_AS, (limit, limit))\n"
        "try: decode(data)\n"
        "except ImageError as error: print(error.status, error)"
    )
    if sys.platform != "linux":
        pytest.skip("limits the address space by what Linux says of it")
    for more in (100_000_000, 350_000_000):  # Pillow's copy does not fit, then that does alone
        done = subprocess.run(
            [sys.executable, "-c", program, str(tmp_path / "a.png"), str(more)],
            capture_output=True, text=True, cwd=ROOT, timeout=60,
        )  # fmt: skip
        assert done.stdout == "decode_error there is not enough memory to decode it\n", done.stderr


# Names ------------------------------------------------------------------------------------


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
    started = time.process_time()
    assert split_archive(b"a.zip!/" * 150_000) is None
    assert time.process_time() - started < 2
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
