"""Updates: what is new or has changed, what failed, what is there twice."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from annotate import AnnotateError, Model
from tests.committed_runs import break_off, config, count_predictions, rows, write
from tests.whole_runs import make_photos, pack, png

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


def test_an_update_without_an_output_makes_it(photos: Path, out: Path, fake_model: Model) -> None:
    write(config(photos), out / "x.parquet", fake_model, update=True)
    write(config(photos), out / "whole.parquet", fake_model)
    assert rows(out / "x.parquet") == rows(out / "whole.parquet")


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
