"""Models: estimates against distributions worked out by hand, loading, and batches."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from annotate import engines
from annotate.errors import AnnotateError
from annotate.model import (
    Model,
    bundled_models,
    estimates,
    load_model,
    quantile,
)
from tests.conftest import ROOT

Change = Callable[[dict[str, Any]], object]


def info(kind: str = "distribution", age_t: float = 1.0, gender_t: float = 1.0) -> dict[str, Any]:
    return {
        "heads": {"age": {"kind": kind}},
        "calibration": {"age_temperature": age_t, "gender_temperature": gender_t},
    }


def distribution(**weights: float) -> np.ndarray[Any, Any]:
    """distribution(a30=1.0): a row of 117 probabilities."""
    row = np.zeros((1, 117), np.float32)
    for name, weight in weights.items():
        row[0, int(name[1:])] = weight
    return row


GENDER = np.array([[0.8]], np.float32)


@pytest.mark.parametrize(
    ("weights", "age", "p10", "p90", "sd", "minor"),
    [
        # All weight on 30: the year from 29.5 to 30.5, evenly filled.
        ({"a30": 1.0}, 30.0, 29.6, 30.4, 0.0, 0.0),
        # Ten equal years from 9.5 to 19.5; sd of 0 to 9 is sqrt((100 - 1) / 12).
        ({f"a{a}": 0.1 for a in range(10, 20)}, 14.5, 10.5, 18.5, 2.8723, 0.8),
        # Half on 0 (-0.5 to 0.5), half on 40: p10 would be -0.3 and is cut at 0.
        ({"a0": 0.5, "a40": 0.5}, 0.5, 0.0, 40.3, 20.0, 0.5),
        # The last year ends at 116.5.
        ({"a116": 1.0}, 116.0, 115.6, 116.4, 0.0, 0.0),
        # 17 is a minor, 18 is not.
        ({"a17": 0.25, "a18": 0.75}, 18 - 0.5 + 1 / 3, 16.9, 18.3667, 0.4330, 0.25),
    ],
)
def test_estimates_of_distributions_worked_out_by_hand(
    weights: dict[str, float], age: float, p10: float, p90: float, sd: float, minor: float
) -> None:
    found = estimates(distribution(**weights), GENDER, info())
    assert found.age_p10 is not None
    assert found.age_p90 is not None
    assert found.age_sd is not None
    assert found.minor_probability is not None
    values = (found.age, found.age_p10, found.age_p90, found.age_sd, found.minor_probability)
    assert [float(v[0]) for v in values] == pytest.approx([age, p10, p90, sd, minor], abs=1e-3)
    assert {v.dtype for v in values} == {np.dtype(np.float32)}


def test_temperature_flattens_ages_and_gender() -> None:
    # sqrt(0.8) : sqrt(0.2) is 2 : 1. The median lies 3/4 into the first year, -0.5 to 0.5.
    found = estimates(np.array([[0.8, 0.2]], np.float32), GENDER, info(age_t=2.0, gender_t=2.0))
    assert found.age[0] == pytest.approx(0.25, abs=1e-6)
    assert found.female_probability[0] == pytest.approx(2 / 3, abs=1e-6)


def test_certainty_stays_certain_and_within_0_to_1() -> None:
    sure = np.array([[0.0], [1.0]], np.float32)
    ages = np.concatenate([distribution(a5=1.0)] * 2)
    assert estimates(ages, sure, info()).female_probability.tolist() == [0.0, 1.0]
    # Kept 1e-5 away from the ends: odds of 1e-5 to the power of 1/5 are 0.1 to 1.
    found = estimates(ages, sure, info(gender_t=5.0)).female_probability
    assert found.tolist() == pytest.approx([0.1 / 1.1, 1 / 1.1], abs=1e-4)


def test_the_last_digits_of_a_sure_network_do_not_matter() -> None:
    near = np.float32(1.0)
    sure = np.array([[near], [np.nextafter(near, np.float32(0))]], np.float32)
    ages = np.concatenate([distribution(a5=1.0)] * 2)
    found = estimates(ages, sure, info(gender_t=5.0)).female_probability
    assert abs(found[0] - found[1]) < 1e-3


def test_a_regression_head_gives_no_intervals_and_no_negative_age() -> None:
    raw = np.array([[-3.5], [41.25]], np.float32)
    found = estimates(raw, np.array([[0.5], [0.25]], np.float32), info("regression"))
    assert found.age.tolist() == [0.0, 41.25]
    assert found.female_probability.tolist() == [0.5, 0.25]
    assert found.gender.tolist() == ["female", "male"]
    assert found.age_p10 is None
    assert found.age_sd is None
    assert found.minor_probability is None


@pytest.mark.parametrize(
    ("age", "gender", "said"),
    [
        (distribution(a3=np.nan), GENDER, "not numbers"),
        (distribution(a3=1.0), np.array([[np.inf]], np.float32), "not numbers"),
        (distribution(a3=1.0), np.array([[1.5]], np.float32), "outside 0 to 1"),
        (distribution(a3=0.2), GENDER, "do not sum to 1"),
        (distribution(a3=1.5, a4=-0.5), GENDER, "do not sum to 1"),
    ],
)
def test_values_that_are_no_probabilities_are_refused(age: Any, gender: Any, said: str) -> None:
    with pytest.raises(AnnotateError, match=said):
        estimates(age, gender, info())


@given(
    st.lists(st.floats(0.01, 1.0), min_size=3, max_size=40),
    st.lists(st.floats(0.05, 0.95), min_size=2, max_size=5),
)
def test_quantiles_invert_the_cumulative_distribution(
    weights: list[float], shares: list[float]
) -> None:
    p = np.array([weights]) / np.sum(weights)
    edges = np.arange(len(weights) + 1) - 0.5
    cumulative = np.concatenate([[0.0], np.cumsum(p[0])])
    for share in shares:
        expected = max(0.0, float(np.interp(share, cumulative, edges)))
        assert quantile(p, share)[0] == pytest.approx(expected, abs=1e-9)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 40), st.integers(0, 2**31))
def test_a_prediction_does_not_depend_on_its_batch(
    models: dict[int, Model], count: int, seed: int
) -> None:
    shape = (count, models[8].size_px, models[8].size_px, 3)
    faces = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
    for model in models.values():
        together = model.predict(faces)
        assert len(together) == count
        for index in range(count):
            alone = models[8].predict(faces[index : index + 1])
            assert abs(together.age[index] - alone.age[0]) < 0.01
            assert abs(together.female_probability[index] - alone.female_probability[0]) < 1e-4


@pytest.fixture(scope="session")
def models(fake_model_folder: Path) -> dict[int, Model]:
    """The fake model by batch size."""
    return {size: load_model(fake_model_folder, batch_size=size) for size in (1, 7, 8)}


def test_an_array_without_order_in_memory_is_fine(fake_model: Model) -> None:
    faces = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), np.uint8)
    turned = np.asfortranarray(faces)[::-1]
    assert fake_model.predict(turned).age.tolist() == fake_model.predict(faces).age[::-1].tolist()


@pytest.mark.parametrize(
    "faces",
    [
        np.zeros((1, 16, 16, 3), np.float32),
        np.zeros((16, 16, 3), np.uint8),
        np.zeros((1, 17, 16, 3), np.uint8),
        np.zeros((1, 3, 16, 16), np.uint8),
        np.zeros((0,), np.uint8),
        [[0]],
    ],
)
def test_other_arrays_are_a_value_error_that_says_what_is_expected(
    fake_model: Model, faces: Any
) -> None:
    with pytest.raises(ValueError, match=r"expected .*, found"):
        fake_model.predict(faces)


def test_a_model_says_what_it_is(fake_model_folder: Path) -> None:
    model = load_model(fake_model_folder, batch_size=3)
    data = (fake_model_folder / "model.json").read_bytes()
    assert model.sha256 == hashlib.sha256(data).hexdigest()
    assert (model.name, model.engine, model.device) == ("fake", "onnx", "cpu")
    assert (model.size_px, model.batch_size, model.preprocessing_version) == (16, 3, 1)
    assert model.device_name
    assert model.training_parts() == {}


def test_training_parts_are_read(copy: Path) -> None:
    (copy / "training_hashes.txt").write_text(
        "0123456789abcdef train\nfedcba9876543210 validation\n"
    )
    _edit(copy, lambda found: None)
    parts = load_model(copy).training_parts()
    assert parts == {"0123456789abcdef": "train", "fedcba9876543210": "validation"}


@pytest.fixture
def copy(fake_model_folder: Path, tmp_path: Path) -> Path:
    """A model folder that a test may spoil."""
    return Path(shutil.copytree(fake_model_folder, tmp_path / "copy"))


def _edit(folder: Path, change: Change) -> None:
    """Change model.json, with hashes that are right again."""
    found = json.loads((folder / "model.json").read_text("utf-8"))
    others = [path for path in folder.iterdir() if path.name != "model.json"]
    found["files"] = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in others}
    change(found)
    (folder / "model.json").write_text(json.dumps(found), "utf-8")


def _refused(folder: Path | str, said: str, **options: Any) -> None:
    with pytest.raises(AnnotateError, match=said) as caught:
        load_model(folder, **options)
    assert "\n" not in str(caught.value)


def test_an_unknown_name_lists_what_is_bundled() -> None:
    bundled = ", ".join(bundled_models()) or "none"
    _refused("no-such-model", rf"no model 'no-such-model'.*\({bundled}\)")


def test_a_folder_without_a_model_says_so(tmp_path: Path) -> None:
    _refused(tmp_path, "has no model.json")
    _refused(tmp_path / "missing", "no model")
    (tmp_path / "model.json").write_bytes(b"\x80\x04\x95\x00")
    _refused(tmp_path, "cannot read")
    (tmp_path / "model.json").write_text("[" * 100_000)
    _refused(tmp_path, "cannot read")
    (tmp_path / "model.json").write_text("[]")
    _refused(tmp_path, "does not describe a model")


def _set(*path: str, value: object) -> Change:
    def change(found: dict[str, Any]) -> None:
        for key in path[:-1]:
            found = found[key]
        found[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_set("schema_version", value=2), "schema version 2"),
        (_set("preprocessing_version", value=0), "preprocessing 0"),
        (_set("heads", value={}), "lacks what a model needs"),
        (_set("heads", value="x"), "lacks what a model needs"),
        (_set("input", "size_px", value=True), r"input\.size_px"),
        (_set("input", "size_px", value=32), "but model.json says 32 px"),
        (_set("input", "colours", value="BGR"), r"input\.colours"),
        (_set("heads", "age", "kind", value="guess"), r"heads\.age\.kind"),
        (_set("heads", "gender", "positive", value="male"), r"heads\.gender\.positive"),
        (_set("calibration", "age_temperature", value=0.0), "calibration"),
        (_set("files", "../secret", value="0"), "files"),
        (_set("files", "absent.bin", value="0"), "absent.bin"),
        (_set("files", "model.onnx", value="0" * 64), "not the file that model.json lists"),
        (_set("files", value={}), "has no model.onnx"),
    ],
)
def test_a_model_json_that_does_not_fit_is_refused(copy: Path, change: Change, said: str) -> None:
    _edit(copy, change)
    _refused(copy, said)


def test_one_flipped_bit_is_found(copy: Path) -> None:
    data = bytearray((copy / "model.onnx").read_bytes())
    data[len(data) // 2] ^= 1
    (copy / "model.onnx").write_bytes(bytes(data))
    _refused(copy, "not the file that model.json lists")


def _with_onnx(folder: Path, data: bytes) -> Path:
    (folder / "model.onnx").write_bytes(data)
    _edit(folder, lambda found: None)
    return folder


def _graph(
    nodes: list[onnx.NodeProto], initializers: list[onnx.TensorProto], domain: str = ""
) -> bytes:
    """An ONNX file with the input and outputs of a model."""
    graph = helper.make_graph(
        nodes,
        "hostile",
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["N", 16, 16, 3])],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["N", 1]) for n in ("age", "gender")],
        initializers,
    )
    opsets = [helper.make_opsetid("", 18)] + ([helper.make_opsetid(domain, 1)] if domain else [])
    return bytes(helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString())


def test_truncated_and_foreign_onnx_files_are_refused(copy: Path) -> None:
    whole = (copy / "model.onnx").read_bytes()
    _refused(_with_onnx(copy, whole[: len(whole) // 2]), "readable ONNX|cannot be loaded")
    _refused(_with_onnx(copy, b"\x80\x04\x95 pickle"), "readable ONNX|cannot be loaded")
    _refused(_with_onnx(copy, b""), "cannot be loaded|inputs")


def test_onnx_files_that_name_other_files_are_refused(copy: Path) -> None:
    tensor = numpy_helper.from_array(np.zeros((1, 1), np.float32), "weights")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "/etc/hostname"
    node = helper.make_node("Identity", ["weights"], ["age"])
    _refused(_with_onnx(copy, _graph([node], [tensor])), "external data")
    hidden = helper.make_node("Constant", [], ["age"], value=tensor)
    _refused(_with_onnx(copy, _graph([hidden], [])), "external data")


def test_onnx_files_with_custom_operations_or_control_flow_are_refused(copy: Path) -> None:
    custom = helper.make_node("Run", ["pixels"], ["age"], domain="evil")
    _refused(_with_onnx(copy, _graph([custom], [], "evil")), "custom operations")
    branch = helper.make_graph([], "branch", [], [])
    loop = helper.make_node("If", ["pixels"], ["age"], then_branch=branch, else_branch=branch)
    _refused(_with_onnx(copy, _graph([loop], [])), "control flow")


def test_other_outputs_and_shapes_are_refused(copy: Path) -> None:
    nodes = [
        helper.make_node("Cast", ["pixels"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["float", "axes"], ["age"], keepdims=0),
        helper.make_node("Identity", ["age"], ["gender"]),
    ]
    axes = numpy_helper.from_array(np.array([2, 3], np.int64), "axes")
    folder = _with_onnx(copy, _graph(nodes, [axes]))
    with pytest.raises(AnnotateError, match=r"shapes|failed"):
        load_model(folder).predict(np.zeros((1, 16, 16, 3), np.uint8))


def test_impossible_wishes_are_errors(fake_model_folder: Path) -> None:
    _refused(fake_model_folder, "use --engine keras", engine="onnx", device="gpu")
    _refused(fake_model_folder, "unknown engine 'tpu'", engine="tpu")
    _refused(fake_model_folder, "unknown device 'tpu'", device="tpu")
    _refused(fake_model_folder, "has no model.keras", engine="keras", device="cpu")
    with pytest.raises(ValueError, match="1 or more"):
        load_model(fake_model_folder, batch_size=0)


def test_the_choice_of_engine_and_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "cpu_name", lambda: "a CPU")
    monkeypatch.setattr(engines, "may_have_gpu", lambda: False)
    monkeypatch.setattr(engines, "usable_gpu", lambda: pytest.fail("needless"))
    assert engines.choose("auto", "auto") == ("onnx", "cpu", "a CPU", None)
    assert engines.choose("auto", "cpu") == ("onnx", "cpu", "a CPU", None)
    assert engines.choose("keras", "auto") == ("keras", "cpu", "a CPU", None)
    monkeypatch.setattr(engines, "may_have_gpu", lambda: True)
    assert engines.choose("onnx", "auto") == ("onnx", "cpu", "a CPU", None)
    monkeypatch.setattr(engines, "usable_gpu", lambda: ("a GPU", ""))
    assert engines.choose("auto", "auto") == ("keras", "gpu", "a GPU", None)
    assert engines.choose("auto", "gpu") == ("keras", "gpu", "a GPU", None)
    monkeypatch.setattr(engines, "usable_gpu", lambda: (None, "no driver"))
    engine, device, _, remark = engines.choose("auto", "auto")
    assert (engine, device) == ("onnx", "cpu")
    assert remark is not None
    assert "no driver" in remark
    with pytest.raises(AnnotateError, match="--device gpu: no usable GPU, no driver"):
        engines.choose("auto", "gpu")


def test_a_hidden_gpu_is_not_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert not engines.may_have_gpu()


def test_cpu_use_never_imports_tensorflow(fake_model_folder: Path) -> None:
    code = (
        "import sys, annotate.model as m\n"
        "heavy = {'tensorflow', 'keras', 'pandas', 'onnxruntime', 'onnx'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
        "m.load_model(sys.argv[1], device='cpu')\n"
        "assert not {'tensorflow', 'keras'} & set(sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(fake_model_folder)], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_keras_is_quiet_and_leaves_nothing_in_the_users_home(tmp_path: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "KERAS_HOME"}
    code = "from annotate.engines import import_keras; print(import_keras().__name__)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={
            **environment,
            "HOME": str(tmp_path),
            "USERPROFILE": str(tmp_path),
            "PYTHONPATH": str(ROOT),
        },
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "keras\n", "")
    assert not (tmp_path / ".keras").exists()
