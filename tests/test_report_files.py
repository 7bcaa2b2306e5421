"""A report's folder: which files it gets, and that they say the same every time."""

from __future__ import annotations

import json
import re
import shutil
import struct
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from annotate import AnnotateError, EvaluationReport
from annotate.report.evaluation_plots import NAMES
from tests.conftest import Invoke
from tests.hand_made import guess
from tests.labelled_folders import Row, drawn, forty, scored

ALWAYS = {"report.html", "metrics.json", "metrics.md", "predictions.parquet"}


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_report_has_all_its_files_and_no_others(
    forty_report: tuple[EvaluationReport, Path],
) -> None:
    report, folder = forty_report
    assert files(folder) == ALWAYS | {f"{name}.png" for name in NAMES}
    assert json.loads((folder / "metrics.json").read_text("utf-8")) == report.to_dict()
    pd.testing.assert_frame_equal(
        pd.read_parquet(folder / "predictions.parquet").astype(report.predictions.dtypes),
        report.predictions,
        check_categorical=False,
    )


def test_plots_are_pictures_and_the_page_has_the_same(
    forty_report: tuple[EvaluationReport, Path],
) -> None:
    _, folder = forty_report
    page = (folder / "report.html").read_text("utf-8")
    for name in NAMES:
        png = (folder / f"{name}.png").read_bytes()
        assert png.startswith(b"\x89PNG\r\n\x1a\n")
        width, height = struct.unpack(">II", png[16:24])
        assert 600 <= width <= 1000, name
        assert 400 <= height <= 800, name
        assert page.count(b64encode(png).decode()) == 1, name


def women_without_ages(tmp_path: Path) -> dict[str, Any]:
    table = tmp_path / "labels.csv"
    table.write_text("path,gender\na.png,female\nb.png,female\n", "utf-8")
    return {"rows": [drawn("a.png", 30, 0.9), drawn("b.png", 30, 0.2)], "labels": table}


def ages_without_genders(tmp_path: Path) -> dict[str, Any]:
    table = tmp_path / "labels.csv"
    table.write_text("path,age\na.png,30\nb.png,41.5\n", "utf-8")
    return {"rows": [drawn("a.png", 30, 0.9), drawn("b.png", 30, 0.2)], "labels": table}


def one_face(tmp_path: Path) -> dict[str, Any]:
    return {"rows": [drawn("30_1_0_1.png", 33, 0.9, minor_probability=0.1)]}


def a_stranger(tmp_path: Path) -> dict[str, Any]:
    """Figures that no model gives."""
    odd = {"age_p10": -3e38, "age_p90": 3e38, "age_sd": -1.0}
    rows = [drawn("30_1_0_1.png", 3e38, 5.0, minor_probability=-7.0, **odd)]
    rows.append(drawn("31_0_0_2.png", -1e30, -2.0, minor_probability=1e30))
    rows.append(drawn("32_0_0_3.png", 1e-30, 0.5, age_sd=0.0))
    return {"rows": rows}


AGE = {name for name in NAMES if name.startswith("age-")} | {"thresholds-passing"}
NO_DISTRIBUTION = {"age-interval-coverage", "minor-reliability"}
ONE_GENDER = {"gender-roc"}


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        (women_without_ages, {"gender-confusion", "gender-reliability"}),
        (ages_without_genders, AGE - NO_DISTRIBUTION),
        (one_face, set(NAMES) - ONE_GENDER - {"age-interval-coverage"}),
        (a_stranger, set(NAMES)),
    ],
)
def test_there_is_a_plot_of_all_that_there_is(
    tmp_path: Path, case: Callable[[Path], dict[str, Any]], expected: set[str]
) -> None:
    values = case(tmp_path)
    scored(tmp_path, values.pop("rows"), report_dir=tmp_path / "r", **values)
    assert files(tmp_path / "r") - ALWAYS == {f"{name}.png" for name in expected}


def test_plots_of_an_earlier_report_do_not_stay(
    tmp_path: Path, forty_report: tuple[EvaluationReport, Path]
) -> None:
    shutil.copytree(forty_report[1], tmp_path / "r")
    (tmp_path / "r" / "mine.png").write_bytes(b"mine")
    values = women_without_ages(tmp_path)
    scored(tmp_path, values.pop("rows"), report_dir=tmp_path / "r", **values)
    assert files(tmp_path / "r") - ALWAYS == {
        "gender-confusion.png",
        "gender-reliability.png",
        "mine.png",
    }


def test_the_same_folder_gives_the_same_bytes_but_for_time_and_machine(
    forty_report: tuple[EvaluationReport, Path],
) -> None:
    first, one = forty_report
    two = one.with_name("again")
    scored(one.parents[1], forty(), report_dir=two)
    for path in sorted(one.iterdir()):
        again = (two / path.name).read_bytes()
        if path.name in ("report.html", "metrics.md"):
            stamp = rb"\d{4}-\d\d-\d\d \d\d:\d\d UTC, in \d+ s"
            assert len(re.findall(stamp, again)) == 1
            times = rb"\d{4}-\d\d-\d\d( \d\d:\d\d UTC, in \d+ s)?"  # midnight may lie between
            assert re.sub(times, b"", again) == re.sub(times, b"", path.read_bytes())
        else:
            assert again == path.read_bytes(), path.name
    text = (one / "metrics.json").read_text("utf-8")
    assert f"{first.started_at:%Y-%m-%d}" not in text


@pytest.mark.parametrize("place", ["labelled", "labelled/report", "labelled/a/b"])
def test_a_report_in_the_folder_that_is_evaluated_is_refused(tmp_path: Path, place: str) -> None:
    with pytest.raises(AnnotateError, match="lies in") as caught:
        scored(tmp_path, [guess("30_1_0_1.jpg", 33, 0.9)], report_dir=tmp_path / place)
    assert str(caught.value).isprintable()
    assert files(tmp_path / "labelled") == {"30_1_0_1.jpg"}


def test_a_hidden_report_in_the_folder_is_not(tmp_path: Path) -> None:
    rows: list[Row] = [guess("30_1_0_1.jpg", 33, 0.9)]
    scored(tmp_path, rows, report_dir=tmp_path / "labelled" / ".report")
    assert scored(tmp_path, rows).inputs == 1


def test_a_report_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "metrics.json").mkdir()
    with pytest.raises(AnnotateError, match=r"cannot write .*metrics\.json") as caught:
        scored(tmp_path, forty()[:2], report_dir=tmp_path / "r")
    assert str(caught.value).isprintable()
    assert not (tmp_path / "r" / "report.html").exists()


def test_the_command_says_where_the_page_is(
    tmp_path: Path, invoke: Invoke, fake_model_folder: Path
) -> None:
    scored(tmp_path, forty())
    arguments = ["evaluate", str(tmp_path / "labelled"), "--model", str(fake_model_folder)]
    code, out, err = invoke(*arguments, "--bootstrap", "0", "--report", str(tmp_path / "r"))
    assert code == 0
    assert err.splitlines()[-1] == f"wrote the report: {tmp_path / 'r' / 'report.html'}"
    assert "wrote" not in out
    assert "data:image/jpeg" in (tmp_path / "r" / "report.html").read_text("utf-8")
    invoke(*arguments, "--bootstrap", "0", "--report", str(tmp_path / "r"), "--no-thumbnails")
    page = (tmp_path / "r" / "report.html").read_text("utf-8")
    assert "data:image/jpeg" not in page
    assert "15_0_0_0.jpg" in page
