"""Exploration: what is in a labelled folder, by hand; and that its table is one of labels."""

from __future__ import annotations

import csv
import json
import os
import re
import shlex
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from PIL import Image

import annotate
from annotate import AnnotateError, Exploration, Model, evaluate, explore
from annotate.exploration import LABEL_FIELDS
from annotate.labels import read_label_table
from annotate.report.plots import count_ticks, figure, look
from tests.conftest import ROOT, Invoke, draw, one_line

PICTURES: dict[str, tuple[int, int, int]] = {
    "1_0_0_1.jpg.chip.jpg": (10, 0, 0),
    "26_1_0_2.jpg.chip.jpg": (20, 0, 0),
    "26_1_2_3.jpg.chip.jpg": (30, 0, 0),
    "26_0_2_4.jpg.chip.jpg": (40, 0, 0),
    "70_1_4_5.jpg.chip.jpg": (50, 0, 0),
    "31_0_4_6 .jpg.chip.jpg": (60, 0, 0),  # odd, but its labels can be read
    "39_1_7.jpg.chip.jpg": (70, 0, 0),  # lacks its race
}
"""UTKFace-style names and colours, all different."""


def put(path: Path, colour: tuple[int, int, int], size: tuple[int, int] = (32, 32)) -> None:
    """Save a picture of one colour, whatever its name says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path, format="PNG")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The pictures above; one of them again with other labels; and what is wrong or no image."""
    root = tmp_path / "labelled"
    for name, colour in PICTURES.items():
        put(root / name, colour)
    put(root / "60_0_2_8.jpg.chip.jpg", PICTURES["26_1_2_3.jpg.chip.jpg"])
    put(root / "50_0_1_9.jpg.chip.jpg", (90, 0, 0), (40, 30))
    (root / "44_1_1_10.jpg.chip.jpg").write_bytes(b"no picture")
    (root / "45_1_1_11.nef").write_bytes(b"raw")
    (root / "notes.txt").write_text("x")
    return root


@pytest.fixture
def explored(folder: Path) -> Exploration:
    return explore(folder, workers=1)


def test_images_and_faults_are_counted(explored: Exploration) -> None:
    assert explored.rows.num_rows == 11
    assert explored.by_status == {"ok": 9, "decode_error": 1, "unsupported": 1}
    assert explored.skipped == {"not an image": 1}
    assert explored.fault_counts == {"label_conflict": 1, "malformed_name": 2, "odd_name": 1}
    same = explored.duplicates
    assert (same.groups, same.files) == (1, 2)
    assert (same.age_conflicts, same.gender_conflicts, same.race_conflicts) == (1, 1, 0)
    assert explored.sizes == [(32, 32, 8), (40, 30, 1)]
    assert explored.exit_code == 3


def test_labels_are_counted_by_hand(explored: Exploration) -> None:
    counts = explored.counts
    # 39_1_7 and the RAW file have no labels that can be read; the broken picture has.
    assert counts.labelled == {"age": 9, "gender": 9, "race": 9}
    assert counts.genders == {"female": 4, "male": 5}
    assert counts.races == {"Asian": 3, "Black": 2, "Others": 2, "White": 2}
    age = counts.age
    assert age is not None
    assert (age.n, age.youngest, age.oldest, age.median) == (9, 1, 70, 31)
    assert age.mean == pytest.approx((1 + 26 * 3 + 70 + 31 + 60 + 50 + 44) / 9)


def cells(crossing: Any) -> dict[tuple[str, str], int]:
    return {(cell["row"], cell["column"]): cell["n"] for cell in crossing.to_dict()}


