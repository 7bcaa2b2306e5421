"""Targets: what an output may replace, and what comes to its place while it is made."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from annotate import AnnotateError, Model
from annotate.labelling import Job, OutputOptions
from annotate.names import absolute
from tests.committed_runs import break_off, config, names, rows, write
from tests.conftest import draw
from tests.whole_runs import POSIX, label

NOT_WHAT_STOOD = "is not what stood there when its run began: move it away"


def test_a_file_without_a_suffix_is_refused_before_any_work(
    photos: Path, out: Path, fake_model: Model
) -> None:
    (out / "notes").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(AnnotateError, match=r"it is a file, and an output without \.parquet"):
            write(config(photos), out / "notes", fake_model, overwrite=overwrite)
    assert (out / "notes").read_text() == "mine"
    assert names(out) == ["notes"]


def test_a_disk_that_is_mounted_is_refused_before_any_work(
    photos: Path, out: Path, fake_model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No rename replaces it."""
    monkeypatch.setattr(Path, "is_mount", lambda path: path == out)
    with pytest.raises(AnnotateError, match=f"name a folder in it, such as {out / 'labels'}"):
        write(config(photos), out, fake_model)
    assert write(config(photos), out / "labels", fake_model) is not None


@pytest.mark.parametrize("kind", ["x.parquet", "x.csv", "data"])
@pytest.mark.parametrize("old", [False, True])
def test_what_comes_to_the_target_meanwhile_is_not_replaced(
    photos: Path, out: Path, fake_model: Model, kind: str, old: bool
) -> None:
    """It may be somebody's only copy. Once it is away, the same command goes on."""
    target = out / kind
    if old:
        write(config(photos / "a"), target, fake_model)
    done = break_off(config(photos), target, fake_model, 8, **({"overwrite": True} if old else {}))
    if kind != "data":
        target.write_text("mine")
    else:
        target.mkdir(exist_ok=True)
        (target / "part-00000.parquet").write_text("mine")
    for _ in range(2):
        with pytest.raises(AnnotateError, match=NOT_WHAT_STOOD):
            write(config(photos), target, fake_model, overwrite=old)
    mine = target / "part-00000.parquet" if kind == "data" else target
    assert mine.read_text() == "mine"
    target.rename(out / "away")
    with Job(config(photos), str(target), OutputOptions(overwrite=old), model=fake_model) as job:
        assert job.committed == done
        job.label()
    assert len(rows(target)) == 23


def test_what_comes_to_the_target_at_the_very_end_is_not_replaced(
    photos: Path, out: Path, fake_model: Model
) -> None:
    target = out / "data"
    with Job(config(photos), str(target), model=fake_model) as job:

        def come(summary: object) -> None:
            target.mkdir(exist_ok=True)
            (target / "thesis.txt").write_text("mine")

        with pytest.raises(AnnotateError, match=NOT_WHAT_STOOD):
            job.label(come)
    assert (target / "thesis.txt").read_text() == "mine"
    target.rename(out / "away")
    with Job(config(photos), str(target), model=fake_model) as job:
        assert job.run is None  # it was whole, and has its name now
    assert len(rows(target)) == 23
    assert names(out) == ["away", "data"]


def test_files_that_hide_in_a_data_set_stay(photos: Path, out: Path, fake_model: Model) -> None:
    """But for those that say what was in the parts."""
    target = out / "data"
    write(config(photos / "a"), target, fake_model)
    (target / ".keep").write_text("kept")
    (target / "_notes.md").write_text("mine")
    (target / "_metadata").write_text("of the parts")
    write(config(photos), target, fake_model, update=True)
    assert len(rows(target)) == 23
    write(config(photos), target, fake_model, overwrite=True)
    assert (target / ".keep").read_text() == "kept"
    assert (target / "_notes.md").read_text() == "mine"
    assert not (target / "_metadata").exists()


