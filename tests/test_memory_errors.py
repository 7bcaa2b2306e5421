"""Which errors say that memory ran out: the real types, with what the libraries' own files hold."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

import numpy as np
import pytest

from annotate.engines import import_keras
from annotate.errors import AnnotateError
from annotate.memory import is_out_of_memory

ARENA = "Failed to allocate memory for requested buffer of size 77070336"
ORT_RUN = (
    "[ONNXRuntimeError] : {code} : Non-zero status code returned while running Conv node."
    " Name:'{name}' Status Message: {said}"
)


def _ort(kind: str, said: str, name: str = "conv1") -> Exception:
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    error = getattr(state, kind)(ORT_RUN.format(code=1, name=name, said=said))
    assert isinstance(error, Exception)
    return error


def _tensorflow(kind: str, said: str) -> Exception:
    import_keras()  # which makes TensorFlow quiet
    tf = pytest.importorskip("tensorflow")
    error = getattr(tf.errors, kind)(None, None, said)
    assert isinstance(error, Exception)
    return error


def _torch(kind: str, said: str) -> Exception:
    torch = pytest.importorskip("torch")
    error = getattr(torch, kind)(said)
    assert isinstance(error, Exception)
    return error


def _jax(said: str) -> Exception:
    jax = pytest.importorskip("jax")
    error = jax.errors.JaxRuntimeError(said)
    assert isinstance(error, Exception)
    return error


@pytest.mark.parametrize(
    "made",
    [
        MemoryError,
        lambda: MemoryError("std::bad_alloc"),
        lambda: OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)),
        lambda: _ort("Fail", f"/src/bfc_arena.cc:360 void* AllocateRawInternal(size_t) {ARENA}"),
        lambda: _ort("RuntimeException", f"D:\\core\\framework\\bfc_arena.cc:376 {ARENA}"),
        lambda: _ort("RuntimeException", "std::bad_alloc"),
        lambda: _ort("RuntimeException", "bad allocation"),
        lambda: _ort("Fail", "CUDA failure 2: out of memory ; GPU=0 ; hostname=x"),
        lambda: _ort("Fail", "CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED ; GPU=0"),
        lambda: _tensorflow(
            "ResourceExhaustedError",
            "Graph execution error:\n\nOOM when allocating tensor with shape[64,112,112,96]",
        ),
        lambda: _tensorflow("ResourceExhaustedError", "failed to allocate memory [Op:AddV2]"),
        lambda: _tensorflow(
            "InternalError",
            "Failed copying input tensor from CPU:0 to GPU:0: Dst tensor is not initialized.",
        ),
        lambda: _tensorflow(
            "InternalError",
            "Failed to load in-memory CUBIN: CUDA_ERROR_OUT_OF_MEMORY: out of memory",
        ),
        # Keras makes this of TensorFlow's where a layer is called without a graph.
        lambda: RuntimeError(
            "Exception encountered when calling Conv2D.call().\n\n\x1b[1m{{function_node"
            " __wrapped__Conv2D_device}} OOM when allocating tensor with shape[64,9,9,9]"
        ),
        lambda: _torch("OutOfMemoryError", "CUDA out of memory. Tried to allocate 20.00 GiB."),
        lambda: RuntimeError("MPS backend out of memory (MPS allocated: 9.05 GB)"),
        lambda: RuntimeError("CUDA error: out of memory"),
        lambda: RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        lambda: RuntimeError(
            "[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate"
            " memory: you tried to allocate 4398046511104 bytes. Error code 12 (Cannot allocate"
            " memory)"
        ),
        lambda: RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9"),
        lambda: _jax(
            "RESOURCE_EXHAUSTED: Out of memory while trying to allocate 7406166528 bytes."
        ),
        lambda: RuntimeError("RESOURCE_EXHAUSTED: Failed to allocate request for 1.0GiB"),
    ],
)
def test_an_error_about_memory_is_known(made: Callable[[], Exception]) -> None:
    assert is_out_of_memory(made())


@pytest.mark.parametrize(
    "made",
    [
        lambda: ValueError("out of memory"),
        lambda: OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
        lambda: RuntimeError("CUDA error: device-side assert triggered"),
        lambda: RuntimeError("CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES: too many resources requested"),
        lambda: RuntimeError("can't start new thread"),
        lambda: _ort("InvalidArgument", ARENA),
        lambda: _ort("Fail", "the kernel has a wrong shape", name=f"Status Message: {ARENA}"),
        lambda: _tensorflow("InvalidArgumentError", "OOM when allocating: of a layer's name"),
        lambda: _tensorflow("InternalError", "cuDNN launch failure : input shape ([64,3,9,9])"),
        lambda: AnnotateError("out of memory"),
        KeyError,
    ],
)
def test_an_error_about_anything_else_is_not(made: Callable[[], Exception]) -> None:
    assert not is_out_of_memory(made())


def test_numpy_pytorch_and_jax_without_memory_are_known() -> None:
    with pytest.raises(MemoryError) as caught:
        np.empty(2**60, np.uint8)
    assert is_out_of_memory(caught.value)
    torch = pytest.importorskip("torch")
    with pytest.raises(RuntimeError) as failed:
        torch.empty(2**50)
    assert is_out_of_memory(failed.value)
