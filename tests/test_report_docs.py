"""docs/evaluate.md: its commands run, and it says all that there is to say."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import click
import pytest
from PIL import Image
from scipy.stats import binomtest

from annotate.cli import cli
from annotate.mistakes import DOUBT_AGE_SD, DOUBT_PROBABILITY, DOUBT_SDS, DOUBT_YEARS
from annotate.report.files import MARKDOWN_FILE, METRICS_FILE, PAGE_FILE, PREDICTIONS_FILE
from annotate.slices import FEW
from annotate.thresholds import LOOKS
from tests.conftest import ROOT, Invoke
from tests.test_docs import HOPPER_BOX, needs_base

PAGE = (ROOT / "docs" / "evaluate.md").read_text("utf-8")
SCHEMA_PAGE = (ROOT / "docs" / "metrics-schema.md").read_text("utf-8")


def blocks(language: str, text: str = PAGE) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the examples expect: labelled crops, crops and photographs with a table, an output."""
    matplotlib = pytest.importorskip("matplotlib")
    desk = tmp_path_factory.mktemp("desk")
    portrait = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
    for name in ("labelled", "faces", "photographs"):
        (desk / name).mkdir()
    shutil.copy(portrait, desk / "photographs" / "hopper.jpg")
    with Image.open(portrait) as image:
        crop = image.crop(HOPPER_BOX)
    crop.save(desk / "faces" / "hopper.jpg", quality=95)
    for age in (70, 76):
        name = f"{age}_1_0_20170101120000000.jpg.chip.jpg"
        crop.resize((200, 200)).rotate(age - 73).save(desk / "labelled" / name)
    (desk / "labels.csv").write_text("path,age,gender\nhopper.jpg,77,female\n", "utf-8")
    return desk


@needs_base
def test_what_the_page_shows_runs(
    desk: Path, monkeypatch: pytest.MonkeyPatch, invoke: Invoke
) -> None:
    monkeypatch.chdir(desk)
    assert invoke("run", "faces", "--faces", "crop", "-o", "people.parquet")[0] == 0
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    assert len(lines) == 4
    for line in lines:
        shutil.rmtree("report", ignore_errors=True)
        program, *arguments = shlex.split(line)
        assert program == "annotate"
        code, out, err = invoke(*arguments)
        assert code == 0, err
        assert "gender" in out
        assert (desk / "report" / "report.html").exists()
    python = [*blocks("python", SCHEMA_PAGE), *blocks("python")]
    assert len(python) == 3
    for block in python:
        exec(compile(block, "evaluate.md", "exec"), {})


def test_every_option_and_file_is_in_the_page() -> None:
    for parameter in cli.commands["evaluate"].params:
        if isinstance(parameter, click.Option) and "--help" not in parameter.opts:
            names = [name for name in (*parameter.opts, *parameter.secondary_opts) if len(name) > 2]
            assert any(name in PAGE for name in names), names
    for name in (PAGE_FILE, METRICS_FILE, MARKDOWN_FILE, PREDICTIONS_FILE):
        assert f"`{name}`" in PAGE


def test_the_rules_are_stated_as_they_are() -> None:
    text = " ".join(PAGE.split())
    assert (
        f"differs from the estimate by at least {DOUBT_YEARS:g} years and by more than"
        f" {DOUBT_SDS:g} times `age_sd`" in text
    )
    assert f"if `age_sd` is at most {DOUBT_AGE_SD:g} years" in text
    assert f"probability of {100 * DOUBT_PROBABILITY:g} % or more" in text
    assert f"fewer than {FEW} faces" in text
    # Wilson's interval of 20 of 20.
    low = binomtest(20, 20).proportion_ci(method="wilson").low
    assert f"a share has Wilson's, {100 * low:.1f} to 100 %" in text
    looks = [f"{at:g}" for at in LOOKS]
    assert f"how many look {', '.join(looks[:-1])} or {looks[-1]}" in text
