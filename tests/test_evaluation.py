"""Evaluation: labels joined to rows, faults counted, reports written; figures by hand."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pandas as pd
import pytest
from PIL import Image

from annotate import AnnotateError, EvaluationReport, Model, evaluate
from annotate.model import load_model
from annotate.records import COLUMNS
from annotate.report.evaluation_words import notices
from annotate.scoring import REPORT_FIELDS
from annotate.writers import write_parquet
from tests.hand_made import guess, table_of

PICTURES = {
    "30_1_0_1.jpg.chip.jpg": (255, 0, 0),
    "60_0_1_2.jpg.chip.jpg": (0, 255, 0),
    "20_0_2_3.jpg.chip.jpg": (204, 51, 51),
    "40_1_3_4 .jpg.chip.jpg": (153, 102, 51),
    "39_1_5.jpg.chip.jpg": (0, 0, 0),
}
"""UTKFace-style names and colours. The fake model says mean / 2.55 years and red / 255:
33.33 female, 33.33 male, 40 female, 40 female; the last name lacks its race.
"""

MAE = (10 / 3 + 80 / 3 + 20 + 0) / 4
"""Errors 3.33, -26.67, 20 and 0 years."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The five pictures, saved without loss under their JPEG names."""
    root = tmp_path / "labelled"
    root.mkdir()
    for name, colour in PICTURES.items():
        Image.new("RGB", (32, 32), colour).save(root / name, format="PNG")
    return root


def value(report: EvaluationReport, *keys: str) -> Any:
    found: Any = report.to_dict()
    for key in keys:
        found = found[key]
    return found["value"]


def test_the_folder_gets_the_figures_worked_out_by_hand(folder: Path, fake_model: Model) -> None:
    report = evaluate(folder, model=fake_model, workers=1)
    assert value(report, "age", "mae") == pytest.approx(MAE, abs=1e-4)
    assert value(report, "age", "median_error") == pytest.approx((10 / 3 + 20) / 2, abs=1e-4)
    assert value(report, "age", "bias") == pytest.approx((10 / 3 - 80 / 3 + 20) / 4, abs=1e-4)
    assert value(report, "age", "cs5") == 0.5
    assert value(report, "age", "interval_coverage") is None
    assert value(report, "gender", "accuracy") == 0.75
    assert value(report, "gender", "balanced_accuracy") == 0.75
    # Female 1.0 and 0.6 against male 0.0 and 0.8: three of four pairs are in order.
    assert value(report, "gender", "auc") == 0.75
    assert [(f.kind, f.path) for f in report.faults] == [
        ("malformed_name", "39_1_5.jpg.chip.jpg"),
        ("odd_name", "40_1_3_4 .jpg.chip.jpg"),
    ]
    assert dict(report.not_scored) == {"malformed_name": 1}
    assert (report.inputs, report.scores.scored, report.exit_code) == (5, 4, 3)


def test_a_report_folder_holds_the_rows_and_the_figures(
    folder: Path, tmp_path: Path, fake_model: Model
) -> None:
    report = evaluate(folder, report_dir=tmp_path / "r" / "new", model=fake_model, workers=1)
    written = tmp_path / "r" / "new"
    metrics = json.loads((written / "metrics.json").read_text("utf-8"))
    assert metrics == report.to_dict()
    assert metrics["schema_version"] == 1
    assert metrics["model"]["name"] == "fake"
    frame = pd.read_parquet(written / "predictions.parquet")
    assert list(frame.columns) == [c.name for c in COLUMNS] + [f.name for f in REPORT_FIELDS]
    pd.testing.assert_frame_equal(frame, report.predictions, check_categorical=False)
    assert frame.attrs["model"] == "fake"
    # The rows alone give the same figure: the analyst's way and the report's agree.
    error = (frame.age - frame.label_age).abs()
    assert error.mean() == pytest.approx(MAE, abs=1e-4)
    by_name = frame.set_index("path")
    assert by_name.label_gender["60_0_1_2.jpg.chip.jpg"] == "male"
    assert by_name.label_race["60_0_1_2.jpg.chip.jpg"] == "Black"
    assert by_name.label_source["60_0_1_2.jpg.chip.jpg"] == "utkface_name"
    assert by_name.loc["39_1_5.jpg.chip.jpg", ["label_age", "label_source"]].isna().all()


def test_the_same_folder_gives_the_same_figures(folder: Path, fake_model: Model) -> None:
    one, two = (evaluate(folder, model=fake_model, workers=n).to_dict() for n in (1, 2))
    assert json.dumps(one) == json.dumps(two)