def test_labels_are_crossed_by_hand(explored: Exploration) -> None:
    counts = explored.counts
    assert cells(counts.race_by_gender) == {
        ("Asian", "female"): 1,
        ("Asian", "male"): 2,
        ("Black", "female"): 1,
        ("Black", "male"): 1,
        ("Others", "female"): 1,
        ("Others", "male"): 1,
        ("White", "female"): 1,
        ("White", "male"): 1,
    }
    assert cells(counts.by_year)["26", "female"] == 2
    assert cells(counts.band_by_gender)["18-29", "female"] == 2
    assert cells(counts.band_by_race) == {
        ("0-2", "White"): 1,
        ("18-29", "Asian"): 2,
        ("18-29", "White"): 1,
        ("30-39", "Others"): 1,
        ("40-49", "Black"): 1,
        ("50-59", "Black"): 1,
        ("60-69", "Asian"): 1,
        ("70-79", "Others"): 1,
    }


def test_age_bands_without_an_image_keep_their_place(tmp_path: Path) -> None:
    for number, age in enumerate((12, 26, 27, 85)):
        put(tmp_path / "in" / f"{age}_{number % 2}_0_{number}.jpg", (number, 0, 0))
    put(tmp_path / "in" / "30_1.jpg", (9, 0, 0))  # whose age is not read
    found = explore(tmp_path / "in", workers=1)
    bands = ("10-17", "18-29", "30-39", "40-49", "50-59", "60-69", "70-79", "80+")
    for crossing in (found.counts.band_by_gender, found.counts.band_by_race):
        assert crossing.rows == bands
        assert crossing.n.sum(axis=1).tolist() == [1, 2, 0, 0, 0, 0, 0, 1]
    assert found.counts.race_by_gender.rows == ("White",)
    lines = [line.split() for line in found.render().splitlines()]
    assert ["40-49", "0", "0", "0", "0.0", "%"] in lines
    assert not any(line[:1] in (["3-9"], ["0-2"]) for line in lines)


def test_one_group_is_no_groups(tmp_path: Path) -> None:
    for name in ("26_1_0_1.jpg", "26_1_0_2.jpg"):
        put(tmp_path / "in" / name, (1, 2, 3))
    found = explore(tmp_path / "in", workers=1, report_dir=tmp_path / "report")
    assert "1 group of byte-identical files (2 files); they" in found.render()
    page = (tmp_path / "report" / "exploration.html").read_text("utf-8")
    assert "files, in 1 group<" in page
    assert "1 group of byte-identical files (2 files). Their" in page
    assert "1 groups" not in page


@pytest.mark.parametrize("most", [1, 3, 16, 121, 1500, 80_000])
def test_counts_are_told_in_steps_of_one_two_or_five(most: int) -> None:
    with look():
        made, axes = figure()
        axes.bar([0], [most])
        count_ticks(axes.yaxis)
        made.canvas.draw()
        ticks = axes.get_yticks()
        said = [label.get_text() for label in axes.get_yticklabels()]
    step = ticks[1] - ticks[0]
    assert step == int(step)
    assert int(str(int(step)).rstrip("0")) in (1, 2, 5)
    assert f"{int(ticks[1]):,}" in said


def test_the_rows_say_what_is_known_of_each_image(explored: Exploration) -> None:
    images = explored.images.set_index("path")
    assert list(images.columns) == [
        *("source", "size_bytes", "sha256", "width", "height", "status", "error"),
        *("age", "gender", "race"),
    ]
    wide = images.loc["50_0_1_9.jpg.chip.jpg"]
    assert (wide.width, wide.height, wide.age, wide.gender, wide.race) == (
        40,
        30,
        50,
        "male",
        "Black",
    )
    broken = images.loc["44_1_1_10.jpg.chip.jpg"]
    assert (broken.status, broken.age) == ("decode_error", 44)
    assert pd.isna(broken.width)
    assert pd.isna(images.loc["39_1_7.jpg.chip.jpg"].age)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_the_table_is_one_of_labels(folder: Path, tmp_path: Path, suffix: str) -> None:
    table = tmp_path / f"labels{suffix}"
    found = explore(folder, table=table, workers=1)
    read = pd.read_csv(table) if suffix == ".csv" else pd.read_parquet(table)
    assert list(read.columns) == ["path", "age", "gender", "race"]
    assert len(read) == 9
    assert set(read.gender) == {"female", "male"}
    again = read_label_table(table, found.rows.column("path").to_pylist())
    from_names = dict(again.labels)
    for row in found.rows.to_pylist():
        if row["age"] is not None:
            label = from_names.pop(row["path"])
            assert (label.age, label.gender, label.race) == (row["age"], row["gender"], row["race"])
    assert from_names == {}


