"""Models: a model folder in, predictions for face crops out.

A folder holds model.json (what the model is, and the SHA-256 of every other file), model.onnx,
model.keras, card.md and training_hashes.txt. Everything is checked before it is used; what does
not agree is an AnnotateError of one line. Importing this module imports nothing heavy.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from annotate.engines import Engine, KerasEngine, OnnxEngine, Outputs, choose
from annotate.errors import AnnotateError, one_line
from annotate.heads import age_outputs, estimates, is_calibration
from annotate.memory import Batches
from annotate.model_files import MAX_NETWORK_BYTES, read_regular
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

MODELS = Path(__file__).parent / "models"

FILE_NAME = "[A-Za-z0-9][A-Za-z0-9._-]{0,99}"
"""What files in a model folder may be called: nothing that leads out of it, on any system."""

MAX_NAME = 100
"""Characters of a model's name."""

_MAX_JSON_BYTES = 4_000_000
"""Parsed, JSON takes up to thirty times as much; bundled models have 100 kB."""


@dataclass(frozen=True)
class Model:
    """A model that is ready to predict.

    sha256: of model.json, which holds the sha256 of every other file. info: model.json, parsed.
    size_px: side of the crops it takes. batch_size: faces that the network is given at a time, as
    long as memory suffices. gpu_remark: why a GPU is not used, if one seems to exist.
    tta: whether it looks at the mirror image of each crop as well. Several threads may predict.
    """

    name: str
    folder: Path
    sha256: str
    info: dict[str, Any]
    batch_size: int
    gpu_remark: str | None
    tta: bool
    _batches: Batches

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
        return self._batches.engine.name

    @property
    def network(self) -> Any:
        """The Keras network that the keras engine runs; None with another engine."""
        return getattr(self._batches.engine, "model", None)

    @property
    def device(self) -> str:
        """The kind of device that it runs on: "cpu" or "gpu"."""
        return self._batches.engine.device

    @property
    def device_name(self) -> str:
        """What that device calls itself."""
        return self._batches.engine.device_name

    @property
    def remarks(self) -> tuple[str, ...]:
        """What its user should know: a GPU that is not used, batches that memory made smaller.

        Grows while it predicts; what is said of batches is what holds by now.
        """
        return tuple(said for said in (self.gpu_remark, self._batches.remark) if said is not None)

    def predict(self, faces: npt.NDArray[np.uint8]) -> Predictions:
        """Age and gender of N faces, in order.

        faces: uint8 (N, size_px, size_px, 3) RGB; N may be 0. The network always sees full
        batches, the last one padded, so a face's prediction does not depend on its company. Where
        memory runs out, batches are halved for good, and `remarks` says so.
        Raises ValueError for other arrays, AnnotateError where the network gives no numbers, or
        one face does not fit into memory.
        """
        return estimates(*self.predict_raw(faces), self.info)

    def predict_raw(self, faces: npt.NDArray[np.uint8]) -> Outputs:
        """What the network says of N faces, uncalibrated: see Outputs; as predict otherwise.

        With tta, the mean over both ways round.
        """
        size_px = self.size_px
        if not isinstance(faces, np.ndarray):
            raise ValueError(f"faces: expected a NumPy array, found {type(faces).__name__}")
        if faces.dtype != np.uint8 or faces.ndim != 4 or faces.shape[1:] != (size_px, size_px, 3):
            raise ValueError(
                f"faces: expected uint8 (N, {size_px}, {size_px}, 3) RGB,"
                f" found {faces.dtype} {faces.shape}"
            )
        age, gender = self._batches.run(faces)
        if self.tta:
            mirrored = self._batches.run(faces[:, :, ::-1])
            half = np.float32(0.5)
            age, gender = (age + mirrored[0]) * half, (gender + mirrored[1]) * half
        return age, gender

    def training_parts(self) -> dict[str, str]:
        """First 16 hexadecimal digits of an image's SHA-256 -> its part in training.

        Parts: "train" and "validation"; images that the model never met are not listed.
        """
        if HASHES_FILE not in self.info["files"]:
            return {}
        data = _checked_file(self.folder, self.info, HASHES_FILE)
        rows = [row.split() for row in data.decode("ascii", "replace").splitlines()]
        parts = {row[0][:HASH_DIGITS]: row[-1] for row in rows if len(row) == 2}
        if len(rows) != len(parts) or not set(parts.values()) <= {"train", "validation"}:
            raise AnnotateError(
                f"{self.folder / HASHES_FILE} does not list images: expected lines of hexadecimal"
                " digits and `train` or `validation`"
            )
        return parts


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
    tta: bool = False,
) -> Model:
    """Load a bundled model by name, or any model folder by path.

    engine: "onnx", "keras", or "auto": onnx on a CPU, keras on a GPU. device: "cpu", "gpu", or
    "auto": a GPU if the Keras backend can use one. threads: of the onnx engine, None for all
    CPUs that this process may use. tta: test-time augmentation, the mean of what the network says
    of a crop and of its mirror image; takes twice as long.
    Raises AnnotateError where the folder does not hold what its model.json says, or the device
    cannot be had; ValueError for a batch_size or threads below 1.
    """
    if batch_size < 1 or (threads is not None and threads < 1):
        raise ValueError(f"batch_size and threads must be 1 or more: {batch_size}, {threads}")
    folder = model_folder(name_or_path)
    info, sha256 = read_info(folder)
    engine, device, device_name, remark = choose(engine, device)
    path = folder / FILES[engine]
    for name in info["files"]:
        if name != path.name:
            _checked_file(folder, info, name)
    if path.name not in info["files"]:
        raise AnnotateError(f"{folder} has no {path.name}, which the {engine} engine needs")
    data = _checked_file(folder, info, path.name)
    ready: Engine
    if engine == "onnx":
        ready = OnnxEngine(path, data, batch_size, threads)
    else:
        ready = KerasEngine(path, data, device, device_name)
    _check_shapes(path, ready, info)
    batches = Batches(info["name"], ready, batch_size)
    return Model(info["name"], folder, sha256, info, batch_size, remark, tta, batches)


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
    if not os.path.exists(path):
        raise AnnotateError(f"{folder} is no model folder: it has no model.json")
    data = read_regular(path, _MAX_JSON_BYTES)
    try:
        info = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise AnnotateError(f"cannot read {path}: {one_line(error)}") from error
    if not isinstance(info, dict):
        raise AnnotateError(f"{path} does not describe a model")
    _check_info(path, info)
    return info, hashlib.sha256(data).hexdigest()


