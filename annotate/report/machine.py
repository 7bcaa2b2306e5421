"""The machine: nothing in, what a report says of where its figures were made out."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

from annotate.engines import cpu_name, usable_cpus
from annotate.version import __version__

PACKAGES = ("numpy", "pillow", "pyarrow", "onnxruntime", "keras", "tensorflow")
"""Those that figures may depend on; none of them is imported to ask for its version."""


def machine_facts() -> Iterator[tuple[str, str]]:
    """(what, which) of the machine and the programs."""
    cores = usable_cpus()
    yield "Machine", f"{cores} core{'s' * (cores != 1)} of {cpu_name()}, {platform.platform()}"
    yield (
        "Programs",
        ", ".join((f"annotate {__version__}", f"Python {platform.python_version()}", *_packages())),
    )


def _packages() -> Iterator[str]:
    for name in PACKAGES:
        try:
            yield f"{name} {version(name)}"
        except PackageNotFoundError:
            continue
