"""Robustness: a model and images it was not trained on in, its figures under bad conditions out.

Each condition changes the decoded crop at its full size. What follows is the step from pixels to
the network's input that everything goes through. The clean crop goes the same way, so a
condition differs from it by the condition alone.
"""

from __future__ import annotations

import contextlib
import functools
import io
import math
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageFilter
from tqdm import tqdm

from annotate.engines import usable_cpus
from annotate.errors import AnnotateError, one_line
from annotate.images import ImageError, Pixels, decode, luma, resize_square
from annotate.labels import Label, labels_from_names
from annotate.metrics import Floats, age_metrics, gender_metrics
from annotate.model import Model, load_model
from annotate.records import Status
from annotate.workers import OrderedMap
from training.markdown import figure, number, percent, table
from training.scoring import part_names

JPEG_QUALITY = 20
"""Pillow's quality, 1 to 95."""

BLUR = 0.01
"""Standard deviation as a share of the side: 2 px of the 200 px of UTKFace."""

ROTATION_DEG = 15.0
SHIFT = 0.1
"""Share of the side."""

MAX_SIDE_PX = 4096
"""Larger crops are left out: no network takes as much, and turning one would cost gigabytes."""

IMAGES_AT_ONCE = 64
"""Images whose views are decoded, and then predicted, together."""


@dataclass(frozen=True)
class Condition:
    """about: what it does, in words. change: uint8 (h, w, 3) RGB to the same shape."""

    about: str
    change: Callable[[Pixels], Pixels]


def unchanged(crop: Pixels) -> Pixels:
    """The crop itself."""
    return crop


def grayscale(crop: Pixels) -> Pixels:
    """Brightness in all three channels."""
    gray = np.rint(luma(crop)).astype(np.uint8)
    return np.repeat(gray[..., None], 3, axis=2)


def jpeg(crop: Pixels) -> Pixels:
    """Written as a JPEG of low quality and read back."""
    return decode(jpeg_bytes(crop)).pixels


def jpeg_bytes(crop: Pixels) -> bytes:
    """A JPEG file of JPEG_QUALITY."""
    file = io.BytesIO()
    Image.fromarray(crop).save(file, "JPEG", quality=JPEG_QUALITY)
    return file.getvalue()