def test_a_broken_image_is_counted_and_listed(folder: Path, fake_model: Model) -> None:
    (folder / "39_1_5.jpg.chip.jpg").unlink()
    (folder / "10_0_0_9.jpg").write_bytes(b"no image")
    report = evaluate(folder, model=fake_model, workers=1)
    assert dict(report.not_scored) == {"decode_error": 1}
    assert report.to_dict()["faults"]["list"][-1] == {
        "kind": "decode_error",
        "path": "10_0_0_9.jpg",
        "detail": "not an image of a format that annotate reads",
    }
    assert report.to_dict()["inputs"]["by_status"] == {"decode_error": 1, "ok": 4}
    assert value(report, "age", "mae") == pytest.approx(MAE, abs=1e-4)
    assert report.exit_code == 3
    lines = report.render().splitlines()
    assert "  10_0_0_9.jpg: not an image of a format that annotate reads" in lines
    assert "decode_error 1 (not scored)" in lines


def test_a_broken_image_with_a_malformed_name_counts_once_and_both_are_said(
    folder: Path, fake_model: Model
) -> None:
    (folder / "nameless.jpg").write_bytes(b"no image")
    report = evaluate(folder, model=fake_model, workers=1)
    assert dict(report.not_scored) == {"malformed_name": 1, "decode_error": 1}
    assert report.fault_counts["malformed_name"] == 2
    text = report.render()
    assert "malformed_name 2 (not scored; 1 of them counted as decode error)" in text
    assert "decode_error 1 (not scored)" in text


def test_a_clean_folder_ends_with_zero(folder: Path, fake_model: Model) -> None:
    (folder / "39_1_5.jpg.chip.jpg").unlink()
    assert evaluate(folder, model=fake_model, workers=1, bootstrap=0).exit_code == 0


def write_labels(path: Path, *rows: tuple[object, ...]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("path", "age"), *rows])
    return path


def test_a_table_takes_the_place_of_the_names(
    folder: Path, tmp_path: Path, fake_model: Model
) -> None:
    table = write_labels(
        tmp_path / "t.csv",
        ("30_1_0_1.jpg.chip.jpg", 40),
        ("39_1_5.jpg.chip.jpg", 2.5),
        ("20_0_2_3.jpg.chip.jpg", "old"),
        ("absent.jpg", 1),
    )
    report = evaluate(folder, labels=table, model=fake_model, workers=1)
    # 33.33 against 40, and black, which is 0 years, against 2.5.
    assert value(report, "age", "mae") == pytest.approx((20 / 3 + 2.5) / 2, abs=1e-4)
    assert value(report, "gender", "accuracy") is None
    assert report.fault_counts == {"invalid_value": 1, "missing_file": 1, "unlabelled": 2}
    assert dict(report.not_scored) == {"invalid_value": 1, "unlabelled": 2}
    assert report.label_source == "table"
    assert report.exit_code == 3


def test_a_limit_does_not_make_faults_of_what_comes_after_it(
    folder: Path, tmp_path: Path, fake_model: Model
) -> None:
    table = write_labels(tmp_path / "t.csv", *[(name, 30) for name in PICTURES])
    report = evaluate(folder, labels=table, model=fake_model, workers=1, limit=2)
    assert (report.inputs, report.scores.scored, report.faults) == (2, 2, ())


def test_what_a_model_says_of_minors_and_of_each_predicted_band_is_scored(
    folder: Path, tmp_path: Path
) -> None:
    said = (
        # path, age, interval, P(age < 18); labelled 30, 60, 20 and 40 years
        ("30_1_0_1.jpg.chip.jpg", 25, (20, 29), 0.1),
        ("60_0_1_2.jpg.chip.jpg", 62, (55, 70), 0.0),
        ("20_0_2_3.jpg.chip.jpg", 16, (12, 20), 0.75),
        ("40_1_3_4 .jpg.chip.jpg", 29.5, (20, 40), 0.0),
    )
    rows = [
        guess(path, age, 0.9, age_p10=low, age_p90=high, minor_probability=minor)
        for path, age, (low, high), minor in said
    ]
    write_parquet(table_of(*rows), tmp_path / "said.parquet")
    report = evaluate(folder, predictions=tmp_path / "said.parquet", bootstrap=50)
    found = report.to_dict()
    bands = {part["where"]["predicted_age_band"]: part for part in found["predicted_age_bands"]}
    assert list(bands) == ["10-17", "18-29", "60-69"]
    assert [part["n"] for part in bands.values()] == [1, 2, 1]
    # 25 and 29.5 years for 30 and 40; only the second interval holds its label, at its end.
    age = bands["18-29"]["age"]
    assert age["mae"]["value"] == pytest.approx(7.75)
    assert age["bias"]["value"] == pytest.approx(-7.75)
    assert age["interval_coverage"]["value"] == 0.5
    assert age["interval_coverage"]["n"] == 2
    # Nobody is labelled a minor: the figures are those of the false alarm.
    minor = found["minor"]
    assert (minor["n"], minor["share_minor"]["value"], minor["auc"]["value"]) == (4, 0.0, None)
    assert minor["brier"]["value"] == pytest.approx((0.1**2 + 0.75**2) / 4)
    assert minor["calibration_error"]["value"] == pytest.approx((0.1 + 0.75) / 4)
    assert minor["brier"]["low"] < minor["brier"]["value"] < minor["brier"]["high"]
    assert found["largest_gaps"] == []
    assert {"predicted_age_bands", "minor.brier", "largest_gaps"} <= found["definitions"].keys()
    lines = report.render().splitlines()
    (line,) = (line for line in lines if line.startswith("P(age < 18): AUC -"))
    assert line.endswith("n 4, share under 18 0.000")
    start = lines.index(next(line for line in lines if line.startswith("by prediction: age band")))
    assert lines[start + 2].split()[:3] == ["18-29", "2*", "0.500"]


