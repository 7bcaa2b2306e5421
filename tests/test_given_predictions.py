"""Evaluation of predictions that are there already."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pytest
from PIL import Image

from annotate import AnnotateError, Model, evaluate
from annotate.labelling import write
from annotate.pipeline import run_table
from annotate.run_config import RunConfig
from annotate.writers import write_parquet
from tests.hand_made import face_at, guess, table_of
from tests.test_evaluation import PICTURES, value
from tests.test_evaluation import folder as folder


def run_to(output: Path, source: Path, model: Model) -> Path:
    write_parquet(
        run_table(RunConfig((str(source),), faces="crop", workers=1), model=model).table, output
    )
    return output


def test_given_predictions_are_found_by_content_then_by_path(
    folder: Path, tmp_path: Path, fake_model: Model
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    # The same bytes under other names, but for one: the same name with other bytes.
    for index, name in enumerate(sorted(PICTURES)):
        if name.startswith("30"):
            Image.new("RGB", (32, 32), (102, 102, 102)).save(elsewhere / name, format="PNG")
        elif not name.startswith("60"):
            shutil.copy(folder / name, elsewhere / f"{index}.jpg")
    output = run_to(tmp_path / "out.parquet", elsewhere, fake_model)
    report = evaluate(folder, predictions=output, model=fake_model)
    # 40 against 30 by path; 40 against 20 and 40 against 40 by content; 60 is not there.
    assert value(report, "age", "mae") == pytest.approx((10 + 20 + 0) / 3, abs=1e-4)
    assert report.joined == {"by_sha256": 3, "by_path": 1}
    assert report.fault_counts["no_prediction"] == 1
    assert report.fault_counts["other_content"] == 1
    assert dict(report.not_scored) == {"malformed_name": 1, "no_prediction": 1}
    assert (report.inputs, report.model) == (5, "fake")
    paths = report.predictions.path.tolist()
    assert paths == [name for name in sorted(PICTURES) if not name.startswith("60")]
    assert set(report.predictions.source) == {str(folder)}


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl"])
def test_given_predictions_give_the_figures_of_a_run(
    folder: Path, tmp_path: Path, fake_model: Model, suffix: str
) -> None:
    output = tmp_path / f"out{suffix}"
    write(RunConfig((str(folder),), faces="crop", workers=1), str(output), model=fake_model)
    ran = evaluate(folder, model=fake_model, workers=1).to_dict()
    took = evaluate(folder, predictions=output, model=fake_model).to_dict()
    for key in ("age", "gender", "slices", "labels", "faults", "duplicate_content"):
        assert took[key] == ran[key], key


def test_predictions_that_are_no_output_are_one_line(folder: Path, tmp_path: Path) -> None:
    good = table_of(guess("a.jpg", 30, 0.5))
    wrong = good.set_column(good.schema.get_field_index("age"), "age", pa.array(["\x1b[31mold"]))
    write_parquet(wrong, tmp_path / "wrong.parquet")
    with pytest.raises(AnnotateError, match="'age'") as caught:
        evaluate(folder, predictions=tmp_path / "wrong.parquet")
    assert str(caught.value).isprintable()
    write_parquet(table_of(guess("a.jpg", 1, 0.5, status="fine")), tmp_path / "odd.parquet")
    with pytest.raises(AnnotateError, match="'fine'"):
        evaluate(folder, predictions=tmp_path / "odd.parquet")


def test_predictions_of_other_images_are_one_line(folder: Path, tmp_path: Path) -> None:
    write_parquet(table_of(guess("a.jpg", 30, 0.5)), tmp_path / "other.parquet")
    with pytest.raises(AnnotateError, match="no_prediction 5") as caught:
        evaluate(folder, predictions=tmp_path / "other.parquet")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "said",
    [
        '{"faces": ["detect"], "detector": {}, "min_score": NaN, "max_faces": 1e999}',
        '{"faces": "\\u001b[31m", "detector": "\\u001b[31m\\n", "detect_size": "\\ud800"}',
        "[" * 100_000,
    ],
)
def test_a_strangers_metadata_spoils_no_report(folder: Path, tmp_path: Path, said: str) -> None:
    table = table_of(face_at("30_1_0_1.jpg.chip.jpg", 0, (0, 0, 9, 9), age=33))
    table = table.replace_schema_metadata({"PANDAS_ATTRS": said})
    write_parquet(table, tmp_path / "odd.parquet")
    report = evaluate(folder, predictions=tmp_path / "odd.parquet", report_dir=tmp_path / "r")
    json.loads((tmp_path / "r" / "metrics.json").read_text("utf-8"))
    assert all(char == "\n" or char.isprintable() for char in report.render())
    assert value(report, "age", "mae") == 3.0
