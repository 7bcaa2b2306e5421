"""Comparison: what moved between two outputs, by hand; and that every row is accounted for."""

from __future__ import annotations

import json
import random
import re
import shlex
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import annotate
from annotate import AnnotateError, Comparison, Model, compare
from annotate.comparison_rows import COLUMNS
from annotate.labelling import write
from annotate.report import comparison_page
from annotate.report.comparison_plots import shift_counts, shift_limit
from annotate.report.comparison_text import signed
from annotate.run_config import RunConfig
from annotate.writers import write_parquet
from tests.compared_outputs import BOX, OTHER, Row, compared
from tests.compared_outputs import moved as moved
from tests.conftest import ROOT, Invoke, draw, one_line
from tests.hand_made import face_at, guess, no_face, table_of


def test_inputs_are_counted_by_what_became_of_them(moved: Comparison) -> None:
    inputs = moved.inputs
    assert (inputs.both, inputs.by_path, inputs.rewritten) == (5, 0, 1)
    assert (inputs.new, inputs.vanished) == (1, 1)
    assert (moved.a.inputs, moved.b.inputs) == (7, 7)
    assert moved.status_changes == {("decode_error", "ok"): 1, ("no_face", "ok"): 1}
    assert moved.statuses["ok", "ok"] == 3


def test_faces_are_counted_by_where_they_are(moved: Comparison) -> None:
    faces = moved.faces
    assert (faces.both, faces.new, faces.gone) == (3, 2, 1)
    assert (faces.in_new_inputs, faces.in_vanished_inputs) == (1, 1)
    assert (faces.in_rewritten_a, faces.in_rewritten_b) == (1, 1)


def test_shifts_and_flips_are_those_of_the_faces_in_both(moved: Comparison) -> None:
    # 30 to 33, 20 to 14 and 60 to 60.25; ann and bob changed gender.
    age = moved.age
    assert age.n == 3
    assert age.mean == pytest.approx((3 - 6 + 0.25) / 3)
    assert age.mean_size == pytest.approx((3 + 6 + 0.25) / 3)
    assert age.quantiles[0.5] == pytest.approx(0.25)
    assert age.beyond == {1: 2, 5: 1, 10: 0, 20: 0}
    assert (moved.gender.n, moved.gender.to_female, moved.gender.to_male) == (3, 1, 1)
    assert [(part.band, part.age.n, part.gender.flips) for part in moved.by_band] == [
        ("18-29", 1, 1),
        ("30-39", 1, 0),
        ("60-69", 1, 1),
    ]


@pytest.mark.parametrize(
    ("value", "digits", "said"),
    [(0.0, 2, "0.00"), (-0.0, 1, "0.0"), (-0.004, 2, "0.00"), (0.04, 1, "0.0"),
     (0.005001, 2, "+0.01"), (-0.06, 1, "-0.1"), (31.0, 1, "+31.0")],
)  # fmt: skip
def test_nothing_has_no_sign(value: float, digits: int, said: str) -> None:
    assert signed(value, digits) == said
    assert comparison_page.signed(value, digits) == said.replace("-", "\N{MINUS SIGN}")


def test_shifts_are_counted_in_whole_years() -> None:
    # By hand: -2.6 is beyond two years, as is 9; 0.4 and -0.4 are none, 1.6 is two.
    shift = np.array([-2.6, -1, -1.2, 0, 0.4, -0.4, 1, 1.6, 2, 9])
    assert shift_counts(shift, 2).tolist() == [1, 2, 3, 1, 3]
    assert shift_limit(np.zeros(5)) == 2
    assert shift_limit(np.full(5, 6.2)) == 7
    assert shift_limit(np.full(5, 1e9)) == 40


def test_whole_years_make_no_comb() -> None:
    # As many faces moved by each of -12 to 12 years: no bar may be empty or twice as high.
    shift = np.repeat(np.arange(-12.0, 13.0), 4)
    assert set(shift_counts(shift, shift_limit(shift)).tolist()) == {4}


def test_what_moved_most_comes_first(moved: Comparison) -> None:
    assert [row["age_shift"] for row in moved.largest_shifts()] == [-6.0, 3.0]  # not a quarter year
    # The less certain of both sides decides: 0.2 and 0.9 against 0.4 and 0.6.
    assert [row["path_b"] for row in moved.surest_flips()] == ["new/ann.jpg", "bob.jpg"]


