"""COCO: a data set that pycocotools reads, and that follows the published format."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from annotate import AnnotateError
from annotate.export.exporting import ExportConfig, Exported, run_export
from annotate.export.tally import Reason
from annotate.rows import with_metadata
from tests.hand_made import face_at, no_face, table_of

HOSTILE = [
    "<img src=x onerror=alert(1)>.jpg",
    "</script>.png",
    'quote".jpg',
    "new\nline.jpg",
    "\u2028\u202egpj.exe",
    "\N{GRINNING FACE}.jpg",
    "=cmd|'/c calc'!A1.jpg",
]


def exported(folder: Path, *rows: dict[str, Any], **options: Any) -> tuple[Exported, Any]:
    """What an export of rows tells, and what its file holds."""
    table = table_of(*rows)
    attributes = {"model": "fake", "model_sha256": "ab" * 32}
    pq.write_table(table.cast(with_metadata(table.schema, attributes)), folder / "rows.parquet")
    target = folder / "out.json"
    told = run_export(ExportConfig(str(folder / "rows.parquet"), "coco", str(target), **options))
    return told, json.loads(target.read_bytes())


ROWS = [
    face_at("a.jpg", 0, (10, 20, 40, 60.5), age=31.256, width=400, height=300, age_p10=20.0),
    face_at("a.jpg", 1, (200, 0, 500, 90), age=8, width=400, height=300, flags="edge")
    | {"female_probability": 0.25, "gender": "male"},
    no_face("b.jpg", width=64, height=48),
    no_face("c.jpg", status="decode_error"),
]


def test_the_values_are_those_of_the_rows(tmp_path: Path) -> None:
    told, found = exported(tmp_path, *ROWS)
    assert (told.tally.inputs, told.tally.faces, told.tally.exit_code) == (2, 2, 0)
    assert found["categories"] == [
        {"id": 1, "name": "female", "supercategory": "face"},
        {"id": 2, "name": "male", "supercategory": "face"},
    ]
    assert [(i["id"], i["file_name"], i["width"], i["height"]) for i in found["images"]] == [
        (1, "a.jpg", 400, 300),
        (2, "b.jpg", 64, 48),
    ]
    first, second = found["annotations"]
    assert (first["id"], first["image_id"], first["category_id"]) == (1, 1, 1)
    assert (second["id"], second["image_id"], second["category_id"]) == (2, 1, 2)
    assert first["bbox"] == [10, 20, 30, 40.5]  # left, top, width, height
    assert first["area"] == 1215  # 30 x 40.5
    assert second["bbox"] == [200, 0, 200, 90]  # the picture ends at 400
    assert first["attributes"] == {
        "age": 31.26,
        "age_p10": 20.0,
        "age_p90": None,
        "female_probability": 0.9,
        "detection_score": 0.99,
        "flags": [],
    }
    assert second["attributes"]["flags"] == ["edge"]
    assert found["info"]["model"] == "fake"


def test_it_follows_the_published_format(tmp_path: Path) -> None:
    """Keys and types as "Data format" at cocodataset.org has them."""
    _, found = exported(tmp_path, *ROWS)
    assert {"info", "images", "annotations", "licenses", "categories"} == set(found)
    assert isinstance(found["info"]["version"], str)
    assert isinstance(found["info"]["description"], str)
    for image in found["images"]:
        kinds = {"id": int, "width": int, "height": int, "file_name": str}
        assert all(type(image[key]) is kind for key, kind in kinds.items())
    images = {image["id"]: image for image in found["images"]}
    categories = {category["id"] for category in found["categories"]}
    assert len(images) == len(found["images"])
    for number, annotation in enumerate(found["annotations"], 1):
        assert annotation["id"] == number
        assert annotation["iscrowd"] == 0
        assert isinstance(annotation["segmentation"], list)
        assert annotation["category_id"] in categories
        x, y, width, height = annotation["bbox"]
        image = images[annotation["image_id"]]
        assert 0 <= x < x + width <= image["width"]
        assert 0 <= y < y + height <= image["height"]
        assert annotation["area"] == pytest.approx(width * height)


def test_pycocotools_reads_and_evaluates_it(tmp_path: Path) -> None:
    """Each face is found again by its own box, and by no other."""
    coco = pytest.importorskip("pycocotools.coco", reason="pycocotools is not installed")
    evaluation = pytest.importorskip("pycocotools.cocoeval")
    exported(tmp_path, *ROWS)
    truth = coco.COCO(str(tmp_path / "out.json"))
    assert [category["name"] for category in truth.loadCats(truth.getCatIds())] == [
        "female",
        "male",
    ]
    assert truth.getImgIds(catIds=[2]) == [1]
    results = [
        {key: annotation[key] for key in ("image_id", "category_id", "bbox")} | {"score": 0.9}
        for annotation in truth.loadAnns(truth.getAnnIds())
    ]
    judged = evaluation.COCOeval(truth, truth.loadRes(results), "bbox")
    judged.evaluate()
    judged.accumulate()
    judged.summarize()
    assert judged.stats[0] == pytest.approx(1)  # average precision over all thresholds


def test_names_of_any_text_come_through_as_they_are(tmp_path: Path) -> None:
    told, found = exported(tmp_path, *(face_at(name, 0, (0, 0, 9, 9)) for name in HOSTILE))
    assert [image["file_name"] for image in found["images"]] == HOSTILE
    assert told.tally.exit_code == 0


def test_names_that_json_cannot_hold_are_left_out(tmp_path: Path) -> None:
    """A lone surrogate would be no JSON to most readers, and cost them the whole file."""
    rows = [face_at(name, 0, (0, 0, 9, 9)) for name in ("caf\\xe9.jpg", "back\\\\slash.jpg")]
    told, found = exported(tmp_path, *rows)
    assert [image["file_name"] for image in found["images"]] == ["back\\slash.jpg"]
    assert told.tally.left_out == {Reason.NOT_UTF8: 1}
    assert told.tally.exit_code == 3
    assert "(first: caf\\xe9.jpg)" in told.render()


def test_faces_without_a_gender_have_no_category(tmp_path: Path) -> None:
    rows = [face_at("a.jpg", n, (0, 0, 9, 9), gender=("male", None)[n]) for n in (0, 1)]
    told, found = exported(tmp_path, *rows)
    assert [annotation["category_id"] for annotation in found["annotations"]] == [2]
    assert told.tally.left_out == {Reason.NO_GENDER: 1}


def test_faces_only(tmp_path: Path) -> None:
    told, found = exported(tmp_path, *reversed(ROWS), faces_only=True)
    assert [(image["id"], image["file_name"]) for image in found["images"]] == [(1, "a.jpg")]
    assert {annotation["image_id"] for annotation in found["annotations"]} == {1}
    assert told.tally.left_out == {Reason.NO_FACE: 1, Reason.FAILED: 1}


def test_an_output_without_anything_to_export_is_an_empty_data_set(tmp_path: Path) -> None:
    _, found = exported(tmp_path, no_face("c.jpg", status="decode_error"))
    assert (found["images"], found["annotations"]) == ([], [])


def test_the_same_rows_give_the_same_bytes(tmp_path: Path) -> None:
    exported(tmp_path, *ROWS)
    first = (tmp_path / "out.json").read_bytes()
    exported(tmp_path, *ROWS, overwrite=True)
    assert (tmp_path / "out.json").read_bytes() == first


def test_a_file_that_is_there_is_replaced_only_where_that_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "out.json").write_text("mine")
    with pytest.raises(AnnotateError, match=r"out.json' exists: pass --overwrite"):
        exported(tmp_path, *ROWS)
    assert (tmp_path / "out.json").read_text() == "mine"
    exported(tmp_path, *ROWS, overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.json", "rows.parquet"]


@pytest.mark.parametrize("target", ["out.csv", "out", "no/such/folder/out.json", "-", ""])
def test_a_target_that_cannot_be_is_an_error_before_any_work(tmp_path: Path, target: str) -> None:
    missing = str(tmp_path / "no.parquet")
    with pytest.raises(AnnotateError, match="cannot write"):
        run_export(ExportConfig(missing, "coco", target and str(tmp_path / target)))


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some tell only at the end, when what was written is to be on disk."""

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(AnnotateError, match=r"cannot write .*out.json.*No space left"):
        exported(tmp_path, *ROWS)
    assert [path.name for path in tmp_path.iterdir()] == ["rows.parquet"]
