"""Crops on disk: complete, replaceable, and never taken for photographs."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from annotate.crops import check_crops_folder, make_crops_folder, save_crops
from annotate.errors import AnnotateError
from annotate.scan import scan
from annotate.selection import ScanOptions, Selection

CROPS = np.full((2, 200, 200, 3), (200, 120, 40), np.uint8)
RULES = ScanOptions(frozenset([".jpg"]), exclude=("faces",))
SELECTION = Selection(RULES)


def test_crops_are_saved_by_hash_and_index(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "crops"
    make_crops_folder(str(folder))
    save_crops(str(folder), "abc", CROPS)
    assert sorted(path.name for path in folder.iterdir()) == ["abc_0.jpg", "abc_1.jpg"]
    with Image.open(folder / "abc_1.jpg") as image:
        assert np.abs(np.asarray(image).astype(int) - CROPS[1]).max() < 4


def test_what_a_link_points_at_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "elsewhere.jpg").write_bytes(b"keep me")
    (tmp_path / "abc_0.jpg").symlink_to(tmp_path / "elsewhere.jpg")
    save_crops(str(tmp_path), "abc", CROPS)
    assert (tmp_path / "elsewhere.jpg").read_bytes() == b"keep me"
    assert not (tmp_path / "abc_0.jpg").is_symlink()


@pytest.mark.skipif(os.name != "posix", reason="other systems have no umask")
def test_crops_are_as_private_as_the_user_wants(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        save_crops(str(tmp_path), "abc", CROPS)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "abc_0.jpg").stat().st_mode) == 0o600


def test_crops_that_cannot_be_saved_end_the_run(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(AnnotateError, match="cannot make the folder"):
        make_crops_folder(str(tmp_path / "file"))
    with pytest.raises(AnnotateError, match="cannot write a crop to"):
        save_crops(str(tmp_path / "no"), "abc", CROPS)
    (tmp_path / "abc_0.jpg").mkdir()
    with pytest.raises(AnnotateError, match="cannot write a crop to"):
        save_crops(str(tmp_path), "abc", CROPS)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["abc_0.jpg", "file"]


def test_a_disk_that_takes_a_part_of_a_crop_is_an_error(tmp_path: Path) -> None:
    """A limit on the size of files does as a full disk does: it ends the write at 512 bytes."""
    resource = pytest.importorskip("resource", reason="there are no such limits here")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (512, limits[1]))
    try:
        with pytest.raises(AnnotateError, match="cannot write a crop to"):
            save_crops(str(tmp_path), "abc", CROPS)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("inside", [".", "crops", "a/b"])
def test_crops_do_not_go_where_the_next_run_finds_them(tmp_path: Path, inside: str) -> None:
    with pytest.raises(AnnotateError, match="the next run would take the crops for photographs"):
        check_crops_folder(str(tmp_path / inside), [str(tmp_path)], SELECTION)


def test_a_linked_name_does_not_hide_that(tmp_path: Path) -> None:
    (tmp_path / "photos" / "out").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "photos")
    with pytest.raises(AnnotateError, match="next run"):
        check_crops_folder(str(tmp_path / "photos/out"), [str(tmp_path / "link")], SELECTION)


@pytest.mark.parametrize("inside", [".crops", "a/.b/c", "faces", "faces/mine", "../crops", ".."])
def test_crops_go_where_no_run_looks(tmp_path: Path, inside: str) -> None:
    source = tmp_path / "photos"
    source.mkdir()
    (source / "a.jpg").touch()
    sources = [str(source), str(source / "a.jpg")]
    check_crops_folder(str(source / inside), sources, SELECTION)
    make_crops_folder(str(source / inside))
    save_crops(str(source / inside), "abc", CROPS)
    assert [planned.path for planned in scan(sources, RULES).plan] == ["a.jpg"]


def test_the_command_says_so_before_it_writes(
    tmp_path: Path, command: Callable[..., object], fake_model_folder: Path
) -> None:
    Image.new("RGB", (30, 30)).save(tmp_path / "a.png")
    done = command(
        "run", str(tmp_path), "--model", str(fake_model_folder), "-o", str(tmp_path / "o.csv"),
        "--save-crops", str(tmp_path / "crops"), "--dry-run",
    )  # fmt: skip
    assert done.returncode == 1  # type: ignore[attr-defined]
    assert len(done.stderr.splitlines()) == 1  # type: ignore[attr-defined]
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