def test_a_crash_between_the_two_renames_is_made_good_whatever_the_name(
    photos: Path, out: Path, fake_model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here one with a dot, which only a folder that is there may have."""
    target = out / "run.2024"
    target.mkdir()
    write(config(photos / "a"), target, fake_model)
    real = os.replace

    def replace(old: Path, new: Path) -> None:
        if new == target:
            raise KeyboardInterrupt
        real(old, new)

    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(KeyboardInterrupt):
        write(config(photos), target, fake_model, overwrite=True)
    monkeypatch.undo()
    assert not target.exists()
    assert write(config(photos), target, fake_model) is None
    assert len(rows(target)) == 23
    assert names(out) == ["run.2024"]


@pytest.mark.parametrize("place", ["data", "data/crops", ".data.annotate/crops", "link/crops"])
def test_crops_are_not_saved_where_the_output_is_replaced(
    photos: Path, out: Path, fake_model: Model, place: str
) -> None:
    (out / "link").symlink_to(out / "data")
    chosen = config(photos)
    detecting = type(chosen)((str(photos),), save_crops=str(out / place))
    with pytest.raises(AnnotateError, match=r"the folder for crops.* lies in the output"):
        write(detecting, out / "data", fake_model)
    assert names(out) == ["link"]


@pytest.mark.parametrize("named", ["*.png", "x.png", "link"])
def test_crops_are_not_saved_where_inputs_lie(
    tmp_path: Path, fake_model: Model, named: str
) -> None:
    """A crop takes the name of a hash, and so may an input."""
    folder = tmp_path / "faces"
    draw(folder / "x.png", (9, 9, 9))
    (tmp_path / "link").symlink_to(folder)
    source = folder / named if named != "link" else tmp_path / "link" / "x.png"
    detecting = type(config())((str(source),), save_crops=str(folder))
    with pytest.raises(AnnotateError, match="holds inputs of this run: name another"):
        write(detecting, tmp_path / "x.parquet", fake_model)
    assert names(folder) == ["x.png"]


@pytest.mark.parametrize("way", ["table", "source", "listed"])
def test_an_output_does_not_replace_what_it_is_made_of(
    photos: Path, out: Path, fake_model: Model, way: str
) -> None:
    table = out / "in.csv"
    listed = table if way == "listed" else photos / "a" / "00.png"
    table.write_text(f"path\n{listed}\n")
    before = table.read_bytes()
    chosen = config(table) if way == "source" else config(table=str(table))
    with pytest.raises(AnnotateError, match="is what is to be read"):
        write(chosen, table, fake_model, overwrite=True)
    assert table.read_bytes() == before


@POSIX
@pytest.mark.parametrize("make", [str, os.fsencode])
def test_dots_behind_a_link_lead_where_the_system_goes(
    tmp_path: Path, make: Callable[[str], str | bytes]
) -> None:
    (tmp_path / "real" / "deep").mkdir(parents=True)
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "link").symlink_to(tmp_path / "real" / "deep")
    real = os.path.realpath(tmp_path)
    for path, expected in (
        ("here/link/../x", f"{real}/real/x"),
        ("here/link/..", f"{real}/real"),
        ("here/../x/", f"{real}/x"),
        ("here/link/./x", f"{tmp_path}/here/link/x"),
        ("no/../x", f"{real}/x"),
    ):
        assert absolute(make(f"{tmp_path}/{path}")) == make(expected)
    assert absolute("a\0/../b").endswith("b")  # whoever opens it says what is wrong


def test_a_source_behind_a_link_is_the_one_that_is_meant(tmp_path: Path, fake_model: Model) -> None:
    (tmp_path / "here").mkdir()
    draw(tmp_path / "here" / "photos" / "wrong.png", (1, 1, 1))
    draw(tmp_path / "real" / "photos" / "right.png", (1, 1, 1))
    (tmp_path / "real" / "deep").mkdir()
    (tmp_path / "here" / "link").symlink_to(tmp_path / "real" / "deep")
    there = f"{tmp_path}/here/link/.."
    found, _ = label(f"{there}/photos", model=fake_model)
    assert [row["path"] for row in found] == ["right.png"]
    write(config(f"{there}/photos"), Path(f"{there}/x.parquet"), fake_model)
    assert (tmp_path / "real" / "x.parquet").exists()
