"""Label Studio: tasks that its own checks accept, with the labelling set-up that they fit."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pyarrow.parquet as pq
import pytest

from annotate import AnnotateError
from annotate.export.exporting import ExportConfig, Exported, run_export
from annotate.rows import with_metadata
from tests.hand_made import face_at, no_face, table_of
from tests.test_exporters_coco import HOSTILE

Tasks = list[dict[str, Any]]


def exported(folder: Path, *rows: dict[str, Any], **options: Any) -> tuple[Exported, Tasks]:
    """What an export of rows tells, and its tasks."""
    table = table_of(*rows)
    attributes = options.pop("attributes", {"model": "fake", "model_sha256": "ab" * 32})
    pq.write_table(table.cast(with_metadata(table.schema, attributes)), folder / "rows.parquet")
    target = folder / "tasks.json"
    config = ExportConfig(str(folder / "rows.parquet"), "label-studio", str(target), **options)
    return run_export(config), json.loads(target.read_bytes())


ROWS = [
    face_at("a b.jpg", 0, (40, 60, 140, 120), age=31.6, width=400, height=300, age_p10=24.0)
    | {"age_p90": 39.4, "flags": "uncertain", "female_probability": 0.75},
    face_at("a b.jpg", 1, (300, 0, 500, 90), age=8, width=400, height=300)
    | {"female_probability": 0.0625, "gender": "male"},
    no_face("b.jpg"),
]


def test_the_values_are_those_of_the_rows(tmp_path: Path) -> None:
    told, tasks = exported(tmp_path, *ROWS)
    assert (told.tally.inputs, told.tally.faces) == (2, 2)
    task, empty = tasks
    (prediction,) = task["predictions"]
    assert prediction["model_version"] == "fake abababababab"
    assert prediction["score"] == 0.75  # of 0.75 and 1 - 0.0625, the less certain
    female, female_age, male, _ = prediction["result"]
    assert female["value"] == {
        "x": 10, "y": 20, "width": 25, "height": 20, "rotation": 0, "rectanglelabels": ["female"],
    }  # fmt: skip
    assert (female["score"], male["score"]) == (0.75, 0.9375)
    assert (female["original_width"], female["original_height"]) == (400, 300)
    assert female["meta"]["text"] == ["age 24 to 39 (80 %), uncertain"]
    assert male["value"]["x"] + male["value"]["width"] == 100  # the picture ends there
    assert (female_age["type"], female_age["value"]["number"]) == ("number", 32)
    assert [result["id"] for result in prediction["result"]] == ["face-1", "face-1"] + [
        "face-2"
    ] * 2
    assert empty["predictions"] == []
    assert task["data"]["path"] == "a b.jpg"
    assert task["data"]["sha256"] == ROWS[0]["sha256"]


def test_results_fit_the_labelling_set_up(tmp_path: Path) -> None:
    """By the set-up's own tags: names, types, labels and ranges."""
    _, tasks = exported(tmp_path, *ROWS)
    view = ET.parse(tmp_path / "tasks.config.xml").getroot()
    assert view.tag == "View"
    image = view.find("Image")
    assert image is not None
    controls = {tag.get("name"): tag for tag in view.iter() if tag.get("toName") == "image"}
    key = str(image.get("value")).removeprefix("$")
    for task in tasks:
        assert task["data"][key]
        for result in [r for p in task["predictions"] for r in p["result"]]:
            tag = controls[result["from_name"]]
            assert result["to_name"] == image.get("name")
            assert result["type"] == tag.tag.lower()
            value = result["value"]
            assert all(0 <= value[side] <= 100 for side in ("x", "y", "width", "height"))
            if "number" in value:
                low, high = float(tag.get("min", "nan")), float(tag.get("max", "nan"))
                assert low <= value["number"] <= high
                assert tag.get("perRegion") == "true"
            else:
                labels = [label.get("value") for label in tag.findall("Label")]
                assert set(value["rectanglelabels"]) <= set(labels)


def test_label_studios_own_checks_accept_them(tmp_path: Path) -> None:
    interface = pytest.importorskip(
        "label_studio_sdk.label_interface", reason="label-studio-sdk is not installed"
    )
    _, tasks = exported(tmp_path, *ROWS)
    checked = interface.LabelInterface((tmp_path / "tasks.config.xml").read_text())
    checked.validate()
    for task in tasks:
        assert checked.validate_task({"data": task["data"]})
        for prediction in task["predictions"]:
            assert checked.validate_prediction(prediction, return_errors=True) == []


def test_pictures_are_served_below_the_document_root(tmp_path: Path) -> None:
    """Label Studio joins `d` to the document root, and wants a storage that is below that."""
    rows = [face_at(name, 0, (0, 0, 9, 9), source="/home/me/my photos") for name in HOSTILE]
    told, tasks = exported(tmp_path, *rows, no_face("caf\u00e9 100%.jpg", source="/home/me/x"))
    wanted = [f"me/my photos/{name}" for name in HOSTILE] + ["me/x/caf\u00e9 100%.jpg"]
    for task, name in zip(tasks, wanted, strict=True):
        address = urlsplit(task["data"]["image"])
        assert address.path == "/data/local-files/"
        assert parse_qs(address.query)["d"] == [name]
        assert not address.fragment
    assert "LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT=/home\n" in told.render()
    assert "has /home/me as a source storage" in told.render()


def test_a_url_prefix_takes_the_place_of_label_studios_own(tmp_path: Path) -> None:
    told, tasks = exported(tmp_path, *ROWS, url_prefix="https://host/photos/")
    assert tasks[0]["data"]["image"] == "https://host/photos/a%20b.jpg"
    assert "DOCUMENT_ROOT" not in told.render()


def test_a_url_prefix_that_is_no_text_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(AnnotateError, match=r"URL prefix .* is not UTF-8"):
        exported(tmp_path, *ROWS, url_prefix="http://\udcff/")


def test_labels_of_a_person_have_no_score(tmp_path: Path) -> None:
    """What annotate review corrected has no probability any more."""
    row = face_at("a.jpg", 0, (0, 0, 9, 9), age=None, female_probability=None, gender="male")
    _, (task,) = exported(tmp_path, row, attributes={})
    (prediction,) = task["predictions"]
    assert "score" not in prediction
    assert prediction["model_version"] == "annotate"
    (result,) = prediction["result"]
    assert "score" not in result
    assert "meta" not in result
    assert result["value"]["rectanglelabels"] == ["male"]


def test_neither_file_is_replaced_unless_that_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "tasks.config.xml").write_text("mine")
    with pytest.raises(AnnotateError, match=r"tasks.config.xml' exists"):
        exported(tmp_path, *ROWS)
    assert not (tmp_path / "tasks.json").exists()
    exported(tmp_path, *ROWS, overwrite=True)
    assert "<View>" in (tmp_path / "tasks.config.xml").read_text()
    assert len(list(tmp_path.iterdir())) == 3
