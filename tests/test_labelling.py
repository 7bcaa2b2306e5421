"""Labelling: going on after kills and stops, updates, retries, and outputs that do not fit."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from annotate import AnnotateError, Model
from annotate.labelling import Job, OutputOptions, StoppedError
from tests.committed_runs import SMALL, break_off, config, names, rows, write
from tests.whole_runs import make_photos, pack, png


@pytest.fixture
def whole(photos: Path, tmp_path: Path, fake_model: Model) -> list[dict[str, Any]]:
    """The rows of a run that nothing interrupts."""
    target = tmp_path / "whole.parquet"
    assert write(config(photos), target, fake_model) is not None
    return rows(target)


# Going on ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["x.parquet", "x.csv", "x.jsonl", "data"])
def test_a_run_that_was_stopped_goes_on(
    photos: Path, out: Path, fake_model: Model, whole: list[dict[str, Any]], name: str
) -> None:
    done = break_off(config(photos), out / name, fake_model, 8)
    assert 0 < done < len(whole)
    assert names(out) == [f".{name}.annotate"]
    with Job(config(photos), str(out / name), model=fake_model) as job:
        assert job.committed == done
        summary = job.label()
    assert summary.already == done
    assert summary.done == summary.inputs == 23
    assert rows(out / name) == whole
    assert names(out) == [name]


def test_the_plan_is_frozen_at_the_start(
    photos: Path, out: Path, fake_model: Model, whole: list[dict[str, Any]]
) -> None:
    break_off(config(photos), out / "x.parquet", fake_model, 8)
    (photos / "a" / "new.png").write_bytes(png(99))
    write(config(photos), out / "x.parquet", fake_model)
    assert rows(out / "x.parquet") == whole


def test_a_run_that_is_asked_to_stop_finishes_what_is_in_flight(
    tmp_path: Path, out: Path, fake_model: Model
) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(200):
        (folder / f"{number:03d}.png").write_bytes(png(number))
    wanted, target = config(folder, batch_size=1), out / "x.parquet"
    with Job(wanted, str(target), SMALL, model=fake_model) as job:
        with pytest.raises(StoppedError) as caught:
            job.label(lambda summary: job.stop())
        done = caught.value.summary.done
        assert job.committed == done
    assert 8 <= done < 200
    assert names(out) == [".x.parquet.annotate"]
    write(wanted, target, fake_model)
    write(wanted, tmp_path / "whole.parquet", fake_model)
    assert rows(target) == rows(tmp_path / "whole.parquet")


@pytest.mark.parametrize("suffix", [".zip", ".tar", ".tar.gz"])
def test_a_run_goes_on_in_the_middle_of_an_archive(
    photos: Path, out: Path, tmp_path: Path, fake_model: Model, suffix: str
) -> None:
    archive = pack(photos, tmp_path / f"photos{suffix}")
    other = make_photos(tmp_path / "other")
    wanted = config(archive, other)
    assert write(wanted, tmp_path / "whole.parquet", fake_model) is not None
    whole = rows(tmp_path / "whole.parquet")
    assert len(whole) == 46
    for inputs in (8, 12, 24, 30):
        target = out / f"{inputs}.parquet"
        break_off(wanted, target, fake_model, inputs)
        with Job(wanted, str(target), model=fake_model) as job:
            summary = job.label()
        assert rows(target) == whole
        assert summary.skipped["hidden"] == 2
        assert summary.skipped["thumbnail or system folder"] == 2


def test_an_archive_that_changed_or_went_away_meanwhile_loses_no_row_silently(
    photos: Path, out: Path, tmp_path: Path, fake_model: Model
) -> None:
    archive = pack(photos, tmp_path / "photos.zip")
    for name in ("changed.parquet", "gone.parquet"):
        done = break_off(config(archive), out / name, fake_model, 8)
        if name == "changed.parquet":
            os.utime(archive, (1, 1))
        else:
            archive.unlink()
        summary = write(config(archive), out / name, fake_model)
        assert summary is not None
        assert summary.done == done + 1
        last = rows(out / name)[-1]
        assert (last["path"], last["status"]) == (
            "photos.zip",
            "changed" if name == "changed.parquet" else "unreadable",
        )


def test_the_same_command_on_a_finished_output_does_nothing(
    photos: Path, out: Path, fake_model: Model
) -> None:
    for name in ("x.parquet", "data"):
        assert write(config(photos), out / name, fake_model) is not None
        before = {p: p.stat().st_mtime_ns for p in out.rglob("*")}
        assert write(config(photos), out / name, fake_model) is None
        assert before == {p: p.stat().st_mtime_ns for p in out.rglob("*")}
    assert names(out) == ["data", "x.parquet"]


def test_a_finished_text_output_says_nothing_about_itself_and_is_kept(
    photos: Path, out: Path, fake_model: Model
) -> None:
    for name in ("x.csv", "x.jsonl"):
        write(config(photos), out / name, fake_model)
        before = (out / name).read_bytes()
        with pytest.raises(AnnotateError, match="exists: pass --overwrite"):
            write(config(photos), out / name, fake_model)
        with pytest.raises(AnnotateError, match="only a Parquet output"):
            write(config(photos), out / name, fake_model, update=True)
        assert (out / name).read_bytes() == before
        assert write(config(photos), out / name, fake_model, overwrite=True) is not None
        assert (out / name).read_bytes() == before


def test_other_inputs_are_refused_and_counted(photos: Path, out: Path, fake_model: Model) -> None:
    target = out / "x.parquet"
    write(config(photos), target, fake_model)
    (photos / "new.png").write_bytes(png(50))
    (photos / "a" / "00.png").write_bytes(png(51))
    (photos / "large.png").unlink()
    with pytest.raises(AnnotateError, match=r"1 new, 1 changed, 1 not found any more.*--update"):
        write(config(photos), target, fake_model)
    assert names(out) == ["x.parquet"]


def test_a_higher_limit_goes_on(
    photos: Path, out: Path, fake_model: Model, whole: list[dict[str, Any]]
) -> None:
    target = out / "x.parquet"
    write(config(photos, limit=7), target, fake_model)
    assert rows(target) == whole[:7]
    summary = write(config(photos, limit=12), target, fake_model)
    assert rows(target) == whole[:12]
    assert summary is not None
    assert summary.done == 12
    assert write(config(photos, limit=7), target, fake_model) is None
    assert write(config(photos), target, fake_model) is not None
    assert rows(target) == whole


def test_a_stopped_run_goes_on_with_a_higher_limit_but_no_lower_one(
    photos: Path, out: Path, fake_model: Model, whole: list[dict[str, Any]]
) -> None:
    target = out / "x.parquet"
    break_off(config(photos, limit=15), target, fake_model, 8)
    with pytest.raises(AnnotateError, match="cannot be lowered"):
        write(config(photos, limit=3), target, fake_model)
    write(config(photos, limit=18), target, fake_model)
    assert rows(target) == whole[:18]


def test_another_model_or_other_options_are_refused_by_name(
    photos: Path, out: Path, fake_model: Model
) -> None:
    target = out / "x.parquet"
    done = break_off(config(photos), target, fake_model, 8)
    for other, said in (
        (config(photos, max_pixels=99), "max_pixels 150000000 instead of 99"),
        (config(photos / "a"), "sources"),
        (config(photos, exclude=("*.png",)), "exclude"),
        (config(photos, skip_duplicates=True), "skip_duplicates False instead of True"),
    ):
        with pytest.raises(AnnotateError, match=said):
            write(other, target, fake_model)
    with Job(config(photos), str(target), model=fake_model) as job:
        assert job.committed == done
    write(config(photos), target, fake_model)
    with pytest.raises(AnnotateError, match=r"max_pixels .* pass --overwrite"):
        write(config(photos, max_pixels=99), target, fake_model, update=True)
    write(config(photos, max_pixels=99), target, fake_model, overwrite=True)
    assert all(row["status"] != "ok" for row in rows(target))


def test_an_overwriting_run_goes_on_too(
    photos: Path, out: Path, fake_model: Model, whole: list[dict[str, Any]]
) -> None:
    target = out / "x.parquet"
    write(config(photos / "a"), target, fake_model)
    before = rows(target)
    done = break_off(config(photos), target, fake_model, 8, overwrite=True)
    assert rows(target) == before
    with pytest.raises(AnnotateError, match="--overwrite instead of"):
        write(config(photos), target, fake_model)
    with Job(config(photos), str(target), OutputOptions(overwrite=True), model=fake_model) as job:
        assert job.committed == done
        job.label()
    assert rows(target) == whole


def test_two_runs_do_not_share_an_output(photos: Path, out: Path, fake_model: Model) -> None:
    target = out / "x.parquet"
    with (
        Job(config(photos), str(target), model=fake_model),
        pytest.raises(AnnotateError, match=f"another annotate: process {os.getpid()} on "),
    ):
        write(config(photos), target, fake_model)
    write(config(photos), target, fake_model)
    assert names(out) == ["x.parquet"]


# Faults -----------------------------------------------------------------------------------


def test_a_folder_that_vanishes_during_the_run_gives_rows(
    photos: Path, out: Path, fake_model: Model
) -> None:
    break_off(config(photos), out / "x.parquet", fake_model, 8)
    shutil.rmtree(photos)
    summary = write(config(photos), out / "x.parquet", fake_model)
    assert summary is not None
    assert summary.done == 23
    assert summary.by_status["unreadable"] > 5


@pytest.mark.parametrize("gone", ["", "parts/part-00000.parquet", "run.json"])
def test_work_that_vanishes_is_not_said_to_be_kept(
    photos: Path, out: Path, fake_model: Model, gone: str
) -> None:
    target = out / "x.parquet"
    work = out / ".x.parquet.annotate"
    break_off(config(photos), target, fake_model, 8)
    with Job(config(photos), str(target), SMALL, model=fake_model) as job:
        lost = work / gone
        shutil.rmtree(lost) if lost.is_dir() else lost.unlink()
        shutil.rmtree(work / "parts", ignore_errors=True)  # so that something cannot be written
        with pytest.raises(AnnotateError, match="cannot write") as caught:
            job.label()
    said = str(caught.value)
    assert said.endswith(f"its work folder {work} has vanished: the run starts again")
    assert "kept" not in said
    assert not target.exists()
    # As it says: the same command does all of it.
    summary = write(config(photos), target, fake_model)
    assert summary is not None
    assert (summary.already, summary.done) == (0, 23)


def test_no_limit_is_too_high(photos: Path, out: Path, fake_model: Model) -> None:
    summary = write(config(photos, limit=10**30), out / "x.parquet", fake_model)
    assert summary is not None
    assert summary.done == 23


@pytest.mark.parametrize("name", ["pipe.csv", "pipe", "link.parquet"])
def test_what_is_no_file_is_never_replaced(
    photos: Path, out: Path, fake_model: Model, name: str
) -> None:
    os.mkfifo(out / "pipe.csv")
    os.mkfifo(out / "pipe")
    (out / "link.parquet").symlink_to("pipe")
    for options in (OutputOptions(), OutputOptions(overwrite=True)):
        with pytest.raises(AnnotateError, match="a device or a pipe"):
            Job(config(photos), str(out / name), options, model=fake_model)
    assert (out / name).is_fifo()
    assert names(out) == ["link.parquet", "pipe", "pipe.csv"]


def test_metadata_of_a_finished_output_says_what_made_it(
    photos: Path, out: Path, fake_model: Model
) -> None:
    from annotate.rows import attributes_of

    write(config(photos, limit=9), out / "x.parquet", fake_model)
    attributes = attributes_of(pq.read_schema(out / "x.parquet"))
    assert attributes["model_sha256"] == fake_model.sha256
    assert attributes["inputs"]["limit"] == 9
    assert len(attributes["inputs"]["digest"]) == 32
