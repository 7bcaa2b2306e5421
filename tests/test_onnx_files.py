"""Hostile ONNX files, with hashes that fit: each is one line, at once, and does nothing."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from annotate.errors import AnnotateError
from annotate.model import load_model
from annotate.onnx_files import checked_onnx
from tests.model_folders import assert_refused
from tests.onnx_graphs import Nodes, floats, graph_of, numbers, outer_sum, refused, with_onnx, zeros

FACES = np.random.default_rng(3).integers(0, 256, (3, 16, 16, 3), np.uint8)


def test_what_is_cut_short_anywhere_is_refused(fake_model_folder: Path) -> None:
    whole = (fake_model_folder / "model.onnx").read_bytes()
    for length in range(len(whole)):
        assert refused(whole[:length]).startswith("model.onnx"), length


def test_what_is_no_onnx_file_is_refused(copy: Path) -> None:
    for data in (b"\x80\x04\x95 pickle", b"", b"PK\x03\x04", b"\x0a" * 5000, bytes(5000)):
        assert_refused(with_onnx(copy, data), "readable ONNX|inputs")


@settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_flipped_bits_with_fitting_hashes_do_no_harm(
    fake_model_folder: Path, copy: Path, data: st.DataObject
) -> None:
    whole = bytearray((fake_model_folder / "model.onnx").read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        whole[data.draw(st.integers(0, len(whole) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    said = ""
    try:
        load_model(with_onnx(copy, bytes(whole)), batch_size=4).predict(FACES)
    except AnnotateError as error:
        said = str(error)
    assert said.isprintable()


def test_a_file_that_is_also_of_another_format_is_read_as_the_one_that_was_checked(
    copy: Path,
) -> None:
    # ONNX Runtime takes bytes with ORTM at their fifth place for its own format; here they are in
    # the producer's name.
    whole = (copy / "model.onnx").read_bytes()
    expected = load_model(copy, batch_size=4).predict(FACES)
    found = load_model(with_onnx(copy, b"\x12\x06xxORTM" + whole), batch_size=4).predict(FACES)
    assert found.age.tolist() == expected.age.tolist()


def test_what_this_onnx_does_not_know_is_left_out(fake_model_folder: Path) -> None:
    # Field 1000, a text: a later ONNX Runtime may know what it means.
    whole = (fake_model_folder / "model.onnx").read_bytes()
    unknown = b"\xc2\x3e\x04evil"
    assert b"evil" not in checked_onnx(Path("model.onnx"), whole + unknown, 1).data


def test_files_that_name_other_files_are_refused() -> None:
    tensor = zeros("weights", 1, 1)
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "/etc/hostname"
    node = helper.make_node("Identity", ["weights"], ["age"])
    assert "external data" in refused(graph_of([node], [tensor]))
    hidden = helper.make_node("Constant", [], ["age"], value=tensor)
    assert "external data" in refused(graph_of([hidden]))


def test_names_of_files_in_metadata_are_not_followed(copy: Path) -> None:
    model = onnx.load(str(copy / "model.onnx"))
    for key in ("location", "ort_config", "session.model_external_initializers_file_folder_path"):
        helper.set_model_props(model, {key: "/etc/hostname"})
    found = load_model(with_onnx(copy, model.SerializeToString()), batch_size=4)
    assert len(found.predict(FACES)) == 3


def test_code_and_control_flow_are_refused() -> None:
    custom = helper.make_node("Run", ["pixels"], ["age"], domain="evil\n\x1b[2J")
    assert "custom operations (evil [2J.Run)" in refused(graph_of([custom], domain="evil"))
    branch = helper.make_graph([], "branch", [], [])
    chosen = helper.make_node("If", ["pixels"], ["age"], then_branch=branch, else_branch=branch)
    assert "control flow" in refused(graph_of([chosen]))
    for kind in ("Loop", "Scan"):
        loop = helper.make_node(kind, ["pixels"], ["age"], body=branch)
        assert "control flow" in refused(graph_of([loop]))
    model = graph_of([helper.make_node("Relu", ["pixels"], ["age"])])
    opset = [helper.make_opsetid("", 18)]
    inner = [helper.make_node("Identity", ["a"], ["b"])]
    model.functions.append(helper.make_function("", "Relu", ["a"], ["b"], inner, opset))
    assert "operations of its own" in refused(model)


@pytest.mark.parametrize(
    "kind",
    [
        *("ConstantOfShape", "Expand", "NonZero", "OneHot", "Range", "Resize", "Tile", "Upsample"),
        *("CumSum", "EyeLike", "GatherND", "RandomNormal", "ScatterND", "SequenceConstruct"),
        *("Size", "Split", "StringConcat", "TfIdfVectorizer", "Unique", "Where", "x" * 10_000),
    ],
)
def test_operations_that_no_network_for_faces_needs_are_refused(kind: str) -> None:
    said = refused(graph_of([helper.make_node(kind, ["pixels"], ["age"])]))
    assert f"uses the operation {kind[:20]}" in said


def test_weights_that_are_not_as_many_as_their_shape_says_are_refused() -> None:
    node = helper.make_node("Identity", ["weights"], ["age"])
    for sides in ([10**6, 10**6], [2], [2**62, 4], [-1, -1], [0]):
        tensor = zeros("weights", 1, 1)
        tensor.dims[:] = sides
        assert "weights 'weights'" in refused(graph_of([node], [tensor]))
    for kind in (TensorProto.STRING, TensorProto.COMPLEX128, 0, 99):
        tensor = zeros("weights", 1, 1)
        tensor.data_type = kind
        assert "plain numbers" in refused(graph_of([node], [tensor]))
    both = zeros("weights", 1, 1)
    both.float_data.append(1.0)
    assert "weights 'weights'" in refused(graph_of([node], [both]))


def test_sparse_weights_are_refused() -> None:
    model = graph_of([helper.make_node("Identity", ["weights"], ["age"])])
    model.graph.sparse_initializer.add(dims=[10**6, 10**6])
    assert "sparse" in refused(model)


def test_ten_megabytes_of_names_are_refused_in_one_short_line() -> None:
    model = graph_of([helper.make_node("Relu", ["n" * 10_000_000], ["age"])])
    assert len(refused(model)) < 500


def _ends(change: Callable[[onnx.GraphProto], object]) -> str:
    model = graph_of([floats()])
    change(model.graph)
    return refused(model)


def test_other_inputs_are_refused() -> None:
    assert "expected 'pixels'" in _ends(lambda g: setattr(g.input[0], "name", "image"))
    assert "expected 'pixels'" in _ends(lambda g: g.input.append(g.input[0]))
    assert "expected 'pixels'" in _ends(lambda g: g.output.pop())
    assert "uint8" in _ends(lambda g: setattr(g.input[0].type.tensor_type, "elem_type", 1))
    assert "shape" in _ends(lambda g: g.input[0].type.tensor_type.shape.dim.pop())
    assert "shape" in _ends(lambda g: g.input[0].type.tensor_type.ClearField("shape"))


def _reduced(outputs: Nodes, kind: int = TensorProto.FLOAT) -> onnx.ModelProto:
    axes = numbers("axes", 1, 2, 3)
    mean = helper.make_node("ReduceMean", ["x", "axes"], ["mean"], keepdims=0)
    flat = helper.make_node("Reshape", ["mean", "column"], ["one"])
    return graph_of([floats(), mean, flat, *outputs], [axes, numbers("column", -1, 1)], kind=kind)


def test_outputs_of_other_types_and_shapes_are_refused(copy: Path) -> None:
    one = helper.make_node("Identity", ["one"], ["gender"])
    scalar = helper.make_node("Identity", ["mean"], ["age"])
    assert "'age' has the shape (64,)" in refused(_reduced([one, scalar]))
    whole = helper.make_node("Cast", ["one"], ["age"], to=TensorProto.INT64)
    assert "'age' is not float32" in refused(_reduced([one, whole], TensorProto.INT64))
    assert "nothing gives its output 'age'" in refused(_reduced([one]))
    wide = helper.make_node("Concat", ["one", "one"], ["age"], axis=1)
    model = _reduced([one, wide])
    model.graph.output[0].type.tensor_type.shape.dim[1].ClearField("dim_value")
    assert_refused(with_onnx(copy, model.SerializeToString()), r"gives \(2, 1\) values")


@pytest.mark.parametrize(
    ("operation", "said"),
    [("Sqrt", "not numbers"), ("Reciprocal", "not numbers"), ("Identity", "outside 0 to 1")],
)
def test_outputs_that_are_no_probabilities_are_one_line(
    copy: Path, operation: str, said: str
) -> None:
    """Square roots of -1, 1 / 0, and probabilities of -1 or 0 to 255."""
    shifted = helper.make_node(
        "Sub", ["one", "one" if operation == "Reciprocal" else "lift"], ["z"]
    )
    outputs = [helper.make_node(operation, ["z"], [name]) for name in ("age", "gender")]
    model = _reduced([shifted, *outputs])
    model.graph.initializer.append(numpy_helper.from_array(np.float32(300), "lift"))
    found = load_model(with_onnx(copy, model.SerializeToString()))
    with pytest.raises(AnnotateError, match=said) as caught:
        found.predict(FACES)
    assert str(caught.value).isprintable()


def test_weights_of_half_the_bytes_are_fine(copy: Path) -> None:
    """float16 weights, cast to float32: 5.5 and 0.25 are exact in both."""
    halves = [
        numpy_helper.from_array(np.array([[5.5]], np.float16), "years16"),
        numpy_helper.from_array(np.array([[0.25]], np.float16), "share16"),
        numpy_helper.from_array(np.float32(0), "zero"),
    ]
    nodes = [
        helper.make_node("Cast", ["years16"], ["years"], to=TensorProto.FLOAT),
        helper.make_node("Cast", ["share16"], ["share"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["one", "zero"], ["nothing"]),
        helper.make_node("Add", ["nothing", "years"], ["age"]),
        helper.make_node("Add", ["nothing", "share"], ["gender"]),
    ]
    model = _reduced(nodes)
    model.graph.initializer.extend(halves)
    found = load_model(with_onnx(copy, model.SerializeToString())).predict(FACES)
    assert found.age.tolist() == [5.5] * 3
    assert found.female_probability.tolist() == [0.25] * 3


def test_a_hostile_model_is_one_line_of_the_command(
    copy: Path, faces: Path, command: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    with_onnx(copy, outer_sum().SerializeToString())
    done = command("run", str(faces), "--faces", "crop", "--model", str(copy), "-o", "-")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-1].startswith("annotate: ")
    assert "Traceback" not in done.stderr


def _divided(divisor: int | None) -> onnx.ModelProto:
    """A network that divides the pixels, as whole numbers; None: by themselves."""
    by = "i" if divisor is None else "by"
    nodes = [
        helper.make_node("Cast", ["pixels"], ["i"], to=TensorProto.INT64),
        helper.make_node("Div", ["i", by], ["divided"]),
        *(helper.make_node("Identity", ["one"], [name]) for name in ("age", "gender")),
    ]
    model = _reduced(nodes)
    if divisor is not None:
        model.graph.initializer.append(numbers("by", 3, divisor, 255))
    return model


@pytest.mark.parametrize("divisor", [0, -1, None])
def test_divisions_that_end_the_process_are_refused(divisor: int | None) -> None:
    """By 0, as some pixels are, and of the lowest number by -1."""
    assert "divides whole numbers by what may be 0 or less" in refused(_divided(divisor))


def test_divisions_of_whole_numbers_that_cannot_fail_are_fine() -> None:
    data = _divided(2).SerializeToString()
    assert checked_onnx(Path("model.onnx"), data, 64).output_widths == (1, 1)
