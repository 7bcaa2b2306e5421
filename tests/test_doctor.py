"""The doctor: what it finds on a machine that is well, and on one where really much is broken."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import annotate
from annotate.cli.doctor import _coloured
from annotate.doctor.diagnosis import diagnose
from annotate.doctor.findings import Finding, Verdict, fault, note, ok
from annotate.doctor.isolation import Check, Options, examine
from annotate.doctor.packages import requirements
from annotate.doctor.text import closing, render
from annotate.errors import shown
from annotate.model import MODELS, bundled_models
from tests.conftest import ROOT, Invoke, draw

POSIX = pytest.mark.skipif(os.name != "posix", reason="needs POSIX processes")
needs_base = pytest.mark.skipif("base" not in bundled_models(), reason="base is not bundled")

Report = dict[str, Any]


# Text -------------------------------------------------------------------------------------


def test_the_text_is_aligned_and_says_its_marks_in_words() -> None:
    findings = [
        Finding(Verdict.OK, "2.4.6", brief="numpy 2.4.6", name="numpy", area="Packages"),
        Finding(Verdict.FAULT, "RuntimeError: boom", "pip it", name="pandas", area="Packages"),
        Finding(Verdict.OK, "13", brief="pillow 13", name="pillow", area="Packages"),
        Finding(Verdict.NOTE, "a word " * 8, name="onnx", area="Engines"),
        Finding(Verdict.OK, "4 files", name="/a/path/of/a/model", area="Models"),
    ]
    assert list(render(findings, 60)) == [
        "",
        "Packages",
        "  FAULT  pandas            RuntimeError: boom",
        "                           -> pip it",
        "  ok     numpy 2.4.6, pillow 13",
        "",
        "Engines",
        "  note   onnx              a word a word a word a word a",
        "                           word a word a word a word",
        "",
        "Models",
        "  ok     /a/path/of/a/model",
        "                           4 files",
    ]
    assert list(render(findings[:1] + findings[2:3], 26))[2:] == [
        "  ok     numpy 2.4.6,",
        "         pillow 13",
    ]
    styled = list(render(findings, 60, lambda mark, verdict: f"<{verdict}>{mark}</>"))
    assert "<fault>  FAULT  </>pandas            RuntimeError: boom" in styled


def test_colour_is_only_an_addition(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert _coloured("FAULT", Verdict.FAULT) == "\x1b[31mFAULT\x1b[0m"
    monkeypatch.setenv("NO_COLOR", "1")
    assert _coloured("FAULT", Verdict.FAULT) == "FAULT"


def test_the_last_line_counts() -> None:
    assert closing({"ok": 3}, 0) == "All is well."
    assert closing({"ok": 3, "note": 1}, 0) == "All is well, 1 note."
    assert closing({"fault": 2, "note": 2}, 2) == "2 faults, 2 notes; arrows say what to do."


def test_the_last_line_claims_no_arrow_that_is_not_there() -> None:
    assert closing({"fault": 1}, 0) == "1 fault."
    assert closing({"fault": 2}, 1) == "2 faults; arrows say what to do about 1 of the faults."


def test_findings_survive_the_way_between_processes() -> None:
    for finding in (ok("a", {"n": 1}, brief="b"), note("c", "d"), fault("e", "f", {"x": None})):
        assert Finding.of(json.loads(json.dumps(finding.to_dict()))) == finding


# The command ------------------------------------------------------------------------------


def by_name(report: Report) -> dict[str, Report]:
    return {finding["name"]: finding for finding in report["findings"]}


@needs_base
def test_a_machine_that_is_well(invoke: Invoke, faces: Path, monkeypatch: Any) -> None:
    """Everything is really tried: decoders, detector, engines, the pipeline, the estimate."""
    for name in [name for name in os.environ if name.startswith("ANNOTATE_")]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    code, out, err = invoke(
        "doctor", str(faces), "--faces", "crop", "--seconds", "0.1", "--workers", "1", "--json"
    )
    report = json.loads(out)
    found = by_name(report)
    faults = [finding for finding in report["findings"] if finding["verdict"] == "fault"]
    assert (code, err, faults) == (0, "", [])
    assert report["schema_version"] == 1
    assert report["annotate_version"] == annotate.__version__
    assert report["counts"]["fault"] == 0
    assert report["counts"]["ok"] == sum(f["verdict"] == "ok" for f in report["findings"])
    assert found["a portrait"]["figures"]["score"] > 0.9
    assert found["keras"]["figures"]["years"] <= 0.01
    assert {"base", "nano"} <= set(found)
    for speed in ("crops", "photographs"):
        assert found[speed]["figures"]["per_second"] > 0
        assert found[speed]["figures"]["workers"] == 1
    assert found[shown(str(faces), 60, quote=False)]["figures"]["inputs"] == 20
    areas = list(dict.fromkeys(finding["area"] for finding in report["findings"]))
    assert areas == [
        "Machine",
        "Packages",
        "Picture formats",
        "Face detector",
        "Models",
        "Engines and devices",
        "Speed",
        "Time for a folder",
    ]


@pytest.fixture
def sick_bay(tmp_path: Path) -> Callable[[], dict[str, str]]:
    """Links to all that is installed, for a test to spoil; the environment that has Python use it.

    `python -S` takes packages from there and nowhere else.
    """
    site = tmp_path / "site"
    site.mkdir()
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        if entry.name not in ("annotate", "__pycache__"):
            (site / entry.name).symlink_to(entry)
    shutil.copytree(ROOT / "annotate", site / "annotate", copy_function=os.link)
    return lambda: os.environ | {"PYTHONPATH": str(site), "KERAS_BACKEND": "no_such_backend"}


def break_package(site: Path, name: str, program: str) -> None:
    """In the stead of a package, a program; what else is known of the package stays."""
    (site / name).unlink()
    (site / f"{name}.py").write_text(program)


def remove_package(site: Path, prefix: str) -> None:
    for entry in [entry for entry in site.iterdir() if entry.name.startswith(prefix)]:
        entry.unlink()


def doctored(environment: dict[str, str], *arguments: str) -> tuple[int, Report]:
    done = subprocess.run(
        [sys.executable, "-S", "-m", "annotate", "doctor", "--seconds", "0", "--json", *arguments],
        env=environment,
        cwd="/",
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert "Traceback" not in done.stdout + done.stderr
    assert done.stderr == ""
    return done.returncode, json.loads(done.stdout)


def assert_all_faults_have_arrows(report: Report) -> None:
    faults = [finding for finding in report["findings"] if finding["verdict"] == "fault"]
    assert faults
    assert [finding for finding in faults if not finding["to_do"]] == []


@POSIX
@pytest.mark.skipif("nano" not in bundled_models(), reason="nano is not bundled")
def test_a_machine_where_much_is_broken(
    sick_bay: Callable[[], dict[str, str]], tmp_path: Path, fake_model_folder: Path
) -> None:
    """Each fault is told by itself, and what is well is still said to be."""
    site = tmp_path / "site"
    break_package(site, "pandas", "raise RuntimeError('boom')\n")
    break_package(site, "onnx", "import os, signal\nos.kill(os.getpid(), signal.SIGILL)\n")
    break_package(site, "jinja2", "import sys\nsys.exit(3)\n")
    remove_package(site, "pillow_heif")
    remove_package(site, "tqdm")
    damaged = site / "annotate" / "models" / "nano" / "model.onnx"
    data = bytearray(damaged.read_bytes())
    data[len(data) // 2] ^= 1
    damaged.unlink()  # it is a link to the file itself
    damaged.write_bytes(data)

    code, report = doctored(sick_bay(), "--model", str(fake_model_folder))
    found = by_name(report)
    assert code == 1
    assert report["verdict"] == "fault"
    assert found["pandas"]["said"] == "RuntimeError: boom"
    assert "--force-reinstall" in found["pandas"]["to_do"]
    assert "SIGILL, this processor lacks instructions" in found["onnx"]["said"]
    assert found["jinja2"]["said"] == "SystemExit: 3"
    if requirements():  # else nobody knows that it is needed
        assert found["tqdm"]["said"].startswith("not installed")
        assert "heif (HEIC and HEIF pictures)" in found["extras"]["said"]
    assert found["HEIC"]["verdict"] == "note"
    assert found["HEIC"]["to_do"] == "pip install 'annotate[heif]'"
    assert "model.onnx is not the file that model.json lists" in found["nano"]["said"]
    assert "pip install --force-reinstall --no-deps ." in found["nano"]["to_do"]
    assert "no_such_backend" in found["keras"]["said"]
    assert "tensorflow, jax, torch" in found["keras"]["to_do"]
    assert_all_faults_have_arrows(report)
    for name in ("numpy", "JPEG", "AVIF", "base", "worker processes", str(fake_model_folder)[:60]):
        assert found[name]["verdict"] == "ok", name
    assert (MODELS / "nano" / "model.onnx").read_bytes() != bytes(data)


@POSIX
def test_without_numpy_everything_is_still_told(
    sick_bay: Callable[[], dict[str, str]], tmp_path: Path
) -> None:
    break_package(tmp_path / "site", "numpy", "raise ImportError('built for another processor')\n")
    code, report = doctored(sick_bay(), "/tmp")
    assert code == 1
    found = by_name(report)
    assert found["numpy"]["said"] == "ImportError: built for another processor"
    assert found["Python"]["verdict"] == "ok"
    assert found["click"]["verdict"] == "ok"
    for name in ("JPEG", "networks", "keras", "folder"):
        assert found[name]["verdict"] == "fault", name
    assert_all_faults_have_arrows(report)


def test_a_reader_that_leaves_ends_it(faces: Path) -> None:
    """`annotate doctor | head -1`: no error, and at once."""
    process = subprocess.Popen(
        [sys.executable, "-m", "annotate", "doctor", "--seconds", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline() == f"annotate {annotate.__version__}\n"
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait(120) == 0


@POSIX
def test_ctrl_c_ends_it() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "annotate", "doctor", "--seconds", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=300)
    assert (process.returncode, err.strip()) == (130, "annotate: interrupted")


def test_hostile_names_are_shown_not_sent(invoke: Invoke, tmp_path: Path) -> None:
    hostile = tmp_path / "a\x1b[31m\n<script>"
    draw(hostile / "x.png", (1, 2, 3))
    # A Check by itself: the whole doctor takes long.
    (found,) = examine(
        [Check("Time", "folder", "annotate.doctor.speed:folder", limit_s=300)],
        Options(folder=str(hostile), faces="crop", model="no\x1b[31mbody"),
    )
    lines = list(render([found], 80))
    assert all(line.isprintable() for line in lines)
    assert re.search("no model 'no.*body'", found.said)


def test_every_check_can_be_found() -> None:
    """The names of functions are text, which no other tool checks."""
    from annotate.doctor import diagnosis, isolation

    listed = list(diagnosis._checks(Options(folder="x", seconds=1)))
    for check in listed:
        assert callable(isolation._function(check)), check
    assert isinstance(diagnose(Options()), Iterator)
