"""Hostile Keras files: none of them may load, and none of them may do anything."""

from __future__ import annotations

import io
import json
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from annotate.engines import KerasEngine, import_keras
from annotate.errors import AnnotateError
from annotate.keras_files import WEIGHTS, checked_keras
from annotate.model import load_model
from tests.model_folders import folder_of

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


FACES = np.random.default_rng(3).integers(0, 256, (3, 16, 16, 3), np.uint8)


def _refused(data: bytes) -> str:
    """What is said of a file that the check refuses."""
    with pytest.raises(AnnotateError) as caught:
        checked_keras(Path("model.keras"), data, import_keras())
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500
    return str(caught.value)


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


def _head(**values: Any) -> Callable[[Members], None]:
    return _config(lambda config: config["config"]["layers"][-1]["config"].update(values))


def _input(**values: Any) -> Callable[[Members], None]:
    return _config(lambda config: config["config"]["layers"][0]["config"].update(values))


def _circle(file: h5py.File) -> None:
    file["layers/again"] = file["layers"]


def _many_ways(file: h5py.File) -> None:
    """2 to the power of 60 ways to the last of 60 groups."""
    group = file
    for _ in range(60):
        group["right"] = group.create_group("left")
        group = group["left"]


def _claimed(file: h5py.File) -> None:
    """A terabyte that was never written."""
    file.create_dataset("more", (2**38,), "f4")


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
        (_layer(class_name="TextVectorization"), "keras.layers.TextVectorization"),
        (_layer(class_name="Functional", module="keras.models"), "keras.models.Functional"),
        (_layer(config={"class_name": "Dense", "config": {}}), "not a known layer"),
        (_layer(module="keras.utils", class_name="get_file"), "keras.utils.get_file"),
        (_layer(class_name="\x1b[2J\nDense"), "[2J Dense"),
        (_head(units=10**9), "more weights than the"),
        (_head(units=10**400), "more weights than the"),
        (_head(units=-1), "does not fit together"),
        (_head(units=1e400), "does not fit together"),
        (_head(lora_rank=10**9), "without quantization and adapters"),
        (_head(dtype="int8_from_float32"), "without quantization and adapters"),
        (_head(kernel_initializer="no such"), "does not fit together"),
        (_input(batch_shape=[None, 10**6, 10**6, 3]), "for the outputs of its layers"),
        (_input(batch_shape=[None, None, None, 3]), "does not fit together"),
        (_input(batch_shape=5), "does not fit together"),
        (_config(lambda c: c["config"].update(layers=5)), "does not fit together"),
        (_config(lambda c: c["config"]["layers"].reverse()), "does not fit together"),
        (
            _config(lambda c: c["config"].update(layers=c["config"]["layers"] * 1000)),
            "at most 2,000",
        ),
        (
            _config(lambda c: c["config"]["layers"].append(c["config"]["layers"][1])),
            "two layers of the name",
        ),
        (
            _config(lambda c: c["config"]["layers"][1].update(inbound_nodes=[])),
            "more than once, or never",
        ),
        (lambda m: m.update({"config.json": b"[]"}), "describes no functional model"),
        (lambda m: m.update({"config.json": b"{"}), "readable Keras file"),
        (lambda m: m.update({"config.json": b"[" * 200_000}), "readable Keras file"),
        (lambda m: m.update({"assets/code.py": b"1"}), "expected the members"),
        (lambda m: m.pop("model.weights.h5"), "expected the members"),
        (lambda m: m.update({"model.weights.h5": b"\x80\x04\x95."}), "unreadable weights"),
        (_weights(_external), "lie in other files"),
        (_weights(_circle), "lie in a circle"),
        (_weights(_many_ways), "lie in a circle"),
        (_weights(_claimed), "not stored whole"),
        (_weights(lambda f: f.create_dataset("more", (2**38,), "f4", chunks=(64,))), "whole"),
        (
            _weights(lambda f: f.create_dataset("more", data=np.zeros(9), compression="gzip")),
            "not stored whole",
        ),
        (_weights(lambda f: f.create_dataset("more", data=b"\x80\x04.")), "not numbers"),
        (_weights(lambda f: f.create_dataset("more", data=f.ref, dtype=h5py.ref_dtype)), "numbers"),
        (_weights(lambda f: f.__setitem__("more", np.dtype("f4"))), "unreadable weights"),
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
    assert said in _refused(_write(tmp_path / "model.keras", members).read_bytes())