def test_the_table_gives_the_figures_of_the_names(
    folder: Path, tmp_path: Path, fake_model: Model
) -> None:
    table = tmp_path / "labels.csv"
    explore(folder, table=table, workers=1)
    by_name = evaluate(folder, model=fake_model, workers=1, bootstrap=0)
    by_table = evaluate(folder, labels=table, model=fake_model, workers=1, bootstrap=0)
    assert by_table.to_dict()["age"] == by_name.to_dict()["age"]
    assert by_table.to_dict()["slices"] == by_name.to_dict()["slices"]


def test_labels_come_from_a_table_too(tmp_path: Path) -> None:
    for name in ("a.png", "b.png", "c.png"):
        draw(tmp_path / "in" / name, (len(name), 0, ord(name[0])))
    with (tmp_path / "t.csv").open("w", newline="") as file:
        csv.writer(file).writerows(
            [
                ("path", "age", "race"),
                ("a.png", "2.5", "Klingon"),
                ("b.png", "old", ""),
                ("x", 1, ""),
            ]
        )
    found = explore(tmp_path / "in", labels=tmp_path / "t.csv", workers=1)
    assert found.counts.labelled == {"age": 1, "gender": 0, "race": 1}
    assert found.fault_counts == {"invalid_value": 1, "missing_file": 1, "unlabelled": 1}
    assert cells(found.counts.by_year) == {("2", None): 1}
    assert cells(found.counts.band_by_race) == {("0-2", "Klingon"): 1}
    assert "Klingon" in found.render()
    # Of a limited look, what the table says of later images is no fault.
    limited = explore(tmp_path / "in", labels=tmp_path / "t.csv", limit=1, workers=1)
    assert limited.fault_counts == {"invalid_value": 1, "missing_file": 1}


def test_a_folder_without_labels_is_looked_at_all_the_same(tmp_path: Path) -> None:
    draw(tmp_path / "in" / "holiday.png", (1, 2, 3))
    found = explore(tmp_path / "in", workers=1, report_dir=tmp_path / "report")
    assert found.counts.labelled == {"age": 0, "gender": 0, "race": 0}
    assert "none is named [age]_[gender]_[race]_[timestamp].jpg; --labels TABLE" in found.render()
    assert len(found.samples()) == 1
    assert {path.name for path in (tmp_path / "report").iterdir()} == {
        "exploration.html",
        "exploration.json",
        "samples.png",
    }
    assert found.exit_code == 3
    assert found.labels.empty