def test_the_age_of_majority_is_eighteen(folder: Path, tmp_path: Path) -> None:
    names = ("20_0_2_3.jpg.chip.jpg", "30_1_0_1.jpg.chip.jpg")
    table = write_labels(tmp_path / "t.csv", (names[0], 17.5), (names[1], 18))
    rows = [guess(name, 20, 0.9, minor_probability=0.5) for name in names]
    write_parquet(table_of(*rows), tmp_path / "said.parquet")
    report = evaluate(folder, labels=table, predictions=tmp_path / "said.parquet", bootstrap=0)
    assert value(report, "minor", "share_minor") == 0.5


def test_a_model_without_a_distribution_says_nothing_of_minors(
    folder: Path, fake_model: Model
) -> None:
    report = evaluate(folder, model=fake_model, workers=1)
    found = report.to_dict()
    assert found["minor"] is None
    assert "P(age < 18): " not in report.render()
    bands = found["predicted_age_bands"]
    # 33.33 twice and 40 twice, by hand.
    assert [(part["where"]["predicted_age_band"], part["n"]) for part in bands] == [
        ("30-39", 2),
        ("40-49", 2),
    ]
    for part in bands:
        nothing = {"value": None, "low": None, "high": None, "n": 0}
        assert part["age"]["interval_coverage"] == nothing


def test_the_report_names_the_largest_gaps(tmp_path: Path) -> None:
    names = [f"{age}_{gender}_0_{i}.jpg" for i in range(40) for age, gender in ((30, 1), (38, 0))]
    (tmp_path / "in").mkdir()
    for name in names:
        (tmp_path / "in" / name).write_bytes(name.encode())
    # Errors of 3 years for women, of 8 for men, all of whom are taken for women.
    rows = [guess(name, 33 if name.startswith("30") else 30, 0.9) for name in names]
    write_parquet(table_of(*rows), tmp_path / "said.parquet")
    report = evaluate(tmp_path / "in", predictions=tmp_path / "said.parquet", bootstrap=0)
    gaps = report.to_dict()["largest_gaps"]
    # One age band, one race: there is a gap wherever genders are told apart.
    assert [(gap["dimension"], gap["figure"], gap["gap"], gap["least_n"]) for gap in gaps] == [
        (name, figure, size, 30)
        for name in ("gender", "age_band_x_gender", "gender_x_race")
        for figure, size in (("age_mae", 5.0), ("gender_accuracy", 1.0))
    ]
    assert (gaps[0]["worst"]["where"], gaps[0]["worst"]["value"]) == ({"gender": "male"}, 8.0)
    line = "  age MAE, years, by gender: 5.00 between 8.00 (male; n 40) and 3.00 (female; n 40)"
    assert line in report.render().splitlines()


def _model_that_met_two(folder: Path, copy: Path, fake_model_folder: Path) -> Model:
    """It says that it was trained on the first picture, and chosen by the second."""
    shutil.copytree(fake_model_folder, copy)
    lines = [
        f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()[:16]} {part}\n"
        for name, part in zip(sorted(PICTURES), ("train", "validation"), strict=False)
    ]
    text = "".join(lines).encode("ascii")
    (copy / "training_hashes.txt").write_bytes(text)
    info = json.loads((copy / "model.json").read_text("utf-8"))
    info["files"]["training_hashes.txt"] = hashlib.sha256(text).hexdigest()
    (copy / "model.json").write_text(json.dumps(info), "utf-8")
    return load_model(copy)


