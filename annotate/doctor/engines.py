"""Models, engines and devices: files as they were exported, and a tiny run wherever one may run."""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import os
import platform
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from annotate.doctor.findings import ANNOTATE_AGAIN, Figure, Finding, again, fault, note, ok
from annotate.doctor.isolation import Options
from annotate.doctor.packages import installed
from annotate.engines import import_keras, may_have_gpu, usable_gpu
from annotate.errors import AnnotateError, one_line, shown
from annotate.model import FILES, Model, bundled_models, checked_info, load_model

if TYPE_CHECKING:
    from annotate.records import Predictions

BACKENDS = ("tensorflow", "jax", "torch")
"""What Keras can run on; each is imported by the name that pip installs it by."""

FACES = 2
"""Faces in a tiny run."""

AGE_TOLERANCE = 0.01
PROBABILITY_TOLERANCE = 1e-4
"""By how much two engines may differ, in years and in probability."""

GPU_TOLERANCE = 0.5
"""Years; GPUs multiply with fewer digits than CPUs."""

_CPU_PROVIDERS = frozenset(("CPUExecutionProvider", "AzureExecutionProvider"))
"""Of ONNX Runtime; Azure's sends its work away, which is not a device of this machine."""


def models(options: Options, _: str) -> Iterator[Finding]:
    """Every file of every bundled model, and of the one that was asked for, by its SHA-256."""
    bundled = bundled_models()
    if not bundled:
        yield fault("no model is bundled", ANNOTATE_AGAIN, name="bundled")
    asked = [] if options.model in bundled else [options.model]
    for name in [*bundled, *asked]:
        title = shown(name, 60, quote=False)
        try:
            info = checked_info(name)
        except AnnotateError as error:
            yield fault(one_line(error, 500), _mend(name), name=title)
            continue
        files, size_px = len(info["files"]), info["input"]["size_px"]
        yield ok(f"{files} files as exported, {size_px} px", {"files": files}, name=title)


def _mend(name: str) -> str:
    """What mends a model that cannot be had, by its name or folder."""
    if name in bundled_models():
        return ANNOTATE_AGAIN
    return "copy or export its folder again, or pass another --model (annotate models lists some)"


Look = Callable[[Options, str], Iterator[Finding]]


def with_model(look: Look) -> Look:
    """Have a check that runs the model say what mends the model, where that is what is wrong."""

    @functools.wraps(look)
    def looked(options: Options, argument: str) -> Iterator[Finding]:
        try:
            yield from look(options, argument)
        except AnnotateError as error:
            try:
                checked_info(options.model)
            except AnnotateError:
                yield fault(one_line(error, 2000), _mend(options.model))
            else:
                raise

    return looked


@with_model
def onnx(options: Options, _: str) -> Iterator[Finding]:
    """Run the model on ONNX Runtime."""
    model = _loaded(options, "onnx", "cpu")
    _tiny_run(model)
    import onnxruntime

    yield ok(
        f"ran {shown(model.name, quote=False)} on the CPU (ONNX Runtime {onnxruntime.__version__})"
    )
    for provider in onnxruntime.get_available_providers():
        if provider not in _CPU_PROVIDERS:
            yield _provider(onnxruntime, provider)


def _provider(onnxruntime: Any, provider: str) -> Finding:
    """Whether ONNX Runtime can run on a device that it lists, which annotate does not ask for."""
    name = one_line(provider).removesuffix("ExecutionProvider")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    reason = "it falls back to the CPU"
    try:
        session = onnxruntime.InferenceSession(_doubling(), options, providers=[provider])
        if provider in session.get_providers():
            session.run(None, {"x": np.ones(FACES, np.float32)})
            reason = ""
    except Exception as error:  # a broken driver may raise anything
        reason = one_line(error)
    if reason:
        return note(f"listed by ONNX Runtime, but cannot be run on: {reason}", name=name)
    return ok("ONNX Runtime can run on it; annotate does so through Keras", name=name)


def _doubling() -> bytes:
    """A network that adds x, float32 (FACES,), to itself."""
    from onnx import TensorProto, helper

    ends = [helper.make_tensor_value_info(each, TensorProto.FLOAT, [FACES]) for each in "xy"]
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "x"], ["y"])], "doubling", ends[:1], ends[1:]
    )
    network = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return bytes(network.SerializeToString())


