"""Reviews: outputs over drawn pictures, the session of a person, and the program in a process."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image, ImageDraw

from annotate.names import unescape
from annotate.review.corrections import Said
from annotate.review.faces import Faces
from annotate.review.journal import Journal, journal_path
from annotate.review.session import Session
from annotate.rows import schema, with_metadata
from annotate.writers import open_output, write_parquet
from tests.conftest import ROOT
from tests.hand_made import face_at, no_face, table_of

BOXES = ((10.0, 20.0, 50.0, 60.0), (70.0, 20.0, 110.0, 60.0), (130.0, 20.0, 170.0, 60.0))
"""Of the three drawn faces of a photograph of 200 x 100 pixels."""

HUES = ("#d9a577", "#8d5a3b", "#f1d3b8")


def draw_photograph(path: Path, faces: int = 3, tint: int = 0) -> Path:
    """A photograph with some drawn faces at BOXES, of its own bytes for each tint."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new("RGB", (200, 100), (60 + tint % 100, 90, 120 + tint % 100))
    draw = ImageDraw.Draw(image)
    for (left, top, right, bottom), hue in zip(BOXES[:faces], HUES, strict=False):
        draw.ellipse((left, top, right, bottom), fill=hue)
        for x in (left + 12, right - 12):
            draw.ellipse((x - 3, top + 12, x + 3, top + 18), fill="#222222")
        draw.arc((left + 10, top + 18, right - 10, bottom - 8), 20, 160, fill="#552222", width=2)
    image.save(path, "PNG")
    return path


def sha256_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def rows_of(folder: Path, name: str, faces: int, **more: Any) -> list[dict[str, Any]]:
    """Rows of the faces of a photograph below a folder, as a run would have them.

    name: as in the column `path`.
    """
    path = folder / os.fsdecode(unescape(name))
    usual = {"source": str(folder), "width": 200, "height": 100, "face_count": faces}
    usual |= {"sha256": sha256_of(path), "age_sd": 5.0, "age_p10": 20.0, "age_p90": 40.0}
    usual |= {"minor_probability": 0.1, "size_bytes": path.stat().st_size} | more
    if not faces:
        return [
            no_face(name, **{k: v for k, v in usual.items() if not k.startswith(("age", "minor"))})
        ]
    return [face_at(name, i, BOXES[i], age=30.0 + i, **usual) for i in range(faces)]


def made_table(*rows: Mapping[str, Any], attributes: Mapping[str, Any] | None = None) -> pa.Table:
    """A table with the metadata of a run."""
    described = with_metadata(schema(), attributes or {"model": "fake", "model_sha256": "0" * 64})
    return table_of(*rows).replace_schema_metadata(described.metadata)


def make_output(folder: Path, names: Mapping[str, int], target: Path) -> pa.Table:
    """Photographs with so many faces each, and an output that tells of them."""
    rows: list[dict[str, Any]] = []
    for number, (name, faces) in enumerate(names.items()):
        draw_photograph(folder / os.fsdecode(unescape(name)), faces, number)
        rows += rows_of(folder, name, faces)
    table = made_table(*rows)
    if target.suffix == ".parquet":
        write_parquet(table, target)
    else:
        with open_output(str(target), table.schema) as writer:
            for batch in table.to_batches():
                writer.write(batch)
    return table


def many_faces(count: int, seed: int = 0) -> pa.Table:
    """Rows without pictures, one a photograph, in ten folders; all different."""
    random = np.random.default_rng(seed)
    female, age, spread = random.random(count), random.random(count) * 90, random.random(count) * 30
    rows = [
        face_at(
            f"{i % 10}/{i:06d}.jpg", 0, BOXES[0], age=age[i], female_probability=female[i],
            gender="female" if female[i] >= 0.5 else "male", age_sd=spread[i],
            flags="uncertain" if 0.2 < female[i] < 0.8 or spread[i] > 10 else None,
        )
        for i in range(count)
    ]  # fmt: skip
    return made_table(*rows)


def session_of(table: pa.Table, out: Path) -> Session:
    """A session on a table that belongs at `out`, with the corrections that lie beside it."""
    return Session(Faces(table), Journal(journal_path(out)))


def said_of(session: Session, row: int) -> Said:
    (shown,) = session.described([row])
    return Said(**shown["said"])


@contextmanager
def serving(out: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`annotate review OUT` in a process, and the address that it says. Killed at the end."""
    process = subprocess.Popen(
        [sys.executable, "-m", "annotate", "review", str(out), "--no-browser", *options],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert process.stderr is not None
    try:
        said = ""
        for line in process.stderr:
            said += line
            if found := re.search(r"http://\S+", line):
                yield process, found[0]
                break
        else:
            raise AssertionError(said)
    finally:
        process.kill()
        process.wait(timeout=300)
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()


def interrupt(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Ctrl-C: the exit code, and what was said until then on stderr."""
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=300)
    return process.returncode, err