def checked_info(name_or_path: str | os.PathLike[str]) -> dict[str, Any]:
    """model.json of a model whose every file is as it was exported. Raises AnnotateError."""
    folder = model_folder(name_or_path)
    info, _ = read_info(folder)
    for name in info["files"]:
        _checked_file(folder, info, name)
    return info


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
        checks = {
            "name": info["name"].isprintable() and 0 < len(info["name"]) <= MAX_NAME,
            "input.size_px": _is_whole(info["input"]["size_px"], 8, 4096),
            "input.colours": info["input"]["colours"] == "RGB",
            "heads.age.kind": age["kind"] in ("distribution", "regression"),
            "heads.age.bins": age["kind"] == "regression" or _is_whole(age.get("bins"), 2, 1000),
            "heads.gender.positive": gender["positive"] == "female",
            "calibration": is_calibration(info["calibration"]),
            "files": all(
                re.fullmatch(FILE_NAME, name) and re.fullmatch("[0-9a-f]{64}", digest)
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


def _checked_file(folder: Path, info: dict[str, Any], name: str) -> bytes:
    """The bytes of a file that model.json lists, after comparing their SHA-256."""
    path = folder / name
    data = read_regular(path, MAX_NETWORK_BYTES)
    found, expected = hashlib.sha256(data).hexdigest(), info["files"][name]
    if found != expected:
        raise AnnotateError(
            f"{path} is not the file that model.json lists: its sha256 is {found[:12]}…,"
            f" expected {expected[:12]}…; get the model folder again"
        )
    return data
