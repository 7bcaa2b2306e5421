"""A small disk: the real command on a disk that is really full, then larger, then read-only."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests import small_disk
from tests.conftest import ROOT, draw

COUNT = 120

UNSHARE = ("unshare", "--map-root-user", "--mount")


@pytest.fixture
def happened(tmp_path: Path, out: Path, fake_model_folder: Path) -> dict[str, Any]:
    """What small_disk.main tells of a run over 120 pictures, of which number 7 is broken."""
    if shutil.which("unshare") is None or subprocess.run([*UNSHARE, "true"]).returncode:
        pytest.skip("no mount namespaces here")
    for number in range(COUNT):
        draw(tmp_path / "in" / f"{number:03d}.png", (number, number, number))
    (tmp_path / "in" / "007.png").write_bytes(b"broken")
    done = subprocess.run(
        [
            *UNSHARE, sys.executable, small_disk.__file__, str(out), sys.executable, "-m",
            "annotate", "run", str(tmp_path / "in"), "-o", str(out / "x.parquet"), "--faces",
            "crop", "--model", str(fake_model_folder), "--part-size", "8", "--batch-size", "4",
        ],
        env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    if "mount:" in done.stderr:
        pytest.skip(f"no disk in memory can be mounted here: {done.stderr.splitlines()[0]}")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_what_is_done_on_a_full_disk_is_kept_and_gone_on_with(happened: dict[str, Any]) -> None:
    full, went_on = happened["full"], happened["went_on"]
    assert full["code"] == 1
    last = full["said"].splitlines()[-1]
    assert "x.parquet: No space left on device;" in last
    assert "inputs are done and kept, the same command goes on with them" in last
    assert "Traceback" not in full["said"]
    assert full["files"] == [".x.parquet.annotate"]
    assert went_on["code"] == 3  # of the broken one
    assert "going on: " in went_on["said"]
    assert went_on["files"] == ["x.parquet"]
    statuses = ["decode_error" if n == 7 else "ok" for n in range(COUNT)]
    assert [row["path"] for row in happened["rows"]] == [f"{n:03d}.png" for n in range(COUNT)]
    assert [row["status"] for row in happened["rows"]] == statuses
    ages = [row["age"] for row in happened["rows"] if row["status"] == "ok"]
    gray = [n / 2.55 for n in range(COUNT) if n != 7]  # of the fake model
    assert ages == pytest.approx(gray, abs=1e-3)

    read_only = happened["read_only"]
    assert read_only["code"] == 1
    assert "Read-only file system" in read_only["said"].splitlines()[-1]
    assert "Traceback" not in read_only["said"]
    assert read_only["files"] == ["x.parquet"]
    assert happened["kept"] == COUNT
