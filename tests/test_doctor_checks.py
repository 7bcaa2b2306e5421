"""What the doctor looks at, one check at a time."""

from __future__ import annotations

import configparser
import io
import os
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image, features

from annotate.doctor.engines import _provider, keras, models
from annotate.doctor.findings import Verdict, fault
from annotate.doctor.isolation import Options
from annotate.doctor.machine import container_limit, disk, memory
from annotate.doctor.packages import Requirement, is_older, package, requirements
from annotate.doctor.pictures import COLOUR, file_of, format_checks, picture_format
from annotate.images import FORMATS
from annotate.model import MODELS, bundled_models
from tests.conftest import ROOT
from tests.model_folders import edit


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("numpy>=2", Requirement("numpy", "2")),
        ("tqdm", Requirement("tqdm")),
        ("Pillow-Heif (>=1.8.1) ; extra == 'heif'", Requirement("pillow-heif", "1.8.1", "heif")),
        ('a_b.c==0.1.0; extra == "x"', Requirement("a-b-c", "0.1.0", "x")),
        ("keras<4,>=3.8", Requirement("keras", "3.8")),
        ("keras!=3.9", Requirement("keras")),
        ("", None),
        ("@ https://example.org/a.whl", None),
    ],
)
def test_requirements(line: str, expected: Requirement | None) -> None:
    assert Requirement.of(line) == expected


def test_what_setup_cfg_asks_for_is_looked_at() -> None:
    if not requirements():
        pytest.skip("annotate is not installed, only on the path")
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    lines = setup["options"]["install_requires"].strip().splitlines()
    expected = {Requirement.of(line.replace(" ", "")) for line in lines}
    # An installation that is older than the checkout asks for less.
    assert {each.name for each in requirements() if not each.extra} <= {
        each.name for each in expected if each
    }
    assert {"numpy", "pillow", "tensorflow"} <= {each.name for each in requirements()}


@pytest.mark.parametrize(
    ("version", "lowest", "older"),
    [
        ("2.18.0", "2.18", False),
        ("2.9", "2.18", True),
        ("13.0.0", "13", False),
        ("2", "2.0.1", True),
        ("3.0.0rc1", "3", False),
        ("unknown", "1", True),
    ],
)
def test_versions_are_compared_by_number(version: str, lowest: str, older: bool) -> None:
    assert is_older(version, lowest) is older


def test_a_package_that_is_absent_or_too_old() -> None:
    (absent,) = package(Options(), "no-such-package 2.1")
    assert absent == fault("not installed (needs 2.1)", "pip install 'no-such-package>=2.1'")
    (old,) = package(Options(), "click 9999")
    assert old.verdict is Verdict.FAULT
    assert old.said.endswith("is too old (needs 9999)")
    assert old.to_do == "pip install 'click>=9999'"
    (there,) = package(Options(), "click 8.1")
    assert there.verdict is Verdict.OK


def test_there_is_a_picture_of_every_format_that_is_read() -> None:
    names = {check.name for check in format_checks("")}
    assert {name.upper().replace(" ", "") for name in names} == {*FORMATS, "HEIC"}


@pytest.mark.parametrize("name", [check.name for check in format_checks("")])
def test_the_pictures_are_decoded(name: str) -> None:
    """By Pillow itself, beside our own way."""
    if name == "HEIC":
        pytest.importorskip("pillow_heif", reason="pillow-heif is not installed")
    needed = {"AVIF": "avif", "JPEG 2000": "jpg_2000", "WebP": "webp"}.get(name)
    if needed and not features.check(needed):
        pytest.skip(f"this Pillow has no {name}")
    (found,) = picture_format(Options(), name)
    assert found.verdict is Verdict.OK
    assert found.brief == name
    if name != "HEIC":
        with Image.open(io.BytesIO(file_of(name))) as image:
            assert image.format == name.upper().replace(" ", "")
            colour = image.convert("RGB").getpixel((0, 0))
        assert colour == pytest.approx(COLOUR, abs=12)


