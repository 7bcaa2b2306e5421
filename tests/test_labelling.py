"""Labelling: going on after kills and stops, updates, retries, and outputs that do not fit."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from annotate import AnnotateError, Model, labelling
from annotate.labelling import Job, OutputOptions, StoppedError
from annotate.readers import read_table
from annotate.run_config import RunConfig
from annotate.summary import Summary
from tests.whole_runs import make_photos, pack, png

SMALL = OutputOptions(part_size=5)


def config(*sources: Path | str, **options: Any) -> RunConfig:
    return RunConfig(tuple(map(str, sources)), faces="crop", workers=1, **options)


def write(
    config: RunConfig, target: Path, model: Model, options: OutputOptions = SMALL, **ways: bool
) -> Summary | None:
    chosen = OutputOptions(**{**vars(options), **ways})
    return labelling.write(config, str(target), chosen, model=model)


def break_off(config: RunConfig, target: Path, model: Model, inputs: int, **ways: bool) -> int:
    """Break a run off once so many inputs have rows. Returns how many of them are kept."""
    chosen = OutputOptions(**{**vars(SMALL), **ways})

    def look(summary: Summary) -> None:
        if summary.done >= inputs:
            raise KeyboardInterrupt

    with Job(config, str(target), chosen, model=model) as job:
        with pytest.raises(KeyboardInterrupt):
            job.label(look)
        assert not target.exists() or ways
        return job.already


def rows(target: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = read_table(target).to_pylist()
    return found


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return make_photos(tmp_path / "photos")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


@pytest.fixture
def whole(photos: Path, out: Path, fake_model: Model) -> list[dict[str, Any]]:
    """The rows of a run that nothing interrupts."""
    target = out.parent / "whole.parquet"
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
        assert job.already == done
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
        assert job.already == done
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
        assert job.already == done
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
        assert job.already == done
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


# Updating ---------------------------------------------------------------------------------


def test_an_update_labels_what_is_new_or_changed_and_keeps_the_rest(
    photos: Path, out: Path, fake_model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("x.parquet", "data"):
        shutil.rmtree(photos)
        make_photos(photos)
        target = out / name
        write(config(photos), target, fake_model)
        before = {row["path"]: row for row in rows(target)}
        (photos / "a" / "new.png").write_bytes(png(77))
        (photos / "b" / "01.png").write_bytes(png(78))
        (photos / "c" / "02.png").unlink()
        seen = count_predictions(monkeypatch, fake_model)
        summary = write(config(photos), target, fake_model, update=True)
        assert seen() == 2
        assert summary is not None
        assert summary.done == summary.inputs == 24
        after = {row["path"]: row for row in rows(target)}
        assert list(after) == sorted([*before, "a/new.png"], key=os.fsencode)
        changed = {path for path in before if after[path] != before[path]}
        assert changed == {"b/01.png"}
        assert after["c/02.png"]["status"] == "ok"
        assert write(config(photos), target, fake_model) is None
        write(config(photos), target, fake_model, update=True, prune=True)
        assert "c/02.png" not in {row["path"] for row in rows(target)}
        assert len(rows(target)) == 23


def count_predictions(monkeypatch: pytest.MonkeyPatch, model: Model) -> Any:
    """How many faces the model has seen from now on."""
    seen: list[int] = []
    real = type(model).predict

    def predict(self: Model, faces: Any) -> Any:
        seen.append(len(faces))
        return real(self, faces)

    monkeypatch.setattr(type(model), "predict", predict)
    return lambda: sum(seen)


def test_what_was_moved_or_copied_costs_no_inference(
    photos: Path, out: Path, fake_model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = out / "x.parquet"
    write(config(photos), target, fake_model)
    before = {row["path"]: row for row in rows(target)}
    (photos / "z").mkdir()
    (photos / "a" / "00.png").rename(photos / "z" / "moved.png")
    shutil.copyfile(photos / "b" / "01.png", photos / "z" / "copied.png")
    seen = count_predictions(monkeypatch, fake_model)
    write(config(photos), target, fake_model, update=True, prune=True)
    assert seen() == 0
    after = {row["path"]: row for row in rows(target)}
    assert "a/00.png" not in after
    for new, old in (("z/moved.png", "a/00.png"), ("z/copied.png", "b/01.png")):
        same = {k: v for k, v in after[new].items() if k not in ("path", "modified_at")}
        assert same == {k: v for k, v in before[old].items() if k not in ("path", "modified_at")}
        state = (photos / new).stat()
        assert after[new]["modified_at"].timestamp() == pytest.approx(state.st_mtime, abs=1e-5)


@pytest.mark.parametrize("suffix", [".zip", ".tar", ".tar.gz"])
def test_an_update_looks_into_archives(
    photos: Path, out: Path, tmp_path: Path, fake_model: Model, suffix: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    archive, target = tmp_path / f"p{suffix}", out / "x.parquet"
    pack(photos, archive)
    write(config(archive), target, fake_model)
    before = {row["path"]: row for row in rows(target)}
    (photos / "a" / "new.png").write_bytes(png(77))
    (photos / "b" / "01.png").write_bytes(png(79))
    (photos / "c" / "02.png").unlink()
    pack(photos, archive)
    seen = count_predictions(monkeypatch, fake_model)
    write(config(archive), target, fake_model, update=True)
    assert seen() == 2
    after = {row["path"]: row for row in rows(target)}
    assert set(after) == {*before, f"p{suffix}!/a/new.png"}
    assert {p for p in before if after[p] != before[p]} == {f"p{suffix}!/b/01.png"}
    write(config(archive), target, fake_model, update=True, prune=True)
    assert f"p{suffix}!/c/02.png" not in {row["path"] for row in rows(target)}
    archive.write_bytes(archive.read_bytes()[:200])
    write(config(archive), target, fake_model, update=True, prune=True)
    kept = {row["path"]: row["status"] for row in rows(target)}
    assert kept.pop(f"p{suffix}") == "decode_error"
    assert set(kept) == set(after) - {f"p{suffix}!/c/02.png"}


def test_an_update_that_was_stopped_goes_on(
    photos: Path, out: Path, fake_model: Model, tmp_path: Path
) -> None:
    target = out / "x.parquet"
    write(config(photos), target, fake_model)
    for number in range(12):
        (photos / f"{number}.png").write_bytes(png(100 + number))
    for path in ("a/03.png", "c/14.png", "b/16.png", "film.mp4"):
        (photos / path).unlink()
    shutil.copyfile(target, tmp_path / "copy.parquet")
    write(config(photos), tmp_path / "copy.parquet", fake_model, update=True)
    expected = rows(tmp_path / "copy.parquet")
    assert len(expected) == 35
    for inputs in (8, 13, 19, 28):
        done = break_off(config(photos), target, fake_model, inputs, update=True)
        assert done > 0
        with pytest.raises(AnnotateError, match="--update instead of no such option"):
            write(config(photos), target, fake_model)
    write(config(photos), target, fake_model, update=True)
    assert rows(target) == expected


def test_an_update_adds_other_sources_and_prunes_only_what_is_gone(
    photos: Path, out: Path, fake_model: Model
) -> None:
    target = out / "x.parquet"
    write(config(photos / "a"), target, fake_model)
    write(config(photos / "b"), target, fake_model, update=True, prune=True)
    assert len(rows(target)) == 12
    shutil.rmtree(photos / "a")
    write(config(photos / "b"), target, fake_model, update=True, prune=True)
    assert len(rows(target)) == 6


def test_an_update_without_an_output_makes_it(
    photos: Path, out: Path, fake_model: Model, whole: list[dict[str, Any]]
) -> None:
    write(config(photos), out / "x.parquet", fake_model, update=True)
    assert rows(out / "x.parquet") == whole


# Retrying ---------------------------------------------------------------------------------


def test_what_failed_is_tried_again_and_nothing_else_is_touched(
    photos: Path, out: Path, tmp_path: Path, fake_model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, archive = out / "x.parquet", tmp_path / "p.zip"
    pack(photos, archive)
    write(config(photos, archive), target, fake_model)
    before = rows(target)
    failed = {row["path"] for row in before if row["error"] and row["status"] != "unsupported"}
    assert failed == {"cut.png", "empty.jpg", "p.zip!/cut.png", "p.zip!/empty.jpg"}
    (photos / "cut.png").write_bytes(png(60))
    (photos / "b" / "01.png").write_bytes(png(61))
    seen = count_predictions(monkeypatch, fake_model)
    summary = write(config(), target, fake_model, retry_failed=True)
    assert seen() == 1
    after = rows(target)
    assert [row["path"] for row in after] == [row["path"] for row in before]
    changed = {b["path"] for a, b in zip(after, before, strict=True) if a != b}
    assert changed == {"cut.png"}
    assert summary is not None
    assert summary.failures == 3


def test_an_archive_that_was_broken_is_read_again(
    photos: Path, out: Path, tmp_path: Path, fake_model: Model
) -> None:
    archive, target = tmp_path / "p.tar", out / "x.parquet"
    data = pack(photos, archive).read_bytes()
    archive.write_bytes(data[: len(data) // 2])
    write(config(archive), target, fake_model)
    broken = rows(target)
    assert broken[-1]["path"] == "p.tar"
    archive.write_bytes(data)
    write(config(), target, fake_model, retry_failed=True)
    write(config(archive), tmp_path / "whole.parquet", fake_model)
    assert rows(target) == rows(tmp_path / "whole.parquet")


def test_nothing_that_failed_is_nothing_to_do(photos: Path, out: Path, fake_model: Model) -> None:
    target = out / "x.parquet"
    write(config(photos / "a"), target, fake_model)
    assert write(config(), target, fake_model, retry_failed=True) is None
    with pytest.raises(AnnotateError, match="no output"):
        write(config(), out / "y.parquet", fake_model, retry_failed=True)


# Duplicates -------------------------------------------------------------------------------


def test_identical_files_are_labelled_once(
    photos: Path, out: Path, fake_model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    (photos / "d").mkdir()
    for name in ("00", "03", "06"):
        shutil.copyfile(photos / "a" / f"{name}.png", photos / "d" / f"{name}.png")
    shutil.copyfile(photos / "cut.png", photos / "d" / "cut.png")
    target, wanted = out / "x.parquet", config(photos, skip_duplicates=True)
    break_off(wanted, target, fake_model, 18)
    write(wanted, target, fake_model)
    seen = count_predictions(monkeypatch, fake_model)
    summary = write(wanted, out / "whole.parquet", fake_model)
    assert seen() == 19
    assert rows(target) == rows(out / "whole.parquet")
    assert summary is not None
    assert summary.by_status == {"ok": 19, "decode_error": 3, "unsupported": 2, "duplicate": 3}
    found = {row["path"]: row for row in rows(target)}
    row = found["d/03.png"]
    assert (row["status"], row["error"], row["age"], row["face_count"]) == (
        "duplicate", None, None, None,
    )  # fmt: skip
    assert row["sha256"] == found["a/03.png"]["sha256"]
    assert found["d/cut.png"]["status"] == "decode_error"
    # The first one goes: its labels are now those of the copy.
    label = found["a/03.png"]["age"]
    (photos / "a" / "03.png").unlink()
    write(wanted, target, fake_model, update=True, prune=True)
    assert seen() == 19
    found = {row["path"]: row for row in rows(target)}
    assert "a/03.png" not in found
    assert (found["d/03.png"]["status"], found["d/03.png"]["age"]) == ("ok", label)
    assert found["d/00.png"]["status"] == "duplicate"


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


def test_a_work_folder_that_vanishes_is_one_line(
    photos: Path, out: Path, fake_model: Model
) -> None:
    target = out / "x.parquet"
    with Job(config(photos), str(target), SMALL, model=fake_model) as job:
        shutil.rmtree(out / ".x.parquet.annotate")
        with pytest.raises(AnnotateError, match="cannot write"):
            job.label()
    assert not target.exists()


def test_metadata_of_a_finished_output_says_what_made_it(
    photos: Path, out: Path, fake_model: Model
) -> None:
    from annotate.rows import attributes_of

    write(config(photos, limit=9), out / "x.parquet", fake_model)
    attributes = attributes_of(pq.read_schema(out / "x.parquet"))
    assert attributes["model_sha256"] == fake_model.sha256
    assert attributes["inputs"]["limit"] == 9
    assert len(attributes["inputs"]["digest"]) == 32