def test_the_table_has_each_face_once_with_what_both_say(moved: Comparison) -> None:
    table = moved.table
    assert list(table.columns) == [column.name for column in COLUMNS]
    told = [
        (row.input, row.face, row.path_a, row.path_b)
        for row in table.astype(object).where(table.notna(), None).itertuples()
    ]
    assert told == [
        ("both", "both", "party.jpg", "party.jpg"),
        ("both", "gone", "party.jpg", "party.jpg"),
        ("both", "both", "ann.jpg", "new/ann.jpg"),
        ("both", "both", "bob.jpg", "bob.jpg"),
        ("rewritten", "new", "edited.jpg", "edited.jpg"),
        ("rewritten", "gone", "edited.jpg", "edited.jpg"),
        ("new", "new", None, "fresh.jpg"),
        ("both", "new", "wall.jpg", "wall.jpg"),
        ("both", "new", "broken.jpg", "broken.jpg"),
        ("vanished", "gone", "gone.jpg", None),
    ]
    ann = table.iloc[2]
    assert (ann.age_a, ann.age_b, ann.age_shift, ann.gender_flip) == (20, 14, -6, "to_male")
    assert ann.iou == 1.0
    gone = table.iloc[1]
    assert (gone.x_min, gone.face_index_a, gone.status_b) == (60, 1, "ok")
    assert pd.isna(gone.age_b)
    assert pd.isna(gone.gender_flip)
    assert table.iloc[5].sha256 == guess("edited.jpg", 0, 0)["sha256"]  # A's, of A's face
    assert table.iloc[4].sha256 == "0" * 64


def test_inputs_without_a_face_have_a_row(tmp_path: Path) -> None:
    found = compared(tmp_path, [no_face("x"), no_face("y")], [no_face("x"), no_face("z")])
    rows = found.rows.select(["input", "face", "path_a", "path_b"]).to_pylist()
    assert [tuple(row.values()) for row in rows] == [
        ("both", None, "x", "x"),
        ("new", None, None, "z"),
        ("vanished", None, "y", None),
    ]
    assert found.age.n == found.gender.n == 0
    assert found.to_dict()["age"]["mean"] is None
    assert "inputs in both" in found.render()


@pytest.mark.parametrize("seed", range(6))
def test_every_row_of_both_outputs_is_accounted_for(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)

    def output() -> list[Row]:
        rows: list[Row] = []
        for path in chance.sample([f"{i}.jpg" for i in range(30)], 20):
            content = chance.choice(["x", "y", path, None])
            faces = chance.randrange(4)
            boxes = [
                (30.0 * i, 0.0, 30.0 * i + chance.choice([25, 10]), 20.0) for i in range(faces)
            ]
            rows += [face_at(path, i, box, sha256=content) for i, box in enumerate(boxes)]
            rows += [no_face(path, sha256=content)] * (not faces)
        return rows

    a, b = output(), output()
    found = compared(tmp_path, a, b)
    inputs, faces = found.inputs, found.faces
    assert inputs.both + inputs.rewritten + inputs.vanished == found.a.inputs == 20
    assert inputs.both + inputs.rewritten + inputs.new == found.b.inputs == 20
    in_both_a = faces.both + faces.gone + faces.in_vanished_inputs + faces.in_rewritten_a
    in_both_b = faces.both + faces.new + faces.in_new_inputs + faces.in_rewritten_b
    assert (in_both_a, in_both_b) == (found.a.faces, found.b.faces)
    for side, rows in (("a", a), ("b", b)):
        told = Counter(
            (row[f"path_{side}"], row[f"face_index_{side}"])
            for row in found.rows.to_pylist()
            if row[f"face_index_{side}"] is not None
        )
        given = Counter((r["path"], r["face_index"]) for r in rows if r["face_index"] is not None)
        assert told == given
        paths = {row[f"path_{side}"] for row in found.rows.to_pylist()} - {None}
        assert paths == {row["path"] for row in rows}
    assert sum(found.statuses.values()) == inputs.both
    assert sum(found.rewritten_statuses.values()) == inputs.rewritten
    assert len(found.inputs_of("new")) == inputs.new
    assert len(found.inputs_of("vanished")) == inputs.vanished
    assert len(found.inputs_of("rewritten")) == inputs.rewritten
    assert len(found.inputs_of("both")) == inputs.both
    assert len(found.changed_statuses()) == sum(found.status_changes.values())
    assert (len(found.faces_of("new")), len(found.faces_of("gone"))) == (faces.new, faces.gone)


def test_an_output_compared_with_itself_has_not_moved(tmp_path: Path) -> None:
    rows = [face_at("p", i, box, age=30 + i) for i, box in enumerate((BOX, OTHER))]
    found = compared(tmp_path, rows, rows, report_dir=tmp_path / "report")
    assert (found.age.mean, found.age.mean_size, found.gender.flips) == (0.0, 0.0, 0)
    assert found.largest_shifts() == found.surest_flips() == []
    assert not re.search(r"[+-]0\.0", found.render())
    assert (found.faces.both, found.faces.new, found.faces.gone) == (2, 0, 0)