def test_limits_of_containers(tmp_path: Path) -> None:
    """The smallest of the groups that hold a process counts, and `max` is none."""
    membership = tmp_path / "cgroup"
    hierarchy = tmp_path / "groups"
    (hierarchy / "a" / "b").mkdir(parents=True)
    assert container_limit(membership, hierarchy) is None
    membership.write_text("0::/a/b\n")
    assert container_limit(membership, hierarchy) is None
    (hierarchy / "a" / "b" / "memory.max").write_text("max\n")
    assert container_limit(membership, hierarchy) is None
    (hierarchy / "a" / "memory.max").write_text("2000000000\n")
    assert container_limit(membership, hierarchy) == 2_000_000_000
    (hierarchy / "a" / "b" / "memory.max").write_text("3000000000\n")
    assert container_limit(membership, hierarchy) == 2_000_000_000
    (hierarchy / "memory.max").write_text("1000\n")
    assert container_limit(membership, hierarchy) == 1000
    membership.write_text("0::/../../etc\n")  # a process outside the namespace
    assert container_limit(membership, hierarchy) in (None, 1000)


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs /proc, where nobody can write")
def test_a_folder_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/proc")
    (found,) = disk(Options(), "here")
    assert found.verdict is Verdict.NOTE
    assert found.said.startswith("'/proc' cannot be written: ")
    monkeypatch.setattr("tempfile.tempdir", "/proc")
    (found,) = disk(Options(), "temporary")
    assert found.verdict is Verdict.FAULT
    assert "TMPDIR" in found.to_do


@pytest.mark.skipif(not hasattr(os, "sysconf"), reason="memory is not known on this system")
def test_memory_that_would_not_do_for_so_many_workers() -> None:
    (found,) = memory(Options(workers=100_000), "")
    assert found.verdict is Verdict.NOTE
    assert "100000 workers on photographs may take 50,001.0 GB" in found.said
    assert found.to_do.startswith("--workers ")
    assert found.figures["total_bytes"]


@pytest.mark.filterwarnings("ignore:Specified provider:UserWarning")
def test_a_device_that_onnx_runtime_cannot_run_on_is_told() -> None:
    """As one that is listed, while its driver is not there."""
    import onnxruntime

    assert _provider(onnxruntime, "CPUExecutionProvider").verdict is Verdict.OK
    found = _provider(onnxruntime, "NoSuchExecutionProvider")
    assert (found.verdict, found.name) == (Verdict.NOTE, "NoSuch")
    assert "cannot be run on" in found.said


def test_every_file_of_a_model_folder_is_checked(copy: Path) -> None:
    asked = Options(model=str(copy))
    assert [finding.verdict for finding in models(asked, "")][-1] is Verdict.OK
    (copy / "card.md").write_text("# another\n")
    found = list(models(asked, ""))
    assert [finding.verdict for finding in found] == [Verdict.OK] * len(bundled_models()) + [
        Verdict.FAULT
    ]
    assert "card.md is not the file that model.json lists" in found[-1].said


def test_a_model_without_a_keras_file_is_no_fault(fake_model_folder: Path) -> None:
    (found,) = keras(Options(model=str(fake_model_folder)), "")
    assert found.verdict is Verdict.NOTE
    assert "no model.keras" in found.said


@pytest.mark.skipif("nano" not in bundled_models(), reason="nano is not bundled")
def test_engines_that_differ_are_told(tmp_path: Path) -> None:
    """A model whose ONNX file has other weights than its Keras file."""
    folder = Path(shutil.copytree(MODELS / "nano", tmp_path / "nano"))
    network = onnx.load(folder / "model.onnx")
    for tensor in network.graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        if values.ndim == 2 and values.dtype in (np.float16, np.float32):
            tensor.CopyFrom(onnx.numpy_helper.from_array(values[::-1].copy(), tensor.name))
    onnx.save(network, folder / "model.onnx")
    edit(folder)
    (found,) = keras(Options(model=str(folder)), "")
    assert found.verdict is Verdict.FAULT
    assert "differs from ONNX Runtime by" in found.said
    assert float(found.figures["years"] or 0) > 0.01
    assert found.to_do.startswith("use --engine onnx")
