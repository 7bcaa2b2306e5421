"""Whole runs over pictures that no other picture equals, and the rows they give."""

from __future__ import annotations

import csv
import io
import os
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from annotate import Model
from annotate.cli import main
from annotate.pipeline import run_table
from annotate.run_config import RunConfig
from annotate.summary import Summary
from annotate.writers import restore
from tests.conftest import draw

Rows = list[dict[str, Any]]
Invoke = Callable[..., tuple[int, Rows, str]]
POSIX = pytest.mark.skipif(os.name != "posix", reason="needs POSIX file names")


def png(number: int) -> bytes:
    """A picture that no other number has."""
    data = io.BytesIO()
    Image.new("RGB", (20 + number % 7, 30), (number % 256, 255 - number % 256, 7)).save(data, "PNG")
    return data.getvalue()


def label(*sources: str | Path, model: Model, **options: Any) -> tuple[Rows, Summary]:
    config = RunConfig(tuple(map(str, sources)), faces="crop", workers=2, **options)
    result = run_table(config, model=model)
    assert result.summary.done == result.summary.inputs
    return result.table.to_pylist(), result.summary


def pack(folder: Path, target: Path, names: list[bytes] | None = None) -> Path:
    """All files of a folder in the order of their bytes, or those of some names, in an archive."""
    if names is None:
        found = [os.fsencode(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()]
        names = sorted(found)
    if target.suffix == ".zip":
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
            for name in names:
                archive.writestr(RawZipInfo(name), (folder / os.fsdecode(name)).read_bytes())
    else:
        mode = "w" if target.suffix == ".tar" else "w:gz"
        with tarfile.open(target, mode) as archive:
            for name in names:
                archive.add(folder / os.fsdecode(name), os.fsdecode(name))
    return target


class RawZipInfo(zipfile.ZipInfo):
    """A member whose name is stored as these bytes, as the tools of any system store theirs."""

    def __init__(self, name: bytes) -> None:
        super().__init__(name.decode("latin-1"))
        self._raw = name

    def _encodeFilenameFlags(self) -> tuple[bytes, int]:  # noqa: N802 - zipfile's
        return self._raw, self.flag_bits


def make_photos(folder: Path) -> Path:
    """23 inputs, good and bad, in folders; and files that are none."""
    for i in range(18):
        path = folder / f"{'abc'[i % 3]}" / f"{i:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(i))
    draw(folder / "large.png", (1, 2, 3), (200, 100))
    (folder / "cut.png").write_bytes(png(1)[:50])
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "raw.NEF").write_bytes(b"raw")
    (folder / "film.mp4").write_bytes(b"film" * 100)
    for name in ("notes.txt", ".hidden.png", "@eaDir/x.png", "in.zip", "a/in.tgz"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"x")
    return folder


def invoker(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], fake_model_folder: Path
) -> Invoke:
    """Run `annotate run` in this process: (exit code, rows on stdout, stderr)."""

    def run(*arguments: str | Path, stdin: bytes = b"") -> tuple[int, Rows, str]:
        options = ["--faces", "crop", "--model", str(fake_model_folder), "--workers", "1"]
        words = ["annotate", "run", *options, *map(str, arguments)]
        monkeypatch.setattr(sys, "argv", words)
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        with pytest.raises(SystemExit) as caught:
            main()
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        assert isinstance(caught.value.code, int)
        rows = [row | {"path": restore(row["path"])} for row in csv.DictReader(io.StringIO(out))]
        return caught.value.code, rows, err

    return run


def said(err: str) -> str:
    """The one line that stderr is, without the hint at --help."""
    assert err.count("\n") == 1
    assert err[:-1].isprintable()
    return err
