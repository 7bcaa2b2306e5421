"""Models: a model folder in, predictions for face crops out.

A folder holds model.json (what the model is, and the SHA-256 of every other file), model.onnx,
model.keras, card.md and training_hashes.txt. Everything is checked before it is used; what does
not agree is an AnnotateError of one line. Importing this module imports nothing heavy.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from annotate.engines import Engine, KerasEngine, OnnxEngine, choose
from annotate.errors import AnnotateError, one_line
from annotate.records import Predictions

SCHEMA_VERSION = 1
"""Of model.json. Raised when a key changes its meaning."""

PREPROCESSING_VERSION = 1
"""Of annotate.images.face_crop. Raised when the same file would give other pixels."""

FILES = {"onnx": "model.onnx", "keras": "model.keras"}
"""The file of each engine in a model folder."""

HASHES_FILE = "training_hashes.txt"
HASH_DIGITS = 16
"""Hexadecimal digits of an image's SHA-256 in training_hashes.txt."""

ADULT_AGE = 18
"""Years. Ages below it count as minor."""

MODELS = Path(__file__).parent / "models"

_SATURATED = 1e-5
_MAX_JSON_BYTES = 16_000_000


@dataclass(frozen=True)
class Model:
    """A model that is ready to predict.

    sha256: of model.json, which holds the sha256 of every other file. info: model.json, parsed.
    size_px: side of the crops it takes. remark: why a GPU is not used, if one seems to exist.
    """

    name: str
    folder: Path
    sha256: str
    info: dict[str, Any]
    batch_size: int
    remark: str | None
    _engine: Engine

    @property
    def size_px(self) -> int:
        """Side in pixels of the crops that predict takes."""
        return int(self.info["input"]["size_px"])

    @property
    def preprocessing_version(self) -> int:
        """The version of the step from files to pixels that the model was trained with."""
        return int(self.info["preprocessing_version"])

    @property
    def engine(self) -> str:
        """The engine that runs: "onnx" or "keras"."""
        return self._engine.name

    @property
    def device(self) -> str:
        """The kind of device that it runs on: "cpu" or "gpu"."""
        return self._engine.device

    @property
    def device_name(self) -> str:
        """What that device calls itself."""
        return self._engine.device_name

    def predict(self, faces: npt.NDArray[np.uint8]) -> Predictions:
        """Age and gender of N faces, in order.

        faces: uint8 (N, size_px, size_px, 3) RGB; N may be 0. The network always sees batches
        of batch_size, the last one padded, so a face's prediction does not depend on its company.
        Raises ValueError for other arrays, AnnotateError where the network gives no numbers.
        """
        size_px = self.size_px
        if not isinstance(faces, np.ndarray):
            raise ValueError(f"faces: expected a NumPy array, found {type(faces).__name__}")
        if faces.dtype != np.uint8 or faces.ndim != 4 or faces.shape[1:] != (size_px, size_px, 3):
            raise ValueError(
                f"faces: expected uint8 (N, {size_px}, {size_px}, 3) RGB,"
                f" found {faces.dtype} {faces.shape}"
            )
        raw = [
            self._run(faces[i : i + self.batch_size]) for i in range(0, len(faces), self.batch_size)
        ]
        width = age_outputs(self.info)
        age = np.concatenate([np.empty((0, width), np.float32), *(a for a, _ in raw)])
        gender = np.concatenate([np.empty((0, 1), np.float32), *(g for _, g in raw)])
        return estimates(age, gender, self.info)

    def _run(self, faces: npt.NDArray[np.uint8]) -> tuple[Any, Any]:
        """Raw outputs of up to batch_size faces, by way of a full batch."""
        count = len(faces)
        batch = np.zeros((self.batch_size, *faces.shape[1:]), np.uint8)
        batch[:count] = faces
        try:
            outputs = self._engine.run(batch)
        except Exception as error:  # each engine has its own exceptions, down to the driver's
            raise AnnotateError(
                f"model {self.name!r} failed on {self.engine} ({self.device}): {one_line(error)}"
            ) from error
        expected = ((self.batch_size, age_outputs(self.info)), (self.batch_size, 1))
        if tuple(output.shape for output in outputs) != expected:
            found = [tuple(output.shape) for output in outputs]
            raise AnnotateError(f"model {self.name!r} gives shapes {found}, expected {expected}")
        return outputs[0][:count], outputs[1][:count]

    def training_parts(self) -> dict[str, str]:
        """First 16 hexadecimal digits of an image's SHA-256 -> its part in training.

        Parts: "train" and "validation"; images that the model never met are not listed.
        """
        path = self.folder / HASHES_FILE
        try:
            rows = [row.split() for row in path.read_text("ascii").splitlines()]
            return {digits[:HASH_DIGITS]: part for digits, part in rows}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise AnnotateError(f"cannot read {path}: {one_line(error)}") from error