@pytest.mark.parametrize("target", ["b.csv", "b.jsonl", "folder"])
def test_outputs_of_every_format_say_the_same(
    tmp_path: Path, photos: Path, fake_model: Model, target: str
) -> None:
    config = RunConfig((str(photos),), faces="crop", workers=1)
    for name in ("a.parquet", target):
        write(config, str(tmp_path / name), model=fake_model)
    found = compare(tmp_path / "a.parquet", tmp_path / target)
    assert (found.inputs.both, found.inputs.new, found.inputs.vanished) == (23, 0, 0)
    assert (found.age.n, found.age.mean_size, found.gender.flips) == (19, 0.0, 0)
    assert found.status_changes == {}
    assert found.is_made_known is (target == "folder")
    if target != "folder":
        assert "not known: CSV and JSON lines do not say" in found.render()
    else:
        assert "Both were made in the same way." in found.render()


def made_with(rows: pa.Table, text: str) -> pa.Table:
    return rows.replace_schema_metadata({"PANDAS_ATTRS": text})


def test_what_the_outputs_were_made_with_is_told(tmp_path: Path) -> None:
    rows = table_of(guess("a.jpg", 30, 0.9))
    old = {"model": "nano", "model_sha256": "1" * 64, "engine": "onnx", "detect_size": 640}
    new = old | {"model": "base", "model_sha256": "2" * 64, "detect_size": "auto"}
    for name, made in (("a", old), ("b", new)):
        write_parquet(made_with(rows, json.dumps(made)), tmp_path / f"{name}.parquet")
    found = compare(tmp_path / "a.parquet", tmp_path / "b.parquet")
    assert found.made_differently == {
        "model": ("nano", "base"),
        "model_sha256": ("1" * 64, "2" * 64),
        "detect_size": (640, "auto"),
    }
    assert "B was made with model base instead of nano, detect_size auto instead of 640." in (
        found.render()
    )


@pytest.mark.parametrize(
    "said",
    [
        '{"model": ["x"], "engine": {}, "min_score": NaN, "max_faces": 1e999}',
        '{"model": "\\u001b[31m\\n", "model_sha256": 7, "detector": "\\ud800"}',
        "[" * 100_000,
        "null",
    ],
)
def test_strangers_metadata_spoils_nothing(tmp_path: Path, said: str) -> None:
    rows = table_of(no_face("a.jpg"))
    for name in ("a", "b"):
        write_parquet(made_with(rows, said), tmp_path / f"{name}.parquet")
    found = compare(tmp_path / "a.parquet", tmp_path / "b.parquet", report_dir=tmp_path / "r")
    assert all(char == "\n" or char.isprintable() for char in found.render())
    json.loads((tmp_path / "r" / "comparison.json").read_text("utf-8"))


def test_strangers_numbers_and_words_are_no_figures(tmp_path: Path) -> None:
    odd = [
        guess("inf.jpg", float("inf"), 0.9),
        guess("nan.jpg", float("nan"), float("nan")),
        guess("huge.jpg", 3e38, 0.9),
        guess("robot.jpg", 30, 7.0, gender=None),
        guess("below.jpg", -5, -1.0),
        guess("unsure.jpg", 30, float("nan"), gender="female"),
    ]
    even = [guess(row["path"], 30, 0.1) for row in odd]
    found = compared(tmp_path, odd, even, report_dir=tmp_path / "report")
    assert found.age.n == 4  # neither infinite nor NaN
    assert found.gender.n == 5
    assert "female - -> male 0.10  unsure.jpg" in found.render()
    assert json.loads((tmp_path / "report" / "comparison.json").read_text("utf-8"))
    assert (tmp_path / "report" / "age-shift.png").read_bytes().startswith(b"\x89PNG")


def broken(column: str, values: pa.Array) -> pa.Table:
    table = table_of(guess("a.jpg", 30, 0.5))
    return table.set_column(table.schema.get_field_index(column), column, values)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (broken("age", pa.array(["\x1b[31mold"])), "age"),
        (broken("status", pa.array(["fine"])), "fine"),
        (broken("path", pa.array([[1]])), "path"),
        (broken("gender", pa.array(["robot"])), "robot"),
        (broken("face_index", pa.array([10**6])), "face_index"),
        (
            broken("path", pa.StringArray.from_buffers(1, *pa.array([b"\xff"]).buffers()[1:])),
            "UTF8",
        ),
        (table_of().slice(0, 0), "no rows"),
        (pa.table({"x": [1]}), "not an output of annotate"),
    ],
)
def test_what_is_no_output_is_one_line(
    tmp_path: Path, invoke: Invoke, table: pa.Table, said: str
) -> None:
    pq.write_table(table, tmp_path / "odd.parquet")
    write_parquet(table_of(guess("a.jpg", 1, 0.5)), tmp_path / "good.parquet")
    names = [str(tmp_path / "odd.parquet"), str(tmp_path / "good.parquet")]
    for arguments in (names, names[::-1]):
        code, out, err = invoke("compare", *arguments)
        assert (code, out) == (1, "")
        assert said in one_line(err)
        assert "odd.parquet" in err


