"""Memory that runs out: smaller batches, the same predictions, said once."""

from __future__ import annotations

import dataclasses
import threading
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import helper

from annotate.engines import Engine, Outputs
from annotate.errors import AnnotateError
from annotate.memory import Batches
from annotate.model import Model, load_model
from annotate.pipeline import run_table
from annotate.run_config import RunConfig
from tests.model_folders import folder_of
from tests.networks import FACES, SCALES, Faces, Weights, heads, keras_network, network


class SmallDevice:
    """A real engine on a device with room for so many faces. sizes: of the batches it was given."""

    def __init__(self, engine: Engine, room: int) -> None:
        self.name, self.device, self.device_name = engine.name, "gpu", "a small GPU"
        self.input_shape, self.output_widths = engine.input_shape, engine.output_widths
        self.shrink = engine.shrink
        self.engine = engine
        self.room = room
        self.sizes: list[int] = []

    def run(self, pixels: Faces) -> Outputs:
        self.sizes.append(len(pixels))
        if len(pixels) > self.room:
            raise MemoryError
        return self.engine.run(pixels)


def on(device: Engine, model: Model, batch_size: int) -> Model:
    """A model that is run by another engine."""
    batches = Batches(model.name, device, batch_size)
    return dataclasses.replace(model, batch_size=batch_size, _batches=batches)


def small(model: Model, room: int, batch_size: int) -> tuple[Model, SmallDevice]:
    """A model on a device with room for so many faces, and that device."""
    device = SmallDevice(model._batches.engine, room)
    return on(device, model, batch_size), device


@settings(
    deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 60), st.booleans())