def test_samples_are_spread_over_the_ages_and_chosen_by_the_seed(tmp_path: Path) -> None:
    names = [f"{age}_{i % 2}_0_{age}{i}.jpg" for age in range(1, 91) for i in range(3)]
    for number, name in enumerate(names):
        put(tmp_path / name, (number % 256, number // 256, 0), (4, 4))
    found = explore(tmp_path, workers=2)
    ages = [row["age"] for row in found.samples(10)]
    assert ages == sorted(ages)
    # Ten of 1 to 90 years: a tenth of the way, or nearly so, between each and the next.
    assert ages[0] == 1
    assert ages[-1] == 90
    steps = [after - before for before, after in pairwise(ages)]
    assert all(9 <= step <= 11 for step in steps)
    again, other = found.samples(10), found.samples(10, seed=1)
    assert again == found.samples(10)
    assert [row["path"] for row in again] != [row["path"] for row in other]
    everything = [row["path"] for row in found.samples(1000)]
    assert sorted(everything) == sorted(names)


def test_images_that_do_not_decode_are_no_samples(explored: Exploration) -> None:
    assert "44_1_1_10.jpg.chip.jpg" not in [row["path"] for row in explored.samples()]
    assert len(explored.samples()) == 8


def test_the_files_of_a_report_are_what_python_gives(folder: Path, tmp_path: Path) -> None:
    found = explore(folder, report_dir=tmp_path / "report", workers=1)
    read = json.loads((tmp_path / "report" / "exploration.json").read_text("utf-8"))
    assert read == found.to_dict()
    assert read["inputs"]["by_status"] == {"decode_error": 1, "ok": 9, "unsupported": 1}
    assert [sorted(row["path"] for row in group) for group in read["identical_files"]] == [
        ["26_1_2_3.jpg.chip.jpg", "60_0_2_8.jpg.chip.jpg"]
    ]
    assert {path.name for path in (tmp_path / "report").iterdir()} == {
        *("exploration.html", "exploration.json"),
        *("ages.png", "races.png", "ages-and-races.png", "sizes.png", "samples.png"),
    }


def test_the_command_prints_what_is_in_the_folder(
    folder: Path, tmp_path: Path, invoke: Invoke
) -> None:
    table, report = tmp_path / "l.parquet", tmp_path / "report"
    options = ["--table", str(table), "--report", str(report), "--workers", "1"]
    code, out, err = invoke("explore", str(folder), *options)
    assert code == 3
    assert "images  11, 2 not decoded (decode_error 1, unsupported 1)" in out
    assert "ages of 9 images: 1 to 70 years, mean 37.1, median 31" in out
    assert "malformed_name 2 (no label)" in out
    assert err.splitlines()[-2:] == [
        f"wrote exploration.html, its plots and exploration.json to {report}",
        f"wrote {table}",
    ]
    code, out, err = invoke("explore", str(folder), "--table", str(table))
    assert (code, out) == (1, "")
    assert "exists: pass --overwrite" in one_line(err)
    code, _, err = invoke("explore", str(folder), "--overwrite", "-q", "--table", str(table))
    assert (code, err) == (3, "")


def test_a_sound_folder_ends_with_zero(tmp_path: Path, invoke: Invoke) -> None:
    put(tmp_path / "in" / "26_1_0_2.jpg", (1, 2, 3))
    assert invoke("explore", str(tmp_path / "in"), "-q")[0] == 0


def test_what_cannot_be_done_is_one_line(folder: Path, tmp_path: Path, invoke: Invoke) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "only").mkdir()
    (tmp_path / "only" / "a.txt").write_text("x")
    cases = [
        ([str(tmp_path / "no")], "no folder"),
        ([str(tmp_path / "empty")], "no images in"),
        ([str(tmp_path / "only")], "passed over: not an image 1"),
        ([str(folder), "--table", str(tmp_path / "x.xlsx")], "expected a .parquet or .csv file"),
        (
            [str(folder), "--table", str(tmp_path / "no" / "x.csv")],
            "it is a folder, or lies in none",
        ),
        ([str(folder), "--labels", str(tmp_path / "no.csv")], "no label table"),
        ([str(folder), "--report", str(folder / "report")], "lies in"),
        ([str(folder), "--report", str(folder / "notes.txt" / "r")], "lies in"),
    ]
    for arguments, said in cases:
        code, out, err = invoke("explore", *arguments)
        assert (code, out) == (1, ""), arguments
        assert said in one_line(err), arguments


def test_many_sizes_are_told_in_short(tmp_path: Path) -> None:
    for side in range(1, 13):
        put(tmp_path / "in" / f"{side}.png", (side, 0, 0), (10 * side, 7 * side))
    put(tmp_path / "in" / "twice.png", (0, 9, 9), (30, 21))
    found = explore(tmp_path / "in", workers=1, report_dir=tmp_path / "report")
    assert "sizes   12, sides of 7 to 120 px; the commonest: 30 x 21 px (2)" in found.render()
    assert (tmp_path / "report" / "sizes.png").exists()


def test_a_csv_does_not_hold_what_spreadsheets_run(tmp_path: Path) -> None:
    draw(tmp_path / "in" / "=cmd.png", (1, 2, 3))
    (tmp_path / "t.csv").write_text("path,age\n=cmd.png,30\n")
    with pytest.raises(AnnotateError, match=r"'=cmd.png' may not stand in a CSV.*l.parquet"):
        explore(tmp_path / "in", labels=tmp_path / "t.csv", table=tmp_path / "l.csv")
    explore(tmp_path / "in", labels=tmp_path / "t.csv", table=tmp_path / "l.parquet", workers=1)
    assert read_label_table(tmp_path / "l.parquet", ["=cmd.png"]).labels["=cmd.png"].age == 30


def test_names_and_races_steer_no_terminal(tmp_path: Path) -> None:
    draw(tmp_path / "in" / "\x1b[31m\n\u202e.png", (1, 2, 3))
    (tmp_path / "t.csv").write_bytes(b'path,race\n"\x1b[31m\n\xe2\x80\xae.png",<b>x\n')
    for labels in (None, tmp_path / "t.csv"):
        text = explore(tmp_path / "in", labels=labels, workers=1).render()
        assert all(char == "\n" or char.isprintable() for char in text)
    assert "<b>x" in text


def test_many_races_are_told_by_the_most_frequent(tmp_path: Path) -> None:
    lines = ["path,race\n"]
    for number in range(60):
        name = f"{number}.png"
        put(tmp_path / "in" / name, (number, 0, 0), (2, 2))
        lines.append(f"{name},{'many' if number < 20 else f'race {number}'}\n")
    (tmp_path / "t.csv").write_text("".join(lines))
    races = explore(tmp_path / "in", labels=tmp_path / "t.csv", workers=1).counts.races
    assert races["many"] == 20
    assert races["…"] == 40 - 19
    assert sum(races.values()) == 60


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX file names")
def test_every_kind_of_file_has_a_row_and_none_ends_the_look(tmp_path: Path) -> None:
    from tests.kinds import make_kinds

    kinds = make_kinds(tmp_path / "in")
    found = explore(tmp_path / "in", workers=2)
    assert {row["path"]: row["status"] for row in found.rows.to_pylist()} == kinds


def test_no_model_is_loaded(tmp_path: Path) -> None:
    put(tmp_path / "in" / "26_1_0_2.jpg", (1, 2, 3))
    script = (
        "import sys; from annotate import explore;"
        f" explore({str(tmp_path / 'in')!r}, report_dir={str(tmp_path / 'r')!r}, workers=1);"
        " print([m for m in ('onnxruntime', 'tensorflow', 'keras', 'torch') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "[]\n", "")


def test_the_public_names_are_there() -> None:
    assert {"explore", "Exploration"} <= set(annotate.__all__)


def test_real_faces(real_data: Path) -> None:
    found = explore(real_data / "utkface", limit=300, workers=1)
    assert found.rows.num_rows == 300
    assert found.sizes == [(200, 200, 300)]
    assert found.by_status == {"ok": 300}
    assert sum(found.counts.genders.values()) == 300


def test_what_the_document_shows_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, invoke: Invoke
) -> None:
    monkeypatch.chdir(tmp_path)
    put(tmp_path / "labelled" / "26_1_0_2.jpg", (1, 2, 3))
    put(tmp_path / "faces" / "a.jpg", (1, 2, 3))
    (tmp_path / "labels.csv").write_text("path,age\na.jpg,30\n")
    text = (ROOT / "docs" / "explore.md").read_text("utf-8")
    shown = [line for line in text.splitlines() if line.startswith("annotate explore")]
    assert len(shown) >= 3
    for line in shown:
        code, out, _ = invoke(*shlex.split(line)[1:])
        assert (code, out[:6]) == (0, "folder"), line
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(compile(block, "explore.md", "exec"), {})
    for field in LABEL_FIELDS:
        assert f"| `{field.name}` |" in text
