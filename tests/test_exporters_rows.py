"""What is exported: whose rows belong together, and what strangers' rows come to."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from annotate import AnnotateError
from annotate.export.exporting import ExportConfig, run_export
from annotate.export.labelled import Input, Labelled, LeftOut
from annotate.export.tally import Reason, Tally
from annotate.records import COLUMNS
from annotate.rows import with_metadata
from tests.hand_made import face_at, guess, no_face, table_of
from tests.test_readers import VALUES, texts, written


def saved(folder: Path, *rows: dict[str, Any]) -> Path:
    """An output with these rows."""
    target = folder / "rows.parquet"
    pq.write_table(table_of(*rows), target)
    return target


def inputs(labelled: Labelled) -> list[Input]:
    return [item for item in labelled if isinstance(item, Input)]


def left_out(labelled: Labelled) -> list[tuple[Reason, str]]:
    return [tuple(item) for item in labelled if isinstance(item, LeftOut)]


def test_the_faces_of_an_input_come_together_left_to_right(tmp_path: Path) -> None:
    """However the rows were sorted since; inputs stay in the order of their first rows."""
    rows = [
        face_at("b.jpg", 1, (50, 0, 60, 10), age=20),
        face_at("a.jpg", 0, (0, 0, 10, 10), age=30),
        face_at("b.jpg", 2, (80, 0, 90, 10), age=40),
        face_at("b.jpg", 0, (20, 0, 30, 10), age=50),
    ]
    found = inputs(Labelled(saved(tmp_path, *rows)))
    assert [item.path for item in found] == ["b.jpg", "a.jpg"]
    assert [face.age for face in found[0].faces] == [50, 20, 40]
    assert found[0].faces[0].box == (20, 0, 30, 10)


def test_every_input_is_given_or_left_out_for_a_reason(tmp_path: Path) -> None:
    out = saved(
        tmp_path,
        face_at("a.jpg", 0, (0, 0, 10, 10)),
        no_face("b.jpg"),
        no_face("c.jpg", status="decode_error", width=None),
        no_face("d.nef", status="unsupported", width=None),
        no_face("e.jpg", status="duplicate"),
        face_at("trip.zip!/f.jpg", 0, (0, 0, 10, 10)),
        no_face("g.jpg", width=None),
        no_face("h.jpg", height=-5),
        no_face("i.jpg", status=None),
    )
    labelled = Labelled(out)
    assert [(item.path, len(item.faces)) for item in inputs(labelled)] == [
        ("a.jpg", 1),
        ("b.jpg", 0),
    ]
    assert left_out(labelled) == [
        (Reason.FAILED, "c.jpg"),
        (Reason.UNSUPPORTED, "d.nef"),
        (Reason.DUPLICATE, "e.jpg"),
        (Reason.IN_ARCHIVE, "trip.zip!/f.jpg"),
        (Reason.NO_SIZE, "g.jpg"),
        (Reason.NO_SIZE, "h.jpg"),
        (Reason.FAILED, "i.jpg"),
    ]
    assert len(labelled) == 9


def test_duplicates_have_the_faces_of_their_content_where_they_are_asked_for(
    tmp_path: Path,
) -> None:
    """Also where the labelled rows come later, or are not there any more."""
    first = face_at("z.jpg", 0, (0, 0, 10, 10), age=33, width=50, height=40)
    copy = no_face("a.jpg", status="duplicate", sha256=first["sha256"], width=None)
    lost = no_face("b.jpg", status="duplicate")
    labelled = Labelled(saved(tmp_path, copy, lost, first), with_duplicates=True)
    found = inputs(labelled)
    assert [item.path for item in found] == ["a.jpg", "z.jpg"]
    assert [(item.width, item.height, item.faces[0].age) for item in found] == [(50, 40, 33)] * 2
    assert left_out(labelled) == [(Reason.DUPLICATE, "b.jpg")]


@pytest.mark.parametrize(
    "box",
    [
        (None, 0, 10, 10),
        (math.nan, 0, 10, 10),
        (0, 0, math.inf, 10),
        (10, 10, 10, 20),
        (30, 10, 20, 20),
        (200, 200, 300, 300),
        (-50, -50, 0, 0),
    ],
)
def test_a_box_that_is_none_costs_the_face_alone(tmp_path: Path, box: Any) -> None:
    out = saved(tmp_path, face_at("a.jpg", 0, box), face_at("a.jpg", 1, (0, 0, 50, 50)))
    labelled = Labelled(out)
    assert [len(item.faces) for item in inputs(labelled)] == [1]
    assert left_out(labelled) == [(Reason.NO_BOX, "a.jpg")]


def test_a_box_is_held_to_its_picture(tmp_path: Path) -> None:
    out = saved(tmp_path, face_at("a.jpg", 0, (-5, 20, 250, 1e30), width=100, height=80))
    assert inputs(Labelled(out))[0].faces[0].box == (0, 20, 100, 80)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -1.0, 1e30])
def test_numbers_that_are_none_count_as_absent(tmp_path: Path, value: float) -> None:
    names = ("age", "age_p10", "age_p90", "female_probability", "detection_score")
    row = face_at("a.jpg", 0, (0, 0, 10, 10)) | dict.fromkeys(names, value)
    face = inputs(Labelled(saved(tmp_path, row)))[0].faces[0]
    assert [getattr(face, name) for name in names] == [None] * 5
    assert face.gender == "female"
    assert face.gender_probability is None


def test_flags_are_those_that_are_known(tmp_path: Path) -> None:
    row = face_at("a.jpg", 0, (0, 0, 10, 10), flags="uncertain;<script>;blurred;")
    assert inputs(Labelled(saved(tmp_path, row)))[0].faces[0].flags == ("blurred", "uncertain")


def test_a_face_that_is_told_twice_counts_once(tmp_path: Path) -> None:
    """As where two outputs of one folder were put together."""
    row = face_at("a.jpg", 0, (0, 0, 10, 10))
    labelled = Labelled(saved(tmp_path, row, row | {"age": 99.0}))
    assert [face.age for face in inputs(labelled)[0].faces] == [30]
    assert left_out(labelled) == [(Reason.TOLD_TWICE, "a.jpg")]


@pytest.mark.parametrize(
    "path",
    [
        "../../etc/passwd", "a/../b.jpg", "/etc/passwd", "a//b.jpg", "./a.jpg", "a/", "", None,
        "a\\x00b.jpg", "\\x2e\\x2e/a.jpg", "a/" * 3000 + "b.jpg",
    ],
)  # fmt: skip
def test_a_path_that_is_none_below_its_source_is_left_out(tmp_path: Path, path: Any) -> None:
    good = face_at("good.jpg", 0, (0, 0, 10, 10))
    labelled = Labelled(saved(tmp_path, good, good | {"path": path}))
    assert [item.path for item in inputs(labelled)] == ["good.jpg"]
    assert left_out(labelled) == [(Reason.BAD_PATH, path or "")]


@pytest.mark.parametrize("source", ["photos", "/a/../b", "/a/", "https://host/", "", None, "~"])
def test_a_source_that_is_no_absolute_path_is_left_out(tmp_path: Path, source: Any) -> None:
    good = face_at("good.jpg", 0, (0, 0, 10, 10))
    labelled = Labelled(saved(tmp_path, good, good | {"source": source}))
    assert left_out(labelled) == [(Reason.BAD_PATH, "good.jpg")]
    with pytest.raises(AnnotateError, match="no row of a file"):
        Labelled(saved(tmp_path, good | {"source": source}))


def test_paths_are_below_the_deepest_folder_that_holds_all_sources(tmp_path: Path) -> None:
    rows = [
        face_at("x/a.jpg", 0, (0, 0, 10, 10), source="/home/me/photos"),
        face_at("b.jpg", 0, (0, 0, 10, 10), source="/home/me/photos/2019"),
        face_at("c.jpg", 0, (0, 0, 10, 10), source="/home/me/scans\\xff"),
    ]
    labelled = Labelled(saved(tmp_path, *rows))
    assert labelled.folder == b"/home/me"
    assert [(item.relative, item.location) for item in inputs(labelled)] == [
        (b"photos/x/a.jpg", b"/home/me/photos/x/a.jpg"),
        (b"photos/2019/b.jpg", b"/home/me/photos/2019/b.jpg"),
        (b"scans\xff/c.jpg", b"/home/me/scans\xff/c.jpg"),
    ]


def test_a_capture_time_of_no_year_that_is_known_is_absent(tmp_path: Path) -> None:
    """Python has no datetime of the year 300,000; the file may."""
    table = table_of(face_at("a.jpg", 0, (0, 0, 10, 10)), face_at("b.jpg", 0, (0, 0, 10, 10)))
    place = table.schema.get_field_index("captured_at")
    times = pa.array([9_400_000_000_000_000, 1_562_243_696_789], pa.timestamp("ms"))
    table = table.set_column(place, table.schema.field(place), times)
    pq.write_table(table, tmp_path / "rows.parquet")
    found = inputs(Labelled(tmp_path / "rows.parquet"))
    assert [item.captured for item in found] == [None, "2019-07-04 12:34:56"]


@pytest.mark.parametrize(
    "attributes",
    [{}, {"model": 5, "model_sha256": ["x"]}, {"model": ""}, {"model": {"a": "b" * 10_000}}],
)
def test_a_model_that_is_no_text_is_unknown(tmp_path: Path, attributes: dict[str, Any]) -> None:
    table = table_of(guess("a.jpg", 30, 0.9))
    table = table.cast(with_metadata(table.schema, attributes))
    pq.write_table(table, tmp_path / "rows.parquet")
    labelled = Labelled(tmp_path / "rows.parquet")
    assert (labelled.model, labelled.model_sha256) == (None, None)


def test_text_that_is_not_utf8_is_an_error_of_one_line(tmp_path: Path) -> None:
    table = table_of(guess("a.jpg", 30, 0.9))
    broken = pa.Array.from_buffers(
        pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\2\0\0\0"), pa.py_buffer(b"\xff\xfe")]
    )
    place = table.schema.get_field_index("path")
    pq.write_table(table.set_column(place, "path", broken), tmp_path / "rows.parquet")
    with pytest.raises(AnnotateError) as caught:
        Labelled(tmp_path / "rows.parquet")
    assert "\n" not in str(caught.value)


def test_every_format_gives_the_same(tmp_path: Path) -> None:
    rows = [face_at("a.jpg", 0, (1.5, 2.25, 10, 10), age=30.5, flags="uncertain"), no_face("b")]
    whole = table_of(*rows).to_pylist()
    names = ("x.parquet", "x.csv", "x.jsonl", "data")
    found = [list(Labelled(written(tmp_path / name, whole))) for name in names]
    assert found[0][0].faces[0].age == 30.5  # type: ignore[union-attr]
    assert all(items == found[0] for items in found)


strange_rows = st.lists(
    st.fixed_dictionaries(
        {column.name: st.none() | VALUES[column.type] for column in COLUMNS}
        | {
            "source": st.sampled_from(["/in", "/in/a", "in", None]),
            "path": st.sampled_from(["a.jpg", "b/c.jpg", "../x", "\\xff.jpg", None]) | texts,
            "status": st.sampled_from(["ok", "ok", "ok", "no_face", "duplicate", "crashed", None]),
            "gender": st.sampled_from(["female", "male", None]),
            "sha256": st.sampled_from(["0" * 64, "x", None]),
            "width": st.sampled_from([100, 1, 0, -1, None]) | st.integers(-(2**31), 2**31 - 1),
            "height": st.sampled_from([100, 1, 0, -1, None]) | st.integers(-(2**31), 2**31 - 1),
            "x_max": st.sampled_from([50.0, math.nan, math.inf, None]),
        }
    ),
    max_size=8,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(rows=strange_rows)
def test_no_row_breaks_an_export_or_goes_uncounted(
    rows: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Rows of strangers, of the right types and nothing else: JSON stays JSON, counts add up."""
    folder = tmp_path_factory.mktemp("strange")
    known = face_at("known.jpg", 0, (0, 0, 9, 9), source="/in")
    out = str(saved(folder, known, *rows))
    identities = {(row["source"], row["path"], row["sha256"]) for row in [known, *rows]}
    for to in ("coco", "label-studio"):
        target = folder / f"{to}.json"
        told = run_export(ExportConfig(out, to, str(target)))
        assert told.tally.seen == len(identities)
        found = json.loads(target.read_bytes(), parse_constant=pytest.fail)
        pictures = found["images"] if to == "coco" else found
        assert len(pictures) == told.tally.inputs
    told = run_export(ExportConfig(out, "xmp", str(folder / "tree"), dry_run=True))
    assert told.tally.seen == len(identities)
    assert all(line.isprintable() for line in told.render().split("\n"))


def test_counts_add_up_and_faults_decide_the_exit_code() -> None:
    tally = Tally(inputs=3, faces=4)
    assert (tally.exit_code, tally.render(), tally.seen) == (0, "", 3)
    tally.leave_out(Reason.NO_FACE, "first\x1b[2J.jpg")
    tally.leave_out(Reason.NO_FACE, "second.jpg")
    tally.leave_out(Reason.NO_GENDER, "third.jpg")
    assert (tally.exit_code, tally.seen) == (0, 5)
    assert tally.render() == (
        "left out: 2 inputs without a face (first: first\\x1b[2J.jpg)\n"
        "left out: 1 face without a gender (first: third.jpg)"
    )
    tally.leave_out(Reason.GONE, "gone.jpg")
    assert tally.exit_code == 3


def test_no_two_reasons_are_one() -> None:
    """As members of an Enum with equal values would be."""
    assert len(list(Reason)) == len(Reason.__members__)