def test_an_honest_keras_file_is_loaded_as_it_is(honest: Path, tmp_path: Path) -> None:
    """The output of the network, worked out from its weights."""
    keras = import_keras()
    network = keras.saving.load_model(honest)
    kernel, bias = (np.asarray(w) for w in network.get_layer("age").get_weights())
    engine = KerasEngine(tmp_path / "gone.keras", honest.read_bytes(), "cpu", "a CPU")
    age, gender = engine.run(FACES)
    logits = FACES.mean(axis=(1, 2)) / 255 @ kernel + bias
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert age == pytest.approx(expected, abs=1e-5)
    assert gender.shape == (3, 1)
    assert (engine.input_shape, engine.output_widths) == ((None, 16, 16, 3), (5, 1))


def test_weights_of_other_shapes_are_one_error_and_no_warning(honest: Path, tmp_path: Path) -> None:
    """Keras warns of each layer that got none of its weights, before it raises."""
    members = _members(honest)
    _config(lambda config: config["config"]["layers"][-2]["config"].update(units=4))(members)
    path = _write(tmp_path / "model.keras", members)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        with pytest.raises(AnnotateError) as caught:
            KerasEngine(path, path.read_bytes(), "cpu", "CPU")
    assert str(caught.value).isprintable()
    assert not [w for w in warned if "layer" in str(w.message)]


def test_compressed_files_are_refused(honest: Path, tmp_path: Path) -> None:
    path = _write(tmp_path / "model.keras", _members(honest), zipfile.ZIP_DEFLATED)
    assert "compressed" in _refused(path.read_bytes())


def test_what_is_cut_short_anywhere_is_refused(honest: Path) -> None:
    whole = honest.read_bytes()
    for length in (*range(0, len(whole), 97), *range(len(whole) - 100, len(whole))):
        assert "readable Keras file" in _refused(whole[:length])


def test_weights_that_are_cut_short_anywhere_are_refused(honest: Path, tmp_path: Path) -> None:
    members = _members(honest)
    whole = members[WEIGHTS]
    for length in range(0, len(whole), 499):
        spoilt = _write(tmp_path / "model.keras", members | {WEIGHTS: whole[:length]})
        assert "unreadable weights" in _refused(spoilt.read_bytes())


@settings(
    deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_flipped_bits_do_no_harm(honest: Path, data: st.DataObject) -> None:
    whole = bytearray(honest.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        whole[data.draw(st.integers(0, len(whole) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    said = ""
    try:
        checked_keras(Path("model.keras"), bytes(whole), import_keras())
    except AnnotateError as error:
        said = str(error)
    assert said.isprintable()


def test_a_pickle_is_refused(honest: Path) -> None:
    assert "readable Keras file" in _refused(b"\x80\x04\x95\x1c" + bytes(7) + b"\x8c\x02os.")


def test_tricks_with_the_zip_are_refused(honest: Path, tmp_path: Path) -> None:
    members = _members(honest)
    for name in ("../config.json", "/etc/passwd", "config.json/", "con"):
        path = _write(tmp_path / "model.keras", members | {name: b"{}"})
        assert "expected the members" in _refused(path.read_bytes())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        with zipfile.ZipFile(_write(path, members), "a") as archive:
            archive.writestr("config.json", b"{}")
    assert "expected the members" in _refused(path.read_bytes())
    large = _write(path, members | {"config.json": b" " * 4_000_001})
    assert "at most 4,000,000" in _refused(large.read_bytes())


def test_a_size_that_the_zip_claims_is_not_believed(honest: Path) -> None:
    data = honest.read_bytes()
    entry = data.rindex(b"PK\x01\x02")
    # Compressed and uncompressed size of the last member, in the directory.
    claimed = data[: entry + 20] + b"\xfe\xff\xff\xff" * 2 + data[entry + 28 :]
    assert "readable Keras file" in _refused(claimed)


def test_what_stands_around_the_zip_is_not_loaded(honest: Path) -> None:
    data = b"#!/bin/sh\n" + honest.read_bytes()
    clean = checked_keras(Path("model.keras"), data, import_keras())
    assert clean.startswith(b"PK\x03\x04")
    assert b"/bin/sh" not in clean


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
    network.save(tmp_path / "network.keras")
    files = {"model.keras": (tmp_path / "network.keras").read_bytes()}
    return folder_of(tmp_path / "folder", files, 16, bins)


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
