"""Engines: the file of a network in, a function from pixels to raw outputs out; and devices.

Nothing heavy is imported before it is needed: choosing ONNX Runtime on a machine without a GPU
never imports TensorFlow. Files come from strangers, so each is checked before anything of it is
built (onnx_files.py, keras_files.py).
"""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from annotate.errors import AnnotateError, one_line
from annotate.keras_files import checked_keras
from annotate.model_files import INPUT, OUTPUTS, import_late
from annotate.onnx_files import ONNX_ADVICE, checked_onnx

Outputs = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]
"""Raw outputs of one batch: age (B, bins) or (B, 1), and gender (B, 1)."""

ENGINES = ("onnx", "keras")
DEVICES = ("cpu", "gpu")


class Engine(Protocol):
    """A network that is ready to run on one device.

    input_shape: (images, S, S, 3) as its file says. output_widths: values of (age, gender).
    """

    name: str
    device: str
    device_name: str
    input_shape: tuple[Any, ...]
    output_widths: tuple[Any, ...]

    def run(self, pixels: npt.NDArray[np.uint8]) -> Outputs:
        """Raw outputs of one batch. pixels: uint8 (B, S, S, 3) RGB.

        B is the batch_size that it was loaded for, or the one that it was last shrunk to.
        """

    def shrink(self, batch_size: int) -> None:
        """Give back what memory it can, and be ready for batches of this size, a smaller one.

        Raises AnnotateError where the network cannot be run on such batches.
        """


