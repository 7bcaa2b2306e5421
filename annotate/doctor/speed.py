"""Speed: how many pictures a second this machine labels, and how long a folder would take.

The pictures of the speed test lie in a temporary folder and go through the whole pipeline, worker
processes and all; a folder that is given is estimated as `annotate run --dry-run` does it.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from annotate.demo import installed_photographs
from annotate.doctor.engines import with_model
from annotate.doctor.findings import Finding, fault, note, ok
from annotate.doctor.isolation import Options
from annotate.engines import usable_cpus
from annotate.errors import AnnotateError, one_line, shown
from annotate.estimate import duration, estimate
from annotate.model import Model, checked_info, load_model
from annotate.pipeline import prepare
from annotate.run_config import RunConfig

CROP_PX = 200
"""Side of the crops, which is that of UTKFace's."""

PHOTOGRAPH_PX = (3000, 4000)
"""Width and height of the photographs, 12 megapixels as of most phones."""

NOISE = 8
"""Levels by which pixels of the photographs differ at most, so that their file has 2.4 MB."""

FIRST_CROPS, FIRST_PHOTOGRAPHS_PER_WORKER = 128, 2
"""Pictures that show how many the test may have."""

MOST_PICTURES = 50_000
"""What a folder takes as links to one file, on common file systems."""

MANY = 100_000
KINDS = 2
"""Crops and photographs share the time."""


@with_model
def crops(options: Options, _: str) -> Iterator[Finding]:
    """Crops a second: decoding and inference."""
    yield from _measured(options, "crop", f"of {CROP_PX} px")


@with_model
def photographs(options: Options, _: str) -> Iterator[Finding]:
    """Photographs a second: decoding, detection, alignment and inference."""
    width, height = PHOTOGRAPH_PX
    yield from _measured(options, "detect", f"of {width * height / 1e6:.0f} megapixels")


@with_model
def folder(options: Options, _: str) -> Iterator[Finding]:
    """How long a run over a folder would take."""
    assert options.folder is not None
    config = RunConfig(
        (options.folder,), faces=options.faces, model=options.model, workers=options.workers
    )
    try:
        run = prepare(config)
    except AnnotateError as error:
        checked_info(options.model)  # else it is the model, and not the folder, that is told
        yield fault(one_line(error, 2000), "name a file, a folder or an archive with pictures")
        return
    expected = estimate(run)
    about = "about " * bool(run.found.plan.archives)
    noun = "input" if expected.inputs == 1 else "inputs"
    yield ok(
        f"{about}{expected.inputs:,} {noun}: {duration(expected.seconds)} with --faces"
        f" {options.faces}",
        {
            "inputs": expected.inputs,
            "seconds": round(expected.seconds, 1),
            "faces": options.faces,
        },
        name=shown(options.folder, 60, quote=False),
    )


def _measured(options: Options, faces: str, what: str) -> Iterator[Finding]:
    portrait = _portrait()
    if portrait is None:
        yield note(
            "not measured: there is no portrait to make pictures of",
            "pip install --force-reinstall matplotlib brings its sample data back",
        )
        return
    picture = _crop(portrait) if faces == "crop" else _photograph(portrait)
    model = load_model(options.model)
    workers = options.workers or usable_cpus()
    with tempfile.TemporaryDirectory(prefix="annotate-doctor-") as made:
        trial = _Trial(Path(made), picture, model, faces, workers)
        rate = trial.rate(options.seconds / KINDS)
    yield ok(
        f"{_digits(rate)} a second, {what}: {MANY:,} take {duration(MANY / rate)}"
        f" ({workers} {'worker' if workers == 1 else 'workers'}, {model.engine} on"
        f" {model.device_name})",
        {
            "per_second": round(rate, 2),
            "workers": workers,
            "engine": model.engine,
            "device": model.device,
        },
    )


class _Trial:
    """Runs over so many links to one picture."""

    def __init__(self, folder: Path, picture: bytes, model: Model, faces: str, workers: int):
        self._folder = folder
        self._first = folder / "0.jpg"
        self._first.write_bytes(picture)
        self._count = 1
        self._model = model
        self._faces = faces
        self._workers = workers

    def rate(self, seconds: float) -> float:
        """Pictures a second, of runs that take about so long, after one that starts everything."""
        first = FIRST_CROPS
        if self._faces == "detect":
            first = FIRST_PHOTOGRAPHS_PER_WORKER * self._workers
        self._run(first)
        took = self._run(first)
        count = min(round(first / took * max(seconds - took, 0)), MOST_PICTURES)
        return first / took if count <= first else count / self._run(count)

    def _run(self, count: int) -> float:
        """Label so many pictures; returns the seconds from the first one read to the last row."""
        while self._count < count:
            _link(self._first, self._folder / f"{self._count}.jpg")
            self._count += 1
        config = RunConfig(
            (str(self._folder),), faces=self._faces, workers=self._workers, limit=count
        )
        run = prepare(config, model=self._model)
        started = time.perf_counter()
        with contextlib.closing(run.batches()) as batches:
            for _ in batches:
                pass
        return time.perf_counter() - started


def _link(first: Path, other: Path) -> None:
    """Another name for a file, or a copy where the file system has one name a file."""
    try:
        os.link(first, other)
    except OSError:
        shutil.copyfile(first, other)


def _portrait() -> Image.Image | None:
    """The last photograph that is installed: the one that needs no extra."""
    paths = [path for _, path in installed_photographs()]
    if not paths:
        return None
    with Image.open(paths[-1]) as image:
        return image.convert("RGB")


def _crop(portrait: Image.Image) -> bytes:
    side = min(portrait.size)
    return _jpeg(portrait.crop((0, 0, side, side)).resize((CROP_PX, CROP_PX)))


def _photograph(portrait: Image.Image) -> bytes:
    """The portrait, so large, with the noise of a camera: what is smooth is decoded too quickly."""
    pixels = np.asarray(portrait.resize(PHOTOGRAPH_PX, Image.Resampling.BICUBIC))
    noise = np.random.default_rng(0).integers(-NOISE, NOISE + 1, pixels.shape, dtype=np.int16)
    return _jpeg(Image.fromarray(np.clip(pixels + noise, 0, 255).astype(np.uint8)))


def _jpeg(image: Image.Image) -> bytes:
    data = io.BytesIO()
    image.save(data, "JPEG", quality=90)
    return data.getvalue()


def _digits(rate: float) -> str:
    """Two digits, or all before the point: what may be said of a speed."""
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.1f}"