def test_the_command_prints_the_comparison(tmp_path: Path, invoke: Invoke) -> None:
    write_parquet(table_of(guess("a.jpg", 30, 0.9)), tmp_path / "a.parquet")
    write_parquet(table_of(guess("a.jpg", 61, 0.2)), tmp_path / "b.parquet")
    names = [str(tmp_path / f"{name}.parquet") for name in "ab"]
    code, out, err = invoke("compare", *names, "--report", str(tmp_path / "report"))
    assert code == 0
    assert "gender of 1 face: 1 changed (100.0 %), 0 to female, 1 to male" in out
    assert "   +31.0  30.0 -> 61.0  a.jpg" in out.splitlines()
    assert err == (
        f"wrote comparison.html, comparison.json and comparison.parquet to {tmp_path / 'report'}\n"
    )
    assert invoke("compare", *names)[2] == ""
    code, out, err = invoke("compare", names[0], str(tmp_path / "no.parquet"))
    assert (code, out) == (1, "")
    assert "no output at" in one_line(err)
    assert invoke("compare", names[0])[0] == 2


def test_a_report_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    write_parquet(table_of(guess("a.jpg", 30, 0.9)), tmp_path / "a.parquet")
    (tmp_path / "file").write_text("x")
    with pytest.raises(AnnotateError, match="cannot make the report folder"):
        compare(tmp_path / "a.parquet", tmp_path / "a.parquet", report_dir=tmp_path / "file" / "r")


def test_the_files_of_a_report_are_what_python_gives(tmp_path: Path, moved: Comparison) -> None:
    folder = tmp_path / "report"
    compare(moved.a.path, moved.b.path, report_dir=folder)
    assert json.loads((folder / "comparison.json").read_text("utf-8")) == moved.to_dict()
    read = pd.read_parquet(folder / "comparison.parquet")
    pd.testing.assert_frame_equal(read, moved.table)
    assert str(read.dtypes["face_index_a"]) == "Int16"
    assert {path.name for path in folder.iterdir()} == {
        "comparison.html",
        "comparison.json",
        "comparison.parquet",
        "age-shift.png",
        "age-a-b.png",
        "age-shift-by-age.png",
        "female-probability-a-b.png",
    }


def test_a_later_report_leaves_no_plot_of_an_earlier_one(tmp_path: Path) -> None:
    folder = tmp_path / "report"
    compared(tmp_path, [guess("a", 30, 0.9)], [guess("a", 31, 0.9)], report_dir=folder)
    assert (folder / "age-shift.png").exists()
    compared(tmp_path, [no_face("a")], [no_face("a")], report_dir=folder)
    assert not list(folder.glob("*.png"))


def test_names_steer_no_terminal(tmp_path: Path, fake_model: Model) -> None:
    hostile = "\x1b[31m\n\u202e.png"
    draw(tmp_path / "in" / hostile, (200, 0, 0))
    for name in ("a", "b"):
        config = RunConfig((str(tmp_path / "in"),), faces="crop", workers=1)
        write(config, str(tmp_path / f"{name}.parquet"), model=fake_model)
    rows = pq.read_table(tmp_path / "b.parquet")
    place = rows.schema.get_field_index("age")
    older = pa.array([rows.column("age")[0].as_py() + 50], pa.float32())
    write_parquet(rows.set_column(place, rows.schema.field(place), older), tmp_path / "b.parquet")
    found = compare(tmp_path / "a.parquet", tmp_path / "b.parquet")
    text = found.render()
    assert "+50.0" in text
    assert "moved by more than 1 year: 1 (100.0 %), 5 years: 1 (100.0 %)" in text
    assert all(char == "\n" or char.isprintable() for char in text)


def test_the_public_names_are_there() -> None:
    assert {"compare", "Comparison"} <= set(annotate.__all__)


def test_the_columns_are_documented() -> None:
    text = (ROOT / "docs" / "compare.md").read_text("utf-8")
    for column in COLUMNS:
        assert f"`{column.name}`" in text, column.name


def test_what_the_document_shows_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, invoke: Invoke
) -> None:
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(("july", "august", "base", "nano")):
        rows = [guess("a.jpg", 30 + number, 0.3 + number / 10), guess("b.jpg", 5, 0.9)]
        write_parquet(table_of(*rows), tmp_path / f"{name}.parquet")
    text = (ROOT / "docs" / "compare.md").read_text("utf-8")
    shown = [line for line in text.splitlines() if line.startswith("annotate compare")]
    assert len(shown) >= 2
    for line in shown:
        code, out, _ = invoke(*shlex.split(line)[1:])
        assert (code, out[:1]) == (0, "A"), line
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(compile(block, "compare.md", "exec"), {})