class OnnxEngine:
    """ONNX Runtime on the CPU."""

    name = "onnx"
    device = "cpu"

    def __init__(self, path: Path, data: bytes, batch_size: int, threads: int | None) -> None:
        """data: the bytes of an ONNX file, path: where they come from, for messages."""
        ort = import_late("onnxruntime", ONNX_ADVICE)
        network = checked_onnx(path, data, batch_size)
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads or usable_cpus()
        options.inter_op_num_threads = 1
        # What goes wrong comes as an exception. On stderr it would stand a second time, with names
        # from the file as they are, among them what steers a terminal.
        options.log_severity_level = 4
        # Decoding runs on the same cores at the same time: waiting threads must not burn them.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # Else bytes that also make sense in ONNX Runtime's own format are read as that, unchecked.
        options.add_session_config_entry("session.load_model_format", "ONNX")
        _register_frugal_arena(ort)
        options.add_session_config_entry("session.use_env_allocators", "1")
        try:
            self.session = ort.InferenceSession(
                network.data, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # ONNX Runtime's exceptions have no common base
            raise AnnotateError(f"{path} cannot be loaded: {one_line(error)}") from error
        self.device_name = cpu_name()
        self.input_shape: tuple[Any, ...] = network.input_shape
        self.output_widths = network.output_widths
        self._outline = network.outline
        self._then_give_back = ort.RunOptions()
        self._then_give_back.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")

    def run(self, pixels: npt.NDArray[np.uint8]) -> Outputs:
        """See Engine.run."""
        age, gender = self.session.run(list(OUTPUTS), {INPUT: pixels})
        return age, gender

    def shrink(self, batch_size: int) -> None:
        """See Engine.shrink."""
        self._outline.output_widths(batch_size)
        # Memory is only given back at the end of a run, also of one that fails.
        with contextlib.suppress(Exception):
            nothing = np.zeros((batch_size, *self.input_shape[1:]), np.uint8)
            self.session.run(list(OUTPUTS), {INPUT: nothing}, self._then_give_back)


def _register_frugal_arena(ort: Any) -> None:
    """Have memory for the next session taken from the system as it is needed, and kept for reuse.

    The arena that a session makes itself asks for the next power of two, and if that fails for nine
    tenths until it fits: so it takes all that is left, and lacks a few megabytes for its own lists;
    then smaller batches fail too.
    """
    info = ort.OrtMemoryInfo(
        "Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT
    )
    as_requested = ort.OrtArenaCfg({"arena_extend_strategy": 1})
    with contextlib.suppress(RuntimeError):  # one is registered, and this version keeps it
        ort.create_and_register_allocator(info, as_requested)


class KerasEngine:
    """Keras on the user's backend (KERAS_BACKEND: tensorflow, jax or torch)."""

    name = "keras"

    def __init__(self, path: Path, data: bytes, device: str, device_name: str) -> None:
        """data, path: as of OnnxEngine, of a .keras file. device: "cpu" or "gpu", usable."""
        keras = import_keras()
        checked = checked_keras(path, data, keras)
        self.device = device
        self.device_name = device_name
        self._keras = keras
        try:
            # Keras loads from files alone, and the one that was checked may have changed by now.
            with (
                tempfile.TemporaryDirectory(prefix="annotate-") as folder,
                self._scope(),
                warnings.catch_warnings(),
            ):
                # What it warns of before it raises is said by the error.
                warnings.simplefilter("ignore")
                copy = Path(folder, "model.keras")
                copy.write_bytes(checked)
                self.model = keras.saving.load_model(copy, compile=False, safe_mode=True)
        except Exception as error:  # Keras raises nearly anything on a damaged file
            raise AnnotateError(f"{path} cannot be loaded: {one_line(error)}") from error
        outputs = self.model.output
        if not isinstance(outputs, dict) or not set(OUTPUTS) <= set(outputs):
            raise AnnotateError(f"{path} lacks the outputs {list(OUTPUTS)}")
        self.input_shape = tuple(self.model.input_shape)
        self.output_widths = tuple(outputs[name].shape[-1] for name in OUTPUTS)

    def _scope(self) -> Any:
        # PyTorch takes "cpu:0" for another device than "cpu", and would copy between them.
        plain = self._keras.backend.backend() == "torch"
        return self._keras.device(self.device if plain else f"{self.device}:0")

    def run(self, pixels: npt.NDArray[np.uint8]) -> Outputs:
        """See Engine.run."""
        with self._scope():
            outputs = self.model.predict_on_batch(pixels)
        age, gender = (np.asarray(outputs[name], np.float32) for name in OUTPUTS)
        return age, gender

    def shrink(self, batch_size: int) -> None:
        """See Engine.shrink. Backends give back by themselves; layers take any number of images."""


def choose(engine: str, device: str) -> tuple[str, str, str, str | None]:
    """Settle "auto". engine: "auto", "onnx" or "keras". device: "auto", "cpu" or "gpu".

    Returns (engine, device, name of the device, a remark or None). The remark says why a GPU
    that the machine seems to have is not used.
    Raises AnnotateError for a GPU that cannot be used and for impossible pairs.
    """
    for what, value, known in (("engine", engine, ENGINES), ("device", device, DEVICES)):
        if value not in ("auto", *known):
            raise AnnotateError(f"unknown {what} {value!r}: expected auto, {', '.join(known)}")
    if engine == "onnx" and device == "gpu":
        raise AnnotateError("the onnx engine runs on the CPU: use --engine keras for --device gpu")
    if device == "gpu":
        name, reason = usable_gpu()
        if name is None:
            raise AnnotateError(f"--device gpu: no usable GPU, {reason}; --device cpu works")
        return "keras", "gpu", name, None
    remark = None
    if device == "auto" and engine != "onnx" and may_have_gpu():
        name, reason = usable_gpu()
        if name is not None:
            return "keras", "gpu", name, None
        remark = f"the machine seems to have a GPU, but it is not used: {reason}"
    return ("onnx" if engine == "auto" else engine), "cpu", cpu_name(), remark


def may_have_gpu() -> bool:
    """Whether the machine shows signs of a GPU; cheap, and imports nothing."""
    if os.environ.get("CUDA_VISIBLE_DEVICES", "all").strip() in ("", "-1"):
        return False
    devices = Path("/dev")
    # NVIDIA, NVIDIA or AMD under WSL, AMD.
    if any(any(devices.glob(name)) for name in ("nvidia[0-9]*", "dxg", "kfd")):
        return True
    return platform.system() == "Windows" and shutil.which("nvidia-smi") is not None


def usable_gpu() -> tuple[str | None, str]:
    """Ask the Keras backend for a GPU: (its name, "") or (None, why there is none).

    The one function that imports a backend by name: to list devices, and to make it take GPU
    memory as it needs it instead of all at once.
    """
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    try:
        backend = import_keras().backend.backend()
        name = _gpu_name(backend)
    except Exception as error:  # a broken driver may raise anything; the reason is told
        return None, one_line(error)
    return name, "" if name else f"the {backend} backend of Keras finds none"


def _gpu_name(backend: str) -> str | None:
    if backend == "tensorflow":
        import tensorflow as tf

        gpus = tf.config.list_physical_devices("GPU")
        for gpu in gpus:
            tf.config.experimental.set_memory_growth(gpu, True)
        if not gpus:
            return None
        return str(tf.config.experimental.get_device_details(gpus[0]).get("device_name", "GPU"))
    if backend == "jax":
        import jax

        return str(jax.devices("gpu")[0].device_kind)
    if backend == "torch":
        import torch

        return torch.cuda.get_device_name(0) if torch.cuda.is_available() else None
    return None


def import_keras() -> Any:
    """Keras, quietly, on the user's backend. Raises AnnotateError where it cannot be had."""
    # TensorFlow speaks on stderr about things that no user can act on.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if not os.path.exists(os.path.expanduser("~/.keras")):
        # Keras would make that folder; we promise to write nothing but the output. Where it
        # cannot be made, Keras goes on without it.
        os.environ.setdefault("KERAS_HOME", os.path.join(os.devnull, "keras"))
    backend = os.environ.get("KERAS_BACKEND", "tensorflow")
    with _quiet_stderr():
        return import_late(
            "keras", f"the Keras backend {backend!r} (KERAS_BACKEND) must be installed and whole"
        )


@contextlib.contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Silence what a backend's C++ code says on file descriptor 2 while it is imported.

    TensorFlow reports missing GPU libraries there, whatever its log level; no user can act on
    it. What goes wrong comes as an exception.
    """
    try:
        kept = os.dup(2)
    except OSError:  # stderr is closed: nobody can be disturbed
        yield
        return
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def usable_cpus() -> int:
    """CPUs that this process may use, by affinity and container limits."""
    from joblib import cpu_count

    return int(cpu_count())


def cpu_name() -> str:
    """What the processor calls itself, such as "AMD EPYC 7763 64-Core Processor"."""
    try:
        for row in Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines():
            if row.startswith("model name"):
                return row.partition(":")[2].strip()
    except OSError:
        pass  # not Linux
    return platform.processor() or platform.machine() or "CPU"
