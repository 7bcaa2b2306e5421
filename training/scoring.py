"""Scoring: a model and a part of its split in, what `annotate.evaluate` says of it out."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np

from annotate.errors import AnnotateError, shown
from annotate.gaps import largest_gaps
from annotate.labels import read_label_table, utkface_files
from annotate.metrics import age_metrics, gender_metrics
from annotate.model import model_folder, read_info
from annotate.slices import FEW
from training.data import load_parts
from training.presets import PRESETS, Preset

if TYPE_CHECKING:
    from annotate.evaluation_report import EvaluationReport

LINKS = "images"
"""Folder in a report that holds links to the images that were scored."""

PROTOCOL_AGES = (21, 60)
"""Years, both ends included. Source: the protocol of CORAL, Cao et al. 2020."""

CARD_SLICES = ("age_band", "gender", "race", "gender_x_race")

CARD_EXTRAS = ("predicted_age_bands", "minor", "largest_gaps")
"""More of metrics.json that model.json keeps, where a model gives an age distribution."""

MANY = 100
"""Faces from which on a slice's figure says more of the slice than of chance. A card is about
thousands of faces, and its gaps are between slices of so many."""


def evaluate_part(
    model: str | Path, data: Path, part: str, *, report_dir: Path, limit: int | None = None
) -> EvaluationReport:
    """Run `annotate.evaluate` on the images of one part of a model's own split.

    model: bundled name, or a folder that export wrote. data: the folder that it was trained on.
    part: "train", "validation" or "test". report_dir: gets `images/`, links to the images of
    the part, beside the report. limit: the first N of them.
    Raises AnnotateError.
    """
    from annotate.evaluation import evaluate

    names = part_names(model, data, part)
    images = report_dir / LINKS
    _link(data, names, images)
    return evaluate(images, report_dir=report_dir, model=os.fspath(model), limit=limit)


def part_names(model: str | Path, data: Path, part: str) -> list[str]:
    """File names of the labelled images in one part of a model's split, in byte order."""
    preset, seed, limit = own_split(model)
    return list(load_parts(data, preset, seed=seed, limit=limit, parts=()).hashes[part])


def own_split(model: str | Path) -> tuple[Preset, int, int | None]:
    """How the images of a model were split: (its preset, the seed, the limit), for load_parts.

    Raises AnnotateError where it does not say so, or was split otherwise than its preset says.
    """
    folder = model_folder(model)
    info, _ = read_info(folder)
    data, name = info.get("data"), info.get("preset")
    split = data.get("split") if isinstance(data, dict) else None
    if not isinstance(split, dict) or not isinstance(name, str):
        raise AnnotateError(f"{folder} does not say how its images were split, and by which preset")
    if name not in PRESETS:
        raise AnnotateError(f"{folder} was made by the preset {shown(name)}, which is not known")
    seed, limit = split.get("seed"), split.get("limit")
    if not _is_whole(seed, 0) or not (limit is None or _is_whole(limit, 1)):
        raise AnnotateError(
            f"{folder} does not say how its images were split: expected a seed, and a limit or"
            f" null, found {shown(seed)} and {shown(limit)}"
        )
    preset = PRESETS[name]
    if split.get("validation_share") != preset.validation_share:
        raise AnnotateError(f"{folder} was split otherwise than its preset {preset.name} says now")
    return preset, seed, limit


def _is_whole(value: object, low: int) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value >= low


def _link(data: Path, names: list[str], images: Path) -> None:
    """A folder of links to some files of another; links of an earlier report go away."""
    try:
        images.mkdir(parents=True, exist_ok=True)
        for old in images.iterdir():
            if not old.is_symlink():
                raise AnnotateError(f"{old} is no link of an earlier report: choose another folder")
            old.unlink()
        for name in names:
            (images / name).symlink_to((data / name).resolve())
    except OSError as error:
        raise AnnotateError(f"cannot link the images into {images}: {error}") from error