def estimates(
    age_output: npt.NDArray[np.float32],
    gender_output: npt.NDArray[np.float32],
    info: dict[str, Any],
) -> Predictions:
    """Raw outputs of a network to what is written in rows; training validates with it too.

    age_output: (N, bins), probability of each integer age 0 to bins - 1, or (N, 1) years for a
    regression head. gender_output: (N, 1), probability of `female`. info: model.json.
    Raises AnnotateError where the network gives values that are not numbers or probabilities.

    Integer age a stands for the years from a - 0.5 to a + 0.5, because labels are whole numbers
    and the training labels are spread evenly around them: a distribution with all its weight on
    30 has the median 30. Median, p10 and p90 are interpolated linearly inside that year. Nothing
    is below 0 years. minor_probability is the weight of the integer ages below 18.
    Calibration: age p^(1/T), renormalised; gender logit / T (Guo et al. 2017).
    """
    age, gender = (np.asarray(raw, np.float64) for raw in (age_output, gender_output))
    if not (np.isfinite(age).all() and np.isfinite(gender).all()):
        raise AnnotateError("the model gives values that are not numbers: its weights are damaged")
    if ((gender < 0) | (gender > 1)).any():
        raise AnnotateError("the model gives gender probabilities outside 0 to 1")
    calibration = info["calibration"]
    female = _tempered_probability(gender[:, 0], calibration["gender_temperature"])
    if info["heads"]["age"]["kind"] == "regression":
        return Predictions(_float32(np.maximum(age[:, 0], 0.0)), _float32(female))
    if (age < 0).any() or (np.abs(age.sum(axis=1) - 1) > 0.01).any():
        raise AnnotateError("the model gives age probabilities that do not sum to 1")
    p = tempered(age, calibration["age_temperature"])
    years = np.arange(p.shape[1], dtype=np.float64)
    mean = (p * years).sum(axis=1)
    variance = np.maximum((p * (years - mean[:, None]) ** 2).sum(axis=1), 0.0)
    return Predictions(
        age=_float32(quantile(p, 0.5)),
        female_probability=_float32(female),
        age_p10=_float32(quantile(p, 0.1)),
        age_p90=_float32(quantile(p, 0.9)),
        age_sd=_float32(np.sqrt(variance)),
        minor_probability=_float32(np.clip(p[:, :ADULT_AGE].sum(axis=1), 0.0, 1.0)),
    )


def tempered(p: npt.NDArray[np.float64], temperature: float) -> npt.NDArray[np.float64]:
    """Distributions p (N, bins), sharpened (T < 1) or flattened (T > 1); rows sum to 1."""
    powered = p ** (1.0 / temperature)
    return np.asarray(powered / powered.sum(axis=1, keepdims=True))


