"""Hostile Keras files: none of them may load, and none of them may do anything."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from annotate.engines import import_keras
from annotate.errors import AnnotateError
from annotate.model import load_model
from annotate.model_files import check_keras

Members = dict[str, bytes]


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small Keras model that may be loaded."""
    keras = import_keras()
    pixels = keras.Input((16, 16, 3), dtype="uint8", name="pixels")
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 255)(pixels))
    age = keras.layers.Dense(5, activation="softmax", name="age")(x)
    gender = keras.layers.Dense(1, activation="sigmoid", name="gender")(x)
    path = tmp_path_factory.mktemp("honest") / "model.keras"
    keras.Model(pixels, {"age": age, "gender": gender}).save(path)
    return Path(path)


def _members(path: Path) -> Members:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _write(path: Path, members: Members, compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def _config(change: Callable[[dict[str, Any]], object]) -> Callable[[Members], None]:
    def changed(members: Members) -> None:
        config = json.loads(members["config.json"])
        change(config)
        members["config.json"] = json.dumps(config).encode()

    return changed


def _weights(change: Callable[[h5py.File], object]) -> Callable[[Members], None]:
    def changed(members: Members) -> None:
        buffer = io.BytesIO(members["model.weights.h5"])
        with h5py.File(buffer, "r+") as file:
            change(file)
        members["model.weights.h5"] = buffer.getvalue()

    return changed


def _layer(**values: Any) -> Callable[[Members], None]:
    return _config(lambda config: config["config"]["layers"][1].update(values))


def _external(file: h5py.File) -> None:
    file.create_dataset("more", (4,), "u1", external=[("/etc/hostname", 0, 4)])


def _virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource("/etc/other.h5", "x", (4,))
    file.create_virtual_dataset("more", layout)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_layer(class_name="Lambda"), "keras.layers.Lambda"),
        (_layer(class_name="TorchModuleWrapper"), "TorchModuleWrapper"),
        (_layer(module="os", class_name="system"), "os.system"),
        (_layer(module="builtins", class_name="eval"), "builtins.eval"),
        (_layer(module=None, class_name="Dense"), "not a known layer"),
        (_layer(module="keras.layers", registered_name="mine>Dense"), "not a known layer"),
        (_layer(class_name=["Dense"]), "not a known layer"),
        (_layer(extra=[{"deep": {"class_name": "__lambda__", "config": {}}}]), "__lambda__"),
        (lambda m: m.update({"config.json": b"[]"}), "describes no model"),
        (lambda m: m.update({"config.json": b"{"}), "readable Keras file"),
        (lambda m: m.update({"config.json": b"[" * 200_000}), "readable Keras file"),
        (lambda m: m.update({"assets/code.py": b"1"}), "expected the members"),
        (lambda m: m.pop("model.weights.h5"), "expected the members"),
        (lambda m: m.update({"model.weights.h5": b"\x80\x04\x95."}), "unreadable weights"),
        (_weights(_external), "lie in other files"),
        (_weights(_virtual), "lie in other files"),
        (
            _weights(lambda f: f.__setitem__("more", h5py.ExternalLink("/etc/other.h5", "/"))),
            "link to another place",
        ),
        (_weights(lambda f: f.__setitem__("more", h5py.SoftLink("/"))), "link to another place"),
    ],
)
def test_a_spoilt_keras_file_is_refused(
    honest: Path, tmp_path: Path, spoil: Callable[[Members], None], said: str
) -> None:
    members = _members(honest)
    spoil(members)
    path = _write(tmp_path / "model.keras", members)
    with pytest.raises(AnnotateError, match=said) as caught:
        check_keras(path)
    assert "\n" not in str(caught.value)


def test_an_honest_keras_file_passes(honest: Path) -> None:
    check_keras(honest)