def test_the_report_warns_of_images_that_the_model_was_trained_on(
    folder: Path, tmp_path: Path, fake_model_folder: Path
) -> None:
    model = _model_that_met_two(folder, tmp_path / "model", fake_model_folder)
    report = evaluate(folder, model=model, workers=1)
    found = report.to_dict()
    assert found["training"] == {
        "known": True,
        "train": 1,
        "validation": 1,
        "test": 0,
        "scored_train": 1,
        "scored_validation": 1,
    }
    # First in order is 20 years with an error of 20; the others are left.
    assert found["not_trained_on"]["age"]["mae"]["value"] == pytest.approx(10.0, abs=1e-4)
    assert "WARNING: 1 of the scored images were trained on, and 1 more" in report.render()


def test_images_that_were_trained_on_and_are_not_scored_are_no_reason_to_warn(
    folder: Path, tmp_path: Path, fake_model_folder: Path
) -> None:
    model = _model_that_met_two(folder, tmp_path / "model", fake_model_folder)
    labels = tmp_path / "labels.csv"
    labels.write_text(
        "path,age\n" + "".join(f"{name},30\n" for name in sorted(PICTURES)[2:]), "utf-8"
    )
    report = evaluate(folder, model=model, labels=labels, faces="crop", workers=1)
    found = report.to_dict()["training"]
    assert (found["train"], found["validation"]) == (1, 1)
    assert (found["scored_train"], found["scored_validation"]) == (0, 0)
    text = report.render()
    assert "WARNING" not in text
    assert "The model met none of the scored images in its training; 2 of the others." in text
    assert next(kind for kind, _ in notices(report)) == "note"


def test_the_text_shows_figures_and_escapes_names(folder: Path, fake_model: Model) -> None:
    (folder / "39_1_\x1b[31m\n.jpg").write_bytes((folder / "39_1_5.jpg.chip.jpg").read_bytes())
    report = evaluate(folder, model=fake_model, workers=1)
    text = report.render()
    assert all(char == "\n" or char.isprintable() for char in text)
    assert "malformed_name 2 (not scored)" in text
    assert "\\x1b[31m\\x0a" in text
    line = next(line for line in text.splitlines() if "MAE, years" in line)
    assert line.split()[2] == f"{MAE:.2f}"
    assert line.split()[-1] == "4"


@pytest.mark.parametrize(
    ("prepare", "says"),
    [
        (lambda root: shutil.rmtree(root), "no folder"),
        (lambda root: [p.unlink() for p in root.iterdir()], "no images"),
        (lambda root: [p.rename(root / f"{i}.jpg") for i, p in enumerate(root.iterdir())], "label"),
        (lambda root: [p.write_bytes(b"") for p in root.iterdir()], "can be scored"),
    ],
)
def test_a_folder_that_cannot_be_scored_is_one_line(
    folder: Path, tmp_path: Path, fake_model: Model, prepare: Callable[[Path], Any], says: str
) -> None:
    prepare(folder)
    with pytest.raises(AnnotateError, match=says) as caught:
        evaluate(folder, report_dir=tmp_path / "r", model=fake_model, workers=1)
    assert str(caught.value).isprintable()
    assert not (tmp_path / "r" / "metrics.json").exists()


def test_a_report_that_cannot_be_written_is_said_before_any_work(
    folder: Path, tmp_path: Path, fake_model: Model
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(AnnotateError, match="report folder"):
        evaluate(folder, report_dir=tmp_path / "file", model=fake_model)


def test_inputs_are_left_as_they_are(folder: Path, tmp_path: Path, fake_model: Model) -> None:
    before = {p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in folder.iterdir()}
    evaluate(folder, report_dir=tmp_path / "r", model=fake_model, workers=1, bootstrap=0)
    assert {p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in folder.iterdir()} == before


def test_the_command_prints_the_table_and_exits_with_three(
    folder: Path,
    tmp_path: Path,
    fake_model_folder: Path,
    command: Callable[..., CompletedProcess[str]],
) -> None:
    report = tmp_path / "report"
    done = command(
        "evaluate", str(folder), "--model", str(fake_model_folder), "--report", str(report)
    )
    assert done.returncode == 3, done.stderr
    assert "malformed_name 1 (not scored)" in done.stdout
    assert "wrote" in done.stderr
    assert "wrote" not in done.stdout
    assert json.loads((report / "metrics.json").read_text())["age"]["mae"]["n"] == 4
    refused = command("evaluate", str(tmp_path / "absent"))
    assert refused.returncode == 1
    assert refused.stdout == ""
    assert len(refused.stderr.splitlines()) == 1