def _tempered_probability(
    p: npt.NDArray[np.float64], temperature: float
) -> npt.NDArray[np.float64]:
    """1 / (1 + exp(-logit(p) / T)). Without calibration (T is 1) nothing changes.

    float32 has few digits left near 1, and high temperatures would magnify what is missing.
    """
    if temperature == 1.0:
        return p
    p = np.clip(p, _SATURATED, 1.0 - _SATURATED)
    yes, no = p ** (1.0 / temperature), (1.0 - p) ** (1.0 / temperature)
    return np.asarray(yes / (yes + no))


def quantile(p: npt.NDArray[np.float64], share: float) -> npt.NDArray[np.float64]:
    """Ages in years below which `share` of each distribution lies, (N,), at least 0.

    p: (N, bins), rows sum to 1; bin a reaches from a - 0.5 to a + 0.5 years, evenly filled.
    """
    cumulative = np.cumsum(p, axis=1)
    # Rounding may end a row just below 1, or below a share of 1.
    cumulative[:, -1] = np.maximum(cumulative[:, -1], 1.0)
    index = np.argmax(cumulative >= share, axis=1)[:, None]
    inside = np.take_along_axis(p, index, axis=1)
    below = np.take_along_axis(cumulative, index, axis=1) - inside
    fraction = np.clip((share - below) / np.where(inside > 0, inside, 1.0), 0.0, 1.0)
    return np.asarray(np.maximum(index + fraction - 0.5, 0.0)[:, 0])


def _float32(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    return values.astype(np.float32)


def age_outputs(info: dict[str, Any]) -> int:
    """Width of the age head: the number of ages, or 1 for a regression head."""
    age = info["heads"]["age"]
    return 1 if age["kind"] == "regression" else int(age["bins"])


def bundled_models() -> list[str]:
    """Names of the models that came with the package, sorted."""
    names = (path.parent.name for path in MODELS.glob("*/model.json"))
    return sorted(name for name in names if not name.startswith("."))


def load_model(
    name_or_path: str | os.PathLike[str] = "base",
    *,
    engine: str = "auto",
    device: str = "auto",
    batch_size: int = 64,
    threads: int | None = None,
) -> Model:
    """Load a bundled model by name, or any model folder by path.

    engine: "onnx", "keras", or "auto": onnx on a CPU, keras on a GPU. device: "cpu", "gpu", or
    "auto": a GPU if the Keras backend can use one. threads: of the onnx engine, None for all
    CPUs that this process may use.
    Raises AnnotateError where the folder does not hold what its model.json says, or the device
    cannot be had; ValueError for a batch_size or threads below 1.
    """
    if batch_size < 1 or (threads is not None and threads < 1):
        raise ValueError(f"batch_size and threads must be 1 or more: {batch_size}, {threads}")
    folder = model_folder(name_or_path)
    info, sha256 = read_info(folder)
    contents = _checked_files(folder, info)
    engine, device, device_name, remark = choose(engine, device)
    path = folder / FILES[engine]
    if path.name not in contents:
        raise AnnotateError(f"{folder} has no {path.name}, which the {engine} engine needs")
    ready: Engine
    if engine == "onnx":
        ready = OnnxEngine(path, contents[path.name], threads)
    else:
        ready = KerasEngine(path, device, device_name)
    _check_shapes(path, ready, info)
    return Model(info["name"], folder, sha256, info, batch_size, remark, ready)


def _check_shapes(path: Path, engine: Engine, info: dict[str, Any]) -> None:
    """The network takes and gives what model.json says; its batch dimension may be free."""
    size_px = info["input"]["size_px"]
    if engine.input_shape[1:] != (size_px, size_px, 3):
        raise AnnotateError(
            f"{path} takes {one_line(engine.input_shape)}, but model.json says {size_px} px RGB"
        )
    expected = (age_outputs(info), 1)
    if engine.output_widths != expected:
        raise AnnotateError(
            f"{path} gives {one_line(engine.output_widths)} values for age and gender,"
            f" but model.json says {expected}"
        )


def model_folder(name_or_path: str | os.PathLike[str]) -> Path:
    """The folder of a bundled model's name, or of a path. Raises AnnotateError."""
    if isinstance(name_or_path, str) and name_or_path in bundled_models():
        return MODELS / name_or_path
    folder = Path(name_or_path)
    if folder.is_dir():
        return folder
    bundled = ", ".join(bundled_models()) or "none"
    raise AnnotateError(
        f"no model {one_line(name_or_path)!r}: expected a bundled model ({bundled})"
        " or the path of a model folder"
    )


def read_info(folder: Path) -> tuple[dict[str, Any], str]:
    """model.json of a folder, checked, and its SHA-256. Raises AnnotateError."""
    path = folder / "model.json"
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_JSON_BYTES + 1)
        info = json.loads(data) if len(data) <= _MAX_JSON_BYTES else None
    except FileNotFoundError as error:
        raise AnnotateError(f"{folder} is no model folder: it has no model.json") from error
    except (OSError, ValueError, RecursionError) as error:
        raise AnnotateError(f"cannot read {path}: {one_line(error)}") from error
    if not isinstance(info, dict):
        raise AnnotateError(f"{path} does not describe a model")
    _check_info(path, info)
    return info, hashlib.sha256(data).hexdigest()