def test_compressed_truncated_and_pickled_files_are_refused(honest: Path, tmp_path: Path) -> None:
    path = _write(tmp_path / "model.keras", _members(honest), zipfile.ZIP_DEFLATED)
    with pytest.raises(AnnotateError, match="compressed"):
        check_keras(path)
    path.write_bytes(honest.read_bytes()[:-200])
    with pytest.raises(AnnotateError, match="readable Keras file"):
        check_keras(path)
    path.write_bytes(b"\x80\x04\x95\x1c\x00\x00\x00\x00\x00\x00\x00\x8c\x02os.")
    with pytest.raises(AnnotateError, match="readable Keras file"):
        check_keras(path)


def test_a_lambda_layer_that_keras_itself_saved_never_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    keras = import_keras()
    pixels = keras.Input((16, 16, 3), dtype="uint8", name="pixels")

    def harm(x: Any) -> Any:
        Path("it-ran").touch()
        return x

    x = keras.layers.Lambda(harm, output_shape=(16, 16, 3))(keras.layers.Rescaling(1.0)(pixels))
    x = keras.layers.GlobalAveragePooling2D()(x)
    heads = {name: keras.layers.Dense(1, name=name)(x) for name in ("age", "gender")}
    folder = _folder(tmp_path, keras.Model(pixels, heads), bins=None)
    Path("it-ran").unlink(missing_ok=True)
    with pytest.raises(AnnotateError, match=r"keras\.layers\.Lambda"):
        load_model(folder, engine="keras", device="cpu")
    assert not Path("it-ran").exists()


def _folder(tmp_path: Path, network: Any, bins: int | None) -> Path:
    """A model folder around a Keras network."""
    folder = tmp_path / "folder"
    folder.mkdir()
    network.save(folder / "model.keras")
    age: dict[str, Any] = {"kind": "regression"}
    if bins is not None:
        age = {"kind": "distribution", "bins": bins}
    info = {
        "schema_version": 1,
        "preprocessing_version": 1,
        "name": "drawn",
        "input": {"size_px": 16, "colours": "RGB"},
        "heads": {"age": age, "gender": {"positive": "female"}},
        "calibration": {"age_temperature": 1.0, "gender_temperature": 1.0},
        "files": {"model.keras": hashlib.sha256((folder / "model.keras").read_bytes()).hexdigest()},
    }
    (folder / "model.json").write_text(json.dumps(info), "utf-8")
    return folder


def test_the_keras_engine_predicts_each_face_alone(honest: Path, tmp_path: Path) -> None:
    network = import_keras().saving.load_model(honest)
    model = load_model(
        _folder(tmp_path, network, bins=5), engine="keras", device="cpu", batch_size=4
    )
    assert (model.engine, model.device) == ("keras", "cpu")
    faces = np.random.default_rng(1).integers(0, 256, (6, 16, 16, 3), np.uint8)
    together = model.predict(faces)
    alone = [model.predict(faces[i : i + 1]) for i in range(6)]
    assert together.age == pytest.approx([p.age[0] for p in alone], abs=0.01)
    expected = [p.female_probability[0] for p in alone]
    assert together.female_probability == pytest.approx(expected, abs=1e-4)


def test_outputs_that_disagree_with_model_json_are_refused(honest: Path, tmp_path: Path) -> None:
    network = import_keras().saving.load_model(honest)
    folder = _folder(tmp_path, network, bins=7)
    with pytest.raises(AnnotateError, match=r"gives \(5, 1\) values.*says \(7, 1\)"):
        load_model(folder, engine="keras", device="cpu")


def test_a_gpu_that_is_not_there_is_an_error(honest: Path, tmp_path: Path) -> None:
    from annotate.engines import usable_gpu

    if usable_gpu()[0] is not None:
        pytest.skip("this machine has a GPU that Keras can use")
    folder = _folder(tmp_path, import_keras().saving.load_model(honest), bins=5)
    with pytest.raises(AnnotateError, match="no usable GPU"):
        load_model(folder, device="gpu")
