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

from annotate.doctor.engines import Look, _provider, keras, models
from annotate.doctor.engines import onnx as on_onnx
from annotate.doctor.findings import Verdict, fault
from annotate.doctor.isolation import Check, Options, examine
from annotate.doctor.machine import container_limit, disk, memory
from annotate.doctor.packages import (
    _NOT_IMPORTED,
    Requirement,
    is_older,
    package,
    requirements,
)
from annotate.doctor.pictures import COLOUR, detector, file_of, format_checks, picture_format
from annotate.doctor.speed import crops, folder, photographs
from annotate.errors import AnnotateError
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


def test_the_page_names_the_packages_that_are_not_imported() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    lines = setup["options"]["install_requires"].strip().splitlines()
    needed = {line.split()[0] for line in lines}
    page = (ROOT / "docs" / "doctor.md").read_text("utf-8")
    row = next(line for line in page.splitlines() if line.startswith("| packages |"))
    named = row.partition("but for ")[2].partition(", which take")[0]
    assert set(named.lower().replace(" and ", ", ").split(", ")) == needed & _NOT_IMPORTED


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


# What to do -------------------------------------------------------------------------------


def test_a_backend_that_is_there_but_broken_is_told_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a real process: Keras imports it."""
    broken = tmp_path / "tensorflow" / "__init__.py"
    broken.parent.mkdir()
    broken.write_text("raise ImportError('libfoo.so.1: cannot open shared object file')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    check = Check("Engines", "keras", "annotate.doctor.engines:keras", to_do="?")
    (found,) = examine([check], Options())
    assert found.verdict is Verdict.FAULT
    assert "raised ImportError: libfoo.so.1: cannot open shared object file" in found.said
    assert "must be installed" not in found.said
    # It hides the one that is installed, which to install again would be no use.
    assert found.to_do == f"put '{broken}' out of the way"


@pytest.mark.parametrize(
    ("backend", "is_there", "to_do"),
    [
        ("tensorflow", True, "pip install --force-reinstall --no-cache-dir keras tensorflow"),
        ("jax", False, "pip install jax"),
        ("nope", False, "set KERAS_BACKEND to one of tensorflow, jax, torch, or unset it"),
    ],
)
def test_what_to_do_about_a_backend(
    backend: str, is_there: bool, to_do: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def import_keras() -> None:
        raise AnnotateError("it must be installed") from ImportError("no such symbol")

    monkeypatch.setattr("annotate.doctor.engines.import_keras", import_keras)
    monkeypatch.setenv("KERAS_BACKEND", backend)
    if not is_there:
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    (found,) = keras(Options(), "")
    assert (found.verdict, found.to_do) == (Verdict.FAULT, to_do)
    assert f"the backend {backend} raised ImportError: no such symbol" in found.said
    assert ("is installed, but broken" in found.said) is is_there


LOOKS = [on_onnx, keras, crops, photographs, folder]


@pytest.mark.parametrize("look", LOOKS, ids=lambda look: look.__name__)
def test_what_to_do_about_a_damaged_model(
    look: Look, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In its own folder, and as one that is bundled."""
    with (copy / "model.onnx").open("ab") as file:
        file.write(b"x")
    (found,) = look(Options(model=str(copy), folder=str(copy)), "")
    assert found.verdict is Verdict.FAULT
    assert "model.onnx is not the file that model.json lists" in found.said
    assert found.to_do.startswith("copy or export its folder again")
    monkeypatch.setattr("annotate.model.MODELS", copy.parent)
    (found,) = look(Options(model=copy.name, folder=str(copy)), "")
    assert found.verdict is Verdict.FAULT
    assert "pip install --force-reinstall --no-deps ." in found.to_do


def test_what_to_do_about_a_model_that_is_not_there() -> None:
    (found,) = on_onnx(Options(model="nope"), "")
    assert found.said.startswith("no model 'nope'")
    assert "--model" in found.to_do


def test_what_to_do_about_a_folder_without_pictures(
    tmp_path: Path, fake_model_folder: Path
) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("empty", "missing"):
        options = Options(folder=str(tmp_path / name), model=str(fake_model_folder))
        (found,) = folder(options, "")
        assert found.verdict is Verdict.FAULT
        assert name in found.said
        assert found.to_do == "name a file, a folder or an archive with pictures"


def test_what_to_do_about_weights_that_are_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("annotate.face_networks.WEIGHT_FILES", {"pnet": "0" * 64})
    (found,) = detector(Options(), "")
    assert found.verdict is Verdict.FAULT
    assert "is not the file of mtcnn 1.0.0" in found.said
    assert found.to_do.endswith("mtcnn==1.0.0")