def _check_info(path: Path, info: dict[str, Any]) -> None:
    """Everything that loading and predicting rely on is there and makes sense."""
    found = info.get("schema_version")
    if found != SCHEMA_VERSION:
        raise AnnotateError(
            f"{path} has schema version {one_line(found)}, this annotate reads {SCHEMA_VERSION}:"
            " use the annotate that exported it, or export again"
        )
    found = info.get("preprocessing_version")
    if found != PREPROCESSING_VERSION:
        raise AnnotateError(
            f"{path} was trained with preprocessing {one_line(found)}, this annotate has"
            f" {PREPROCESSING_VERSION}: train and export it again"
        )
    try:
        age, gender = info["heads"]["age"], info["heads"]["gender"]
        temperatures = [info["calibration"][f"{head}_temperature"] for head in ("age", "gender")]
        checks = {
            "name": isinstance(info["name"], str) and info["name"].isprintable(),
            "input.size_px": _is_whole(info["input"]["size_px"], 8, 4096),
            "input.colours": info["input"]["colours"] == "RGB",
            "heads.age.kind": age["kind"] in ("distribution", "regression"),
            "heads.age.bins": age["kind"] == "regression" or _is_whole(age.get("bins"), 2, 1000),
            "heads.gender.positive": gender["positive"] == "female",
            "calibration": all(isinstance(t, float) and 0.01 <= t <= 100 for t in temperatures),
            "files": all(
                isinstance(name, str) and name == Path(name).name and isinstance(digest, str)
                for name, digest in info["files"].items()
            ),
        }
    except (KeyError, TypeError, AttributeError) as error:
        raise AnnotateError(f"{path} lacks what a model needs: {one_line(repr(error))}") from error
    wrong = [key for key, fine in checks.items() if not fine]
    if wrong:
        raise AnnotateError(f"{path} has unusable values: {', '.join(wrong)}")


def _is_whole(value: object, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _checked_files(folder: Path, info: dict[str, Any]) -> dict[str, bytes]:
    """The bytes of every file that model.json lists, after comparing their SHA-256."""
    contents: dict[str, bytes] = {}
    for name, expected in info["files"].items():
        path = folder / name
        try:
            data = path.read_bytes()
        except OSError as error:
            raise AnnotateError(f"{path}, which model.json lists: {error.strerror}") from error
        found = hashlib.sha256(data).hexdigest()
        if found != expected:
            raise AnnotateError(
                f"{path} is not the file that model.json lists: its sha256 is {found[:12]}…,"
                f" expected {one_line(expected)[:12]}…; get the model folder again"
            )
        contents[name] = data
    return contents