@with_model
def keras(options: Options, _: str) -> Iterator[Finding]:
    """Run the model on Keras, and compare with ONNX Runtime."""
    try:
        keras = import_keras()
    except AnnotateError as error:
        yield _no_keras(error.__cause__ or error)
        return
    backend = keras.backend.backend()
    with_backend = f"Keras {keras.__version__} on {backend} {_backend_version(backend)}".strip()
    info = checked_info(options.model)
    if FILES["keras"] not in info["files"]:
        yield note(f"{with_backend}; the model has no {FILES['keras']} to run")
        return
    found = _tiny_run(_loaded(options, "keras", "cpu"))
    name = shown(info["name"], quote=False)
    if FILES["onnx"] not in info["files"]:
        yield ok(f"ran {name} on the CPU ({with_backend})", {"backend": backend})
        return
    years, probability = _difference(found, _tiny_run(_loaded(options, "onnx", "cpu")))
    figures: dict[str, Figure] = {
        "backend": backend,
        "years": years,
        "probability": probability,
    }
    if years > AGE_TOLERANCE or probability > PROBABILITY_TOLERANCE:
        yield fault(
            f"{with_backend} differs from ONNX Runtime by {years:.3f} years and"
            f" {probability:.5f} in probability",
            "use --engine onnx, and reinstall the backend of Keras",
            figures,
        )
    else:
        yield ok(f"ran {name} on the CPU ({with_backend}), as ONNX Runtime does", figures)


def _no_keras(error: BaseException) -> Finding:
    """Why Keras cannot be imported. error: what importing it has raised."""
    backend = os.environ.get("KERAS_BACKEND", "tensorflow")
    name, kind = shown(backend, 40, quote=False), type(error).__name__
    said = f"importing Keras with the backend {name} raised {kind}: {one_line(error, 500)}"
    if backend not in BACKENDS:
        return fault(said, f"set KERAS_BACKEND to one of {', '.join(BACKENDS)}, or unset it")
    place = _place(backend)
    if place is None:
        return fault(said, f"pip install {name}")
    if _is_hidden(backend, place):
        place_shown = shown(str(place), 300)
        return fault(f"{said} (in {place_shown})", f"put {place_shown} out of the way")
    version = installed(backend) or "of an unknown version"
    return fault(f"{said} ({name} {version} is installed, but broken)", again("keras", name))


def _place(package: str) -> Path | None:
    """The file that importing a package begins with; None where there is no such package."""
    try:
        found = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        return None
    return None if found is None or found.origin is None else Path(found.origin)


def _is_hidden(package: str, place: Path) -> bool:
    """Whether a package is installed, but another of its name, whose file is `place`, comes first
    on Python's path.
    """
    try:
        own = Path(str(importlib.metadata.distribution(package).locate_file(package)))
    except importlib.metadata.PackageNotFoundError:
        return False
    return own.is_dir() and not place.is_relative_to(own)


def gpu(options: Options, _: str) -> Iterator[Finding]:
    """Run the model on a GPU, where the machine seems to have one."""
    if not may_have_gpu():
        yield ok("none seen, the CPU is used", {"usable": 0})
        return
    name, reason = usable_gpu()
    if name is None:
        to_do = "a driver and a backend of Keras for this GPU: pip install 'tensorflow[and-cuda]'"
        if platform.system() == "Windows":
            to_do = "TensorFlow uses no GPU on Windows: run annotate in WSL"
        said = f"the machine seems to have one, but it is not used: {reason}"
        yield note(said, to_do, {"usable": 0})
        return
    try:
        found = _tiny_run(_loaded(options, "keras", "gpu"))
        expected = _tiny_run(_loaded(options, "keras", "cpu"))
    except Exception as error:  # a broken driver may raise anything
        yield fault(
            f"{shown(name, quote=False)} is listed, but cannot be run on: {one_line(error)}",
            "use --device cpu, or mend the driver",
            {"usable": 0},
        )
        return
    years, probability = _difference(found, expected)
    said = f"{shown(name, quote=False)}, whose ages are {years:.3f} years from the CPU's at most"
    figures = {"usable": int(years <= GPU_TOLERANCE), "years": years, "probability": probability}
    if figures["usable"]:
        yield ok(f"ran the model on {said}", figures)
    else:
        yield fault(f"ran the model on {said}", "use --device cpu", figures)


def _loaded(options: Options, engine: str, device: str) -> Model:
    return load_model(options.model, engine=engine, device=device, batch_size=FACES)


def _tiny_run(model: Model) -> Predictions:
    """What a model says of FACES pictures of noise, the same ones every time."""
    shape = (FACES, model.size_px, model.size_px, 3)
    return model.predict(np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8))


def _difference(first: Predictions, second: Predictions) -> tuple[float, float]:
    """The largest differences in age and in female_probability."""
    return (
        float(np.abs(first.age - second.age).max()),
        float(np.abs(first.female_probability - second.female_probability).max()),
    )


def _backend_version(backend: str) -> str:
    try:
        return one_line(importlib.metadata.version(backend), 40)
    except importlib.metadata.PackageNotFoundError:
        return ""
