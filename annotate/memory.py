"""Batches that fit into memory: faces in, a network's raw outputs out.

A network is given batches of one shape. Where memory runs out on one, the batch is halved, the same
faces are run again, and the smaller size stays.
"""

from __future__ import annotations

import errno
import re
import threading

import numpy as np
import numpy.typing as npt

from annotate.engines import Engine, Outputs
from annotate.errors import AnnotateError, one_line


class Batches:
    """Runs a network on any number of faces, in batches of one shape.

    name: the model's, for messages. asked_size: faces of a batch, as the user wants them. Several
    threads may call run at the same time.
    """

    def __init__(self, name: str, engine: Engine, asked_size: int) -> None:
        self.engine = engine
        self._name = name
        self._asked_size = asked_size
        self._size = asked_size
        self._halving = threading.Lock()

    @property
    def remark(self) -> str | None:
        """What to say of batches that had to become smaller; None as long as they fit."""
        asked, size = self._asked_size, self._size
        if size == asked:
            return None
        return f"out of memory with batches of {asked} faces: going on with {size}"

    def run(self, faces: npt.NDArray[np.uint8]) -> Outputs:
        """Raw outputs of N faces, in order; N may be 0. faces: uint8 (N, S, S, 3) RGB.

        Raises AnnotateError where the network fails, or where there is no memory for one face.
        """
        age_width, gender_width = self.engine.output_widths
        ages = [np.empty((0, age_width), np.float32)]
        genders = [np.empty((0, gender_width), np.float32)]
        done = 0
        while done < len(faces):
            size = self._size
            outputs = self._attempt(faces[done : done + size], size)
            if outputs is None:
                self._halve(size)
                continue
            ages.append(outputs[0])
            genders.append(outputs[1])
            done += len(outputs[0])
        return np.concatenate(ages), np.concatenate(genders)

    def _attempt(self, faces: npt.NDArray[np.uint8], size: int) -> Outputs | None:
        """Raw outputs of up to `size` faces by way of a full batch, padded and cut again.

        None where there was no memory for a batch of several faces: the exception, which would keep
        alive what the attempt has allocated, ends here.
        """
        try:
            batch = np.zeros((size, *faces.shape[1:]), np.uint8)
            batch[: len(faces)] = faces
            outputs = self.engine.run(batch)
        except Exception as error:  # each engine has its own exceptions, down to the driver's
            if not is_out_of_memory(error):
                raise self._failure(f"failed on {self._place}: {one_line(error)}") from error
            if size == 1:
                said = f"ran out of memory on {self._place} with a single face: {self._advice}"
                raise self._failure(said) from error
            return None
        found = [tuple(output.shape) for output in outputs]
        expected = [(size, width) for width in self.engine.output_widths]
        if found != expected:
            raise self._failure(f"gives shapes {found}, expected {expected}")
        return outputs[0][: len(faces)], outputs[1][: len(faces)]

    def _halve(self, failed_size: int) -> None:
        """Go on with half of a size that did not fit, unless another thread did so meanwhile."""
        with self._halving:
            if self._size != failed_size:
                return
            smaller = failed_size // 2
            try:
                self.engine.shrink(smaller)
            except Exception as error:  # it may lack memory itself
                raise self._failure(
                    f"ran out of memory on {self._place} with batches of {failed_size} faces, and"
                    f" smaller ones are refused ({one_line(error)}): {self._advice}"
                ) from error
            self._size = smaller

    def _failure(self, said: str) -> AnnotateError:
        return AnnotateError(f"model {self._name!r} {said}")

    @property
    def _place(self) -> str:
        return f"{self.engine.name} ({self.engine.device})"

    @property
    def _advice(self) -> str:
        smaller = "take a smaller model (`annotate models` lists them)"
        if self.engine.device == "gpu":
            return f"end what else uses the GPU, {smaller}, or pass --device cpu"
        return f"free memory, for example by fewer --workers, or {smaller}"


MEMORY_ERRORS = frozenset({"MemoryError", "OutOfMemoryError", "ResourceExhaustedError"})
"""Exceptions that mean nothing else: of Python, NumPy and pybind11, of PyTorch, of TensorFlow."""

GENERAL_ERRORS = frozenset(
    ["Fail", "RuntimeException", "EPFail", "InternalError", "UnknownError", "RuntimeError"]
)
"""Exceptions whose words decide: three of ONNX Runtime, two of TensorFlow, and the one that those
of JAX and PyTorch are made from."""

MEMORY_WORDS = re.compile(
    "|".join(
        [
            # PyTorch's "CUDA out of memory" with its kin for AMD and Apple, XLA, CUDA's own words.
            "out of memory",
            "_OUT_OF_MEMORY",
            # XLA's and TensorFlow's status, where the exception is of a general kind.
            "RESOURCE_EXHAUSTED",
            # ONNX Runtime's arena, TensorFlow's kernels.
            "failed to allocate memory",
            "OOM when allocating",
            # TensorFlow, of a copy to a GPU that could not be allocated.
            "Dst tensor is not initialized",
            # cuBLAS, cuDNN and others of NVIDIA.
            "_STATUS_ALLOC_FAILED",
            # PyTorch on a CPU: Linux and macOS, Windows.
            "can(?:'|no)t allocate memory",
            "not enough memory",
            # C++: GCC and Clang, Microsoft.
            "std::bad_alloc",
            "bad allocation",
        ]
    ),
    re.IGNORECASE,
)
"""What the libraries say where memory ran out, each seen in its source or its library file."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception of NumPy or of an engine says that memory ran out, on any device."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if kinds & MEMORY_ERRORS:
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    # ONNX Runtime names the operation before this, and names in a file may be any words.
    said = str(error).rpartition("Status Message: ")[2]
    return bool(kinds & GENERAL_ERRORS) and MEMORY_WORDS.search(said) is not None