def part_figures(model: Path, data: Path, part: str) -> dict[str, Any]:
    """The figures of model.json and of the card, for one part.

    Each figure is {"value", "low", "high", "n"} as in metrics.json; where they are not defined,
    value, low and high are None.
    """
    with tempfile.TemporaryDirectory() as folder:
        report = evaluate_part(model, data, part, report_dir=Path(folder))
        found = report.to_dict() | {"largest_gaps": card_gaps(report)}
        protocol = protocol_figures(report)
    return {
        "command": f"python -m training evaluate --model MODEL --data $UTKFACE --part {part}"
        " --report DIR",
        "n": found["inputs"]["scored"],
        "age": found["age"],
        "gender": found["gender"],
        "ages_21_to_60": protocol,
        "slices": {name: found["slices"].get(name, []) for name in CARD_SLICES},
        **{name: found[name] for name in CARD_EXTRAS if found.get(name)},
    }


def card_gaps(report: EvaluationReport) -> list[dict[str, Any]]:
    """The largest gaps, as metrics.json has them, between slices of MANY faces or more; of FEW or
    more in a part so small that no two slices have MANY.
    """
    slices = report.scores.slices
    found = largest_gaps(slices, least_n=MANY) or largest_gaps(slices, least_n=FEW)
    return [gap.to_dict() for gap in found]


def photograph_names(photographs: Path, labels: Path) -> list[str]:
    """Names of the pictures directly in a folder that a label table gives an age or a gender.

    Raises AnnotateError where there is none.
    """
    found = read_label_table(labels, utkface_files(photographs)).labels
    names = [name for name, label in found.items() if label.age is not None or label.gender]
    if not names:
        raise AnnotateError(
            f"{labels} labels none of the pictures in {photographs}: expected their names in the"
            " column path, and an age or a gender"
        )
    return sorted(names, key=os.fsencode)


def photograph_figures(model: Path, photographs: Path, labels: Path) -> dict[str, Any]:
    """Figures on photographs of another source: faces are looked for, the central one is scored.

    photographs: a folder of pictures. labels: CSV or Parquet as `annotate evaluate --labels`
    takes it; pictures that it does not name are left out, unopened.
    Returns {"command", "n" (scored), "searched", "not_found", "trained_on" (pictures that the
    model met in its training), "faults" (number by kind), "age", "gender" (None without such
    labels)}. Raises AnnotateError.
    """
    from annotate.evaluation import evaluate

    with tempfile.TemporaryDirectory() as folder:
        images = Path(folder) / LINKS
        _link(photographs, photograph_names(photographs, labels), images)
        report = evaluate(images, labels=labels, model=os.fspath(model), faces="detect")
    found = report.to_dict()
    return {
        "command": f"annotate evaluate $APPA_REAL --labels {labels.name} --faces detect"
        " --model MODEL --report DIR",
        "n": found["inputs"]["scored"],
        "searched": found["faces"]["searched"],
        "not_found": found["faces"]["not_found"],
        "trained_on": found["training"]["train"] + found["training"]["validation"],
        "faults": found["faults"]["counts"],
        "age": found["age"],
        "gender": found["gender"] if found["labels"]["gender"] else None,
    }


def protocol_figures(report: EvaluationReport) -> dict[str, Any]:
    """Figures of the faces labelled 21 to 60 years, {"age": …, "gender": …}."""
    rows = report.predictions
    low, high = PROTOCOL_AGES
    rows = rows[rows["label_age"].between(low, high) & (rows["status"] == "ok")]

    def column(name: str) -> np.ndarray[Any, np.dtype[np.float64]]:
        return np.asarray(rows[name].to_numpy(np.float64, na_value=np.nan))

    def female(name: str) -> np.ndarray[Any, np.dtype[np.float64]]:
        return np.asarray((rows[name] == "female").to_numpy(np.float64))

    age = age_metrics(column("label_age"), column("age"), column("age_p10"), column("age_p90"))
    gender = gender_metrics(female("label_gender"), female("gender"), column("female_probability"))
    return {"age": age.to_dict(), "gender": gender.to_dict()}