def test_predictions_are_those_of_full_batches(
    fake_model: Model, asked: int, room: int, count: int, tta: bool
) -> None:
    model, device = small(dataclasses.replace(fake_model, tta=tta), room, asked)
    faces = FACES[:count]
    found = model.predict(faces)
    expected = dataclasses.replace(fake_model, tta=tta).predict(faces)
    assert len(found) == count
    assert np.abs(found.age - expected.age).max(initial=0) < 0.01
    difference = np.abs(found.female_probability - expected.female_probability)
    assert difference.max(initial=0) < 1e-4

    fits = asked
    too_large = []
    while count and fits > room:
        too_large.append(fits)
        fits //= 2
    runs = -(-count // fits) * (2 if tta else 1)
    assert device.sizes == too_large + [fits] * runs
    said = f"out of memory with batches of {asked} faces: going on with {fits}"
    assert model.remarks == ((said,) if too_large else ())
    assert model.batch_size == asked

    device.sizes.clear()
    model.predict(FACES[:1])
    assert device.sizes == ([fits] * (2 if tta else 1) if count else device.sizes)


def test_what_was_predicted_before_memory_ran_out_is_kept(fake_model: Model) -> None:
    model, device = small(fake_model, 8, 8)
    model.predict(FACES[:8])
    device.room = 2
    assert not model.remarks
    found = model.predict(FACES[:9])
    assert device.sizes == [8, 8, 4, 2, 2, 2, 2, 2]
    assert found.age == pytest.approx(fake_model.predict(FACES[:9]).age, abs=0.01)
    device.room = 1
    model.predict(FACES[:1])
    assert model.remarks == ("out of memory with batches of 8 faces: going on with 1",)


def test_no_room_for_one_face_is_an_error_that_says_what_to_do(fake_model: Model) -> None:
    model, device = small(fake_model, 0, 8)
    for tried in ([8, 4, 2, 1], [1]):
        with pytest.raises(AnnotateError) as caught:
            model.predict(FACES[:3])
        assert str(caught.value).isprintable()
        assert "'fake' ran out of memory on onnx (gpu) with a single face" in str(caught.value)
        assert "--device cpu" in str(caught.value)
        assert device.sizes == tried
        device.sizes.clear()


def test_what_is_not_about_memory_is_tried_once(fake_model: Model) -> None:
    class Broken(SmallDevice):
        def run(self, pixels: Faces) -> Outputs:
            self.sizes.append(len(pixels))
            raise RuntimeError("CUDA error: device-side assert triggered")

    device = Broken(fake_model._batches.engine, 8)
    with pytest.raises(AnnotateError, match=r"'fake' failed on onnx \(gpu\): CUDA error: device"):
        on(device, fake_model, 8).predict(FACES[:3])
    assert device.sizes == [8]


def test_threads_that_fail_together_halve_once(fake_model: Model) -> None:
    together = threading.Barrier(6)

    class Busy(SmallDevice):
        def run(self, pixels: Faces) -> Outputs:
            if len(pixels) > self.room:
                together.wait(60)
            return super().run(pixels)

    model = on(Busy(fake_model._batches.engine, 4), fake_model, 8)
    found: dict[int, list[float]] = {}

    def predict(i: int) -> None:
        found[i] = model.predict(FACES[i : i + 20]).age.tolist()

    threads = [threading.Thread(target=predict, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert model.remarks == ("out of memory with batches of 8 faces: going on with 4",)
    expected = fake_model.predict(FACES).age
    assert sorted(found) == list(range(6))
    for i, ages in found.items():
        assert ages == pytest.approx(expected[i : i + 20], abs=0.01)


def test_a_failed_attempt_holds_no_memory_when_the_next_begins(fake_model: Model) -> None:
    class Holding(SmallDevice):
        held: weakref.ref[Any] | None = None

        def run(self, pixels: Faces) -> Outputs:
            assert self.held is None or self.held() is None
            layer = np.zeros(len(pixels))
            self.held = weakref.ref(layer)
            return super().run(pixels)

    assert len(on(Holding(fake_model._batches.engine, 1), fake_model, 8).predict(FACES[:2])) == 2


def test_a_run_keeps_its_rows_and_says_why_it_is_slower(fake_model: Model, faces: Path) -> None:
    model, device = small(fake_model, 3, 8)
    config = RunConfig((str(faces),), faces="crop", batch_size=8, workers=1)
    seen: list[tuple[str, ...]] = []
    found = run_table(config, model=model, progress=lambda summary: seen.append(summary.remarks))
    expected = run_table(config, model=fake_model)
    assert found.table.drop(["age"]).equals(expected.table.drop(["age"]))
    ages = [result.table["age"].to_pylist() for result in (found, expected)]
    assert ages[0] == pytest.approx(ages[1], abs=0.01)
    assert device.sizes[:3] == [8, 4, 2]
    said = ("out of memory with batches of 8 faces: going on with 2",)
    assert set(seen) == {said}
    assert found.summary.remarks == said


# Networks that were exported for one number of images.


def _pooled(images: int, rows: int) -> bytes:
    """Mean pixel to age. images: that the file claims; rows: of its Reshape, 0 for any number."""
    nodes = [
        helper.make_node("Reshape", ["x", "flat"], ["pixel"]),
        helper.make_node("ReduceMean", ["pixel", "last"], ["mean"], keepdims=1),
        *heads("mean"),
    ]
    weights: Weights = {"flat": np.array([rows, -1]), "last": np.array([1]), **SCALES}
    return network(nodes, weights, images)


def test_a_network_for_batches_of_one_size_takes_smaller_ones(
    tmp_path: Path, fake_model: Model
) -> None:
    folder = folder_of(tmp_path / "fixed", {"model.onnx": _pooled(8, 0)}, 16, None)
    fixed = load_model(folder, engine="onnx", batch_size=8)
    model, device = small(fixed, 3, 8)
    found = model.predict(FACES[:11])
    assert found.age == pytest.approx(fake_model.predict(FACES[:11]).age, abs=0.01)
    assert device.sizes == [8, 4, 2, 2, 2, 2, 2, 2]


def test_a_network_that_cannot_take_smaller_ones_says_so(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "fixed", {"model.onnx": _pooled(8, 8)}, 16, None)
    fixed = load_model(folder, engine="onnx", batch_size=8)
    assert len(fixed.predict(FACES[:3])) == 3
    model, device = small(fixed, 4, 8)
    with pytest.raises(
        AnnotateError, match=r"out of memory on onnx \(gpu\) with batches of 8.*"
    ) as e:
        model.predict(FACES[:3])
    assert str(e.value).isprintable()
    assert "smaller ones are refused" in str(e.value)
    assert device.sizes == [8]


def test_a_network_that_grows_as_batches_shrink_is_not_followed(tmp_path: Path) -> None:
    """k numbers as (n, k / n), times themselves: k² / n values.

    1 GiB for 4 faces, where 512 MiB and four times the file are allowed.
    """
    k = 2**15
    nodes = [
        helper.make_node("Shape", ["pixels"], ["n"], start=0, end=1),
        helper.make_node("Concat", ["n", "rest", "one"], ["high"], axis=0),
        helper.make_node("Concat", ["n", "one", "rest"], ["wide"], axis=0),
        helper.make_node("Reshape", ["numbers", "high"], ["a"]),
        helper.make_node("Reshape", ["numbers", "wide"], ["b"]),
        helper.make_node("Mul", ["a", "b"], ["square"]),
        helper.make_node("ReduceMean", ["square", "axes"], ["flat"], keepdims=0),
        helper.make_node("Unsqueeze", ["flat", "last"], ["mean"]),
        *heads("mean"),
    ]
    weights: Weights = {
        "numbers": np.ones(k, np.float32),
        "rest": np.array([-1]),
        "one": np.array([1]),
        "axes": np.array([1, 2]),
        "last": np.array([1]),
        **SCALES,
    }
    folder = folder_of(tmp_path / "growing", {"model.onnx": network(nodes, weights)}, 16, None)
    grown = load_model(folder, engine="onnx", batch_size=8)
    model, device = small(grown, 7, 8)
    with pytest.raises(AnnotateError, match="needs over 513 MiB"):
        model.predict(FACES[:3])
    assert device.sizes == [8]


def test_a_keras_network_for_batches_of_one_size_takes_smaller_ones(tmp_path: Path) -> None:
    keras_network(layers=4, images=8).save(tmp_path / "model.keras")
    files = {"model.keras": (tmp_path / "model.keras").read_bytes()}
    folder = folder_of(tmp_path / "fixed", files, 16, None)
    fixed = load_model(folder, engine="keras", device="cpu", batch_size=8)
    expected = fixed.predict(FACES[:11])
    model, device = small(fixed, 3, 8)
    found = model.predict(FACES[:11])
    assert found.age == pytest.approx(expected.age, abs=0.01)
    assert device.sizes == [8, 4, 2, 2, 2, 2, 2, 2]
