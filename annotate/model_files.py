"""Model files from strangers: what is read of them, and how much a network may cost.

onnx_files.py and keras_files.py know the two formats. Whatever is wrong with a file is an
AnnotateError of one line, before an engine builds anything of it.
"""

from __future__ import annotations

import importlib
import io
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from annotate.errors import AnnotateError, one_line
from annotate.streams import open_file

INPUT = "pixels"
OUTPUTS = ("age", "gender")
"""Names of a network's input and outputs, in both file formats."""

MAX_NETWORK_BYTES = 2**30
"""A network's file; protobuf, which ONNX files are written in, cannot hold twice as much."""

MAX_BYTES_PER_IMAGE = 2**27
"""What all layers of a network may give for one image; those of ResNet-50 at 224 px are 100 MB."""

MAX_MULTIPLICATIONS_PER_IMAGE = 2**35
"""VGG-16 at 224 px, which is among the slowest networks that anybody runs, needs 2**34."""


@dataclass
class Cost:
    """What a network takes to run, added up layer by layer.

    allowed_bytes: of all layers' outputs. allowed_multiplications: of all layers.
    """

    path: Path
    allowed_bytes: int
    allowed_multiplications: int
    total_bytes: int = 0
    multiplications: int = 0

    def add(self, values_bytes: int, multiplications: int) -> None:
        """Count one layer. Raises AnnotateError where the network is too large by now."""
        self.total_bytes += values_bytes
        self.multiplications += multiplications
        if self.total_bytes > self.allowed_bytes:
            raise AnnotateError(
                f"{self.path} needs over {self.allowed_bytes / 2**20:,.0f} MiB for the outputs of"
                " its layers, which no network for faces does: refused"
            )
        if self.multiplications > self.allowed_multiplications:
            raise AnnotateError(
                f"{self.path} needs over {self.allowed_multiplications:.1e} multiplications,"
                " which no network for faces does: refused"
            )


def open_regular(path: Path, most_bytes: int) -> io.BufferedReader:
    """A file of a model folder, for reading; links to files are followed.

    Raises AnnotateError where there is none, or a device, a FIFO or more than most_bytes.
    """
    try:
        file = open_file(os.fsencode(path))
    except OSError as error:
        raise AnnotateError(f"cannot read {path}: {error.strerror}") from error
    status = os.fstat(file.fileno())
    if stat.S_ISREG(status.st_mode) and status.st_size <= most_bytes:
        return file
    file.close()
    if not stat.S_ISREG(status.st_mode):
        raise AnnotateError(f"cannot read {path}: it is no regular file")
    raise AnnotateError(f"{path} has {status.st_size:,} bytes, at most {most_bytes:,} are expected")


def read_regular(path: Path, most_bytes: int) -> bytes:
    """The bytes of a file of a model folder, as open_regular."""
    with open_regular(path, most_bytes) as file:
        try:
            # Not read(): the file may be growing.
            return file.read(os.fstat(file.fileno()).st_size)
        except OSError as error:
            raise AnnotateError(f"cannot read {path}: {error.strerror}") from error


def import_late(module: str, advice: str) -> Any:
    """Import a module that is only needed now. Raises AnnotateError with the advice."""
    try:
        return importlib.import_module(module)
    except (ImportError, ValueError) as error:  # Keras: ValueError for an unknown backend
        raise AnnotateError(f"cannot import {module} ({one_line(error)}): {advice}") from error