def half_resolution(crop: Pixels) -> Pixels:
    """Both sides halved, each new pixel the mean of four, and enlarged again, bilinear."""
    picture = Image.fromarray(crop)
    width, height = picture.size
    small = picture.resize((max(1, width // 2), max(1, height // 2)), Image.Resampling.BOX)
    return np.asarray(small.resize((width, height), Image.Resampling.BILINEAR))


def blurred(crop: Pixels) -> Pixels:
    """Out of focus, as a Gaussian."""
    height, width = crop.shape[:2]
    blur = ImageFilter.GaussianBlur((BLUR * width, BLUR * height))
    return np.asarray(Image.fromarray(crop).filter(blur))


def rotated(crop: Pixels, degrees: float) -> Pixels:
    """Turned counter-clockwise about the centre, bilinear; what was outside repeats the edge."""
    # A corner comes from at most so far outside: (w sin a + h cos a - h) / 2 < w sin a / 2.
    reach = math.sin(math.radians(abs(degrees))) * max(crop.shape[:2]) / 2
    margin = math.ceil(reach) + 1
    wide = np.pad(crop, ((margin, margin), (margin, margin), (0, 0)), mode="edge")
    turned = Image.fromarray(wide).rotate(degrees, Image.Resampling.BILINEAR)
    return np.asarray(turned)[margin:-margin, margin:-margin]


def shifted(crop: Pixels, right: float = 0.0, down: float = 0.0) -> Pixels:
    """Moved by shares of the sides, in whole pixels; what was outside repeats the edge."""
    height, width = crop.shape[:2]
    rows = np.clip(np.arange(height) - round(down * height), 0, height - 1)
    columns = np.clip(np.arange(width) - round(right * width), 0, width - 1)
    return np.asarray(crop[rows][:, columns])


CONDITIONS: Mapping[str, Condition] = {
    "clean": Condition("clean", unchanged),
    "grayscale": Condition("grayscale", grayscale),
    "jpeg": Condition(f"JPEG of quality {JPEG_QUALITY}", jpeg),
    "half_resolution": Condition("half the resolution", half_resolution),
    "blurred": Condition(f"Gaussian blur, {percent(BLUR)} of the side", blurred),
    "rotated_left": Condition(
        f"turned {ROTATION_DEG:.0f}° counter-clockwise",
        functools.partial(rotated, degrees=ROTATION_DEG),
    ),
    "rotated_right": Condition(
        f"turned {ROTATION_DEG:.0f}° clockwise", functools.partial(rotated, degrees=-ROTATION_DEG)
    ),
    "shifted_right": Condition(
        f"moved {percent(SHIFT)} of the side to the right", functools.partial(shifted, right=SHIFT)
    ),
    "shifted_left": Condition(
        f"moved {percent(SHIFT)} of the side to the left", functools.partial(shifted, right=-SHIFT)
    ),
    "shifted_down": Condition(
        f"moved {percent(SHIFT)} of the side down", functools.partial(shifted, down=SHIFT)
    ),
    "shifted_up": Condition(
        f"moved {percent(SHIFT)} of the side up", functools.partial(shifted, down=-SHIFT)
    ),
}
"""The closed list, in the order of the table. Turned and moved crops repeat their edge pixels:
black borders would be a second change."""


@dataclass(frozen=True)
class _Views:
    """pixels: uint8 (C, S, S, 3), one image under each of C conditions; None with a fault."""

    pixels: Pixels | None = None
    fault: str | None = None


@dataclass(frozen=True)
class _Scored:
    """N images that were read. age_label: years; female_label: 1 female, 0 male; float64 (N,).

    guesses: float64 (3, C, N): years, 1 or 0 for the gender, female_probability. faults: by name,
    the images that were not read.
    """

    age_label: Floats
    female_label: Floats
    guesses: Floats
    faults: dict[str, str]


def robustness(
    model: str | Path, data: Path, part: str = "test", *, limit: int | None = None
) -> dict[str, Any]:
    """A model's figures under each of CONDITIONS, on the images of one part of its own split.

    model: bundled name, or a folder that export wrote. data: the folder it was trained on.
    limit: so many images of the part only, evenly spaced.
    Returns {"command", "part", "n", "unreadable": {name: reason}, "conditions": {name: {"about",
    "age": {"mae", "bias", "cs5"}, "gender": {"accuracy"}, "mae_ratio"}}}; figures are {"value",
    "low", "high", "n"} with 95 % bootstrap intervals, mae_ratio is the MAE over that of `clean`.
    Raises AnnotateError.
    """
    names = part_names(model, data, part)
    if limit is not None and limit < len(names):
        names = [names[i] for i in np.linspace(0, len(names) - 1, limit).astype(int)]
    scored = _score(load_model(model, engine="onnx", batch_size=IMAGES_AT_ONCE), data, names)
    if not len(scored.age_label):
        raise AnnotateError(f"no image of the {part} part in {data} can be read: check --data")
    return {
        "command": f"python -m training robustness --model MODEL --data $UTKFACE --part {part}"
        + (f" --limit {limit}" if limit is not None else ""),
        "part": part,
        "n": len(scored.age_label),
        "unreadable": scored.faults,
        "conditions": _figures(scored),
    }


def _score(model: Model, data: Path, names: list[str]) -> _Scored:
    """Predict every image under every condition, IMAGES_AT_ONCE in memory at a time."""
    labels = labels_from_names(names).labels
    read: list[Label] = []
    faults: dict[str, str] = {}
    guesses = [np.empty((3, len(CONDITIONS), 0))]
    batch: list[Pixels] = []
    with contextlib.closing(_all_views(data, names, model.size_px)) as found:
        for name, image in zip(names, found, strict=True):
            if image.pixels is None:
                faults[name] = image.fault or ""
                continue
            read.append(labels[name])
            batch.append(image.pixels)
            if len(batch) == IMAGES_AT_ONCE:
                guesses.append(_guesses(model, batch))
                batch = []
    if batch:
        guesses.append(_guesses(model, batch))
    return _Scored(
        age_label=np.array([label.age for label in read], np.float64),
        female_label=np.array([label.gender == "female" for label in read], np.float64),
        guesses=np.concatenate(guesses, axis=2),
        faults=faults,
    )


def _all_views(data: Path, names: list[str], size_px: int) -> Generator[_Views, None, None]:
    """The views of each image, in order, made by joblib's processes one window ahead."""
    workers = usable_cpus()
    made = OrderedMap(
        functools.partial(_read_views, size_px=size_px),
        (data / name for name in names),
        on_crash=lambda path: _Views(fault="the process that decoded it ended unexpectedly"),
        workers=workers,
        window=IMAGES_AT_ONCE,
        chunk=max(1, IMAGES_AT_ONCE // (4 * workers)),
    )
    with made, tqdm(total=len(names), unit="image", disable=None) as bar:
        for found in made:
            bar.update()
            yield found


def _read_views(path: Path, size_px: int) -> _Views:
    """What a worker process runs; whatever is wrong with the file is the fault."""
    try:
        return _Views(views(path.read_bytes(), size_px))
    except (OSError, ImageError) as error:
        return _Views(fault=one_line(error))


def views(data: bytes, size_px: int) -> Pixels:
    """An image under each of CONDITIONS. data: the bytes of a face crop.

    Returns uint8 (C, size_px, size_px, 3) RGB, in the order of CONDITIONS. Raises ImageError.
    """
    crop = decode(data, max_pixels=MAX_SIDE_PX**2).pixels
    if max(crop.shape) > MAX_SIDE_PX:
        text = f"{crop.shape[1]} x {crop.shape[0]} pixels, the limit is {MAX_SIDE_PX} a side"
        raise ImageError(Status.TOO_LARGE, text)
    changed = (condition.change(crop) for condition in CONDITIONS.values())
    return np.stack([resize_square(pixels, size_px) for pixels in changed])


def _guesses(model: Model, batch: list[Pixels]) -> Floats:
    """(3, C, n), as in _Scored, of n images under C conditions each."""
    found = model.predict(np.concatenate(batch))
    estimates = (found.age, found.gender == "female", found.female_probability)
    return np.array([e.reshape(len(batch), -1).T for e in estimates], np.float64)


def _figures(scored: _Scored) -> dict[str, Any]:
    """The figures of each condition, by name."""
    figures: dict[str, Any] = {}
    for index, (name, condition) in enumerate(CONDITIONS.items()):
        years, female, probability = scored.guesses[:, index]
        age = age_metrics(scored.age_label, years).to_dict()
        gender = gender_metrics(scored.female_label, female, probability).to_dict()
        figures[name] = {
            "about": condition.about,
            "age": {key: age[key] for key in ("mae", "bias", "cs5")},
            "gender": {"accuracy": gender["accuracy"]},
        }
    clean = figures["clean"]["age"]["mae"]["value"]
    for found in figures.values():
        found["mae_ratio"] = round(found["age"]["mae"]["value"] / clean, 4) if clean else None
    return figures


def robustness_table(found: Mapping[str, Any]) -> str:
    """What `robustness` returned, as a Markdown table."""
    rows = (
        (
            result["about"],
            figure(result["age"]["mae"], 2),
            number(result["mae_ratio"], 2),
            figure(result["age"]["bias"], 2),
            figure(result["age"]["cs5"], 3),
            figure(result["gender"]["accuracy"], 3),
        )
        for result in found["conditions"].values()
    )
    header = ("condition", "age MAE", "of clean", "age bias", "CS@5", "gender accuracy")
    return table(header, rows)
