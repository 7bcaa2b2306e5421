"""Hostile files: what is no file, what may not be read, what is no picture."""

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
import warnings
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageFile

from annotate import images, read
from annotate.decoding import DecodeOptions, decode_source, load_decoders
from annotate.face_options import FaceOptions
from annotate.images import MAX_PIXELS
from annotate.records import Source, Status
from annotate.workers import OrderedMap
from tests.conftest import ROOT, Invoke, draw
from tests.kinds import all_kinds, make_kinds, plain
from tests.pictures import encoded
from tests.trees import POSIX, found, make, paths

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
            env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=300,
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
