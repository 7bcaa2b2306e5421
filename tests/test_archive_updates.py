"""Archives and what an earlier run had of them: members that went, that changed, that were kept."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import pytest

from annotate import Model
from annotate.archives import entries
from tests.committed_runs import break_off, config, rows, write
from tests.whole_runs import png

NUMBERS = range(6)


def make(path: Path, numbers: object, *, suffix: str = "") -> Path:
    """A zip of pictures m0.png and so on, in this order."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for number in numbers:  # type: ignore[attr-defined]
            archive.writestr(f"m{number}.png", png(number))
    return path


def paths(target: Path) -> list[str]:
    return [row["path"].partition("!/")[2] or row["path"] for row in rows(target)]


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return make(tmp_path / "a.zip", NUMBERS)


@pytest.mark.parametrize("way", ["excluded", "wanted", "cut", "wanted and cut"])
def test_members_that_are_there_are_not_pruned(
    archive: Path, out: Path, fake_model: Model, way: str
) -> None:
    target = out / "x.parquet"
    write(config(archive), target, fake_model)
    again = config(archive)
    if "wanted" in way:
        again = config(f"{archive}!/m0.png")
    if way == "excluded":
        again = config(archive, exclude=("m1*",))
    if "cut" in way:
        archive.write_bytes(archive.read_bytes()[:-200])
    write(again, target, fake_model, update=True, prune=True)
    assert set(paths(target)) >= {f"m{number}.png" for number in NUMBERS}


def test_members_that_went_are_pruned_of_what_is_read_whole_or_in_part(
    archive: Path, out: Path, fake_model: Model
) -> None:
    target = out / "x.parquet"
    write(config(archive), target, fake_model)
    make(archive, [0, 1, 3, 4, 5])
    write(config(f"{archive}!/m0.png"), target, fake_model, update=True)
    assert "m2.png" in paths(target)
    write(config(f"{archive}!/m0.png"), target, fake_model, update=True, prune=True)
    assert paths(target) == ["m0.png", "m1.png", "m3.png", "m4.png", "m5.png"]


def test_what_was_pruned_does_not_come_back(
    archive: Path, out: Path, tmp_path: Path, fake_model: Model
) -> None:
    """The run is broken off behind the archive, at each place."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(12):
        (folder / f"{number:02d}.png").write_bytes(png(100 + number))
    sources = (archive, folder)
    for inputs in range(1, 12):
        make(archive, NUMBERS)
        target = out / f"{inputs}.parquet"
        write(config(*sources), target, fake_model)
        make(archive, [0, 1, 3, 4, 5])
        for number in range(0, 12, 2):
            (folder / f"{number:02d}.png").write_bytes(png(200 + 20 * inputs + number))
        break_off(config(*sources), target, fake_model, inputs, update=True, prune=True)
        write(config(*sources), target, fake_model, update=True, prune=True)
        members = ["m0.png", "m1.png", "m3.png", "m4.png", "m5.png"]
        assert paths(target) == [*members, *(f"{number:02d}.png" for number in range(12))]


@pytest.mark.parametrize("way", ["reversed", "gone", "touched"])
def test_wanted_members_of_an_archive_that_changed_meanwhile_have_a_row_each(
    tmp_path: Path, out: Path, fake_model: Model, way: str
) -> None:
    archive = make(tmp_path / "w.zip", range(20))
    table = tmp_path / "wanted.csv"
    wanted = [number for number in range(20) if number != 7]
    table.write_text("path\n" + "".join(f"{archive}!/m{number}.png\n" for number in wanted))
    target = out / "x.parquet"
    done = break_off(config(table=str(table)), target, fake_model, 8)
    assert 0 < done < len(wanted)
    if way == "reversed":
        make(archive, reversed(range(20)))
    elif way == "gone":
        archive.unlink()
    else:
        os.utime(archive, (1, 1))
    write(config(table=str(table)), target, fake_model)
    assert paths(target) == [f"m{number}.png" for number in wanted]
    statuses = [row["status"] for row in rows(target)]
    failed = "unreadable" if way == "gone" else "changed"
    assert statuses == ["ok"] * done + [failed] * (len(wanted) - done)


def test_a_bomb_is_given_up_where_it_would_have_been(
    out: Path, tmp_path: Path, fake_model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What an earlier run read, and what is kept, counts as if it were read."""
    archive = make(tmp_path / "a.zip", range(20))
    monkeypatch.setattr(entries, "BOMB_BYTES", sum(len(png(number)) for number in range(14)))
    monkeypatch.setattr(entries, "BOMB_RATIO", 0)
    write(config(archive), out / "whole.parquet", fake_model)
    whole = rows(out / "whole.parquet")
    assert len(whole) == 16
    assert [row["status"] for row in whole[-3:]] == ["ok", "too_large", "too_large"]
    break_off(config(archive), out / "x.parquet", fake_model, 8)
    write(config(archive), out / "x.parquet", fake_model)
    assert rows(out / "x.parquet") == whole
    write(config(archive), out / "x.parquet", fake_model, update=True)
    assert rows(out / "x.parquet") == whole


@pytest.mark.parametrize("where", ["photos/sub", "photos"])
@pytest.mark.parametrize("ways", [{"update": True}, {"retry_failed": True}])
def test_a_folder_that_can_be_listed_again_is_no_failure_any_more(
    tmp_path: Path, out: Path, fake_model: Model, monkeypatch: pytest.MonkeyPatch, where: str,
    ways: dict[str, bool],
) -> None:  # fmt: skip
    photos = tmp_path / "photos"
    for path in ("a.png", "sub/b.png", "sub/deep/c.png", "z.png"):
        (photos / path).parent.mkdir(parents=True, exist_ok=True)
        (photos / path).write_bytes(png(len(path)))
    real = os.scandir

    def scandir(path: object) -> object:
        if isinstance(path, bytes) and Path(os.fsdecode(path)) == tmp_path / where:
            raise PermissionError(13, "Permission denied")
        return real(path)  # type: ignore[call-overload]

    target = out / "x.parquet"
    chosen = config(photos, tmp_path / "photos")
    monkeypatch.setattr(os, "scandir", scandir)
    write(chosen, target, fake_model)
    is_root = where == "photos"
    assert paths(target) == (["."] if is_root else ["a.png", "sub/", "z.png"])
    write(chosen, target, fake_model, **ways)
    assert paths(target) == (["."] if is_root else ["a.png", "sub/", "z.png"])
    monkeypatch.undo()
    write(chosen, target, fake_model, **ways)
    assert paths(target) == ["a.png", "sub/b.png", "sub/deep/c.png", "z.png"]
    assert {row["status"] for row in rows(target)} == {"ok"}


def test_a_folder_that_is_not_scanned_keeps_its_row(
    tmp_path: Path, out: Path, fake_model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "photos" / "sub").mkdir(parents=True)
    (tmp_path / "photos" / "sub" / "b.png").write_bytes(png(1))
    (tmp_path / "other.png").write_bytes(png(2))
    real = os.scandir

    def scandir(path: object) -> object:
        if isinstance(path, bytes) and path.endswith(b"sub/"):
            raise PermissionError(13, "Permission denied")
        return real(path)  # type: ignore[call-overload]

    target = out / "x.parquet"
    monkeypatch.setattr(os, "scandir", scandir)
    write(config(tmp_path / "photos"), target, fake_model)
    monkeypatch.undo()
    for again in (
        config(tmp_path / "other.png"),
        config(tmp_path / "other.png", tmp_path / "photos", exclude=("sub",)),
    ):
        write(again, target, fake_model, update=True, prune=True)
        assert "sub/" in paths(target)
