"""Sidecars: a tree that mirrors the originals, and nothing outside it, whatever rows say."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annotate import AnnotateError
from annotate.export.exporting import ExportConfig, Exported, run_export
from annotate.export.sidecars import Naming
from annotate.export.tally import Reason
from annotate.export.tree import Tree
from tests.conftest import draw
from tests.hand_made import face_at, no_face
from tests.packing import make_zip
from tests.test_exporters_rows import saved
from tests.trees import NAMES, POSIX


def row_of(file: Path, folder: Path, **more: Any) -> dict[str, Any]:
    """The row of a face in a file below a folder, as a run would write it."""
    from annotate.names import escape, escape_path

    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    path = escape_path(os.fsencode(file.relative_to(folder)))
    usual = {"source": escape(os.fsencode(folder)), "sha256": sha256, "width": 32, "height": 32}
    return face_at(path, 0, (4, 4, 20, 24), **(usual | more))


def photos(folder: Path, *names: str) -> list[dict[str, Any]]:
    """Drawn pictures, no two alike, and their rows."""
    return [
        row_of(draw(folder / name, (20, number, 90)), folder) for number, name in enumerate(names)
    ]


def exported(folder: Path, *rows: dict[str, Any], **options: Any) -> Exported:
    """An export of rows into the folder `tree`."""
    target = str(folder / "tree")
    return run_export(ExportConfig(str(saved(folder, *rows)), "xmp", target, workers=1, **options))


def tree(folder: Path) -> dict[str, bytes]:
    """The files below `tree`."""
    root = os.fsencode(folder / "tree")
    found = {}
    for place, _, files in os.walk(root):
        for name in files:
            path = os.path.join(place, name)
            with open(path, "rb") as file:
                found[os.fsdecode(os.path.relpath(path, root))] = file.read()
    return found


def left_out(told: Exported) -> dict[Reason, str]:
    """Why inputs were left out, and the first of each; each reason once."""
    assert set(told.tally.left_out.values()) <= {1}
    return told.tally.first


def test_the_tree_mirrors_the_originals(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    rows = photos(folder, "a.png", "2019/b.png", "2019/x/c.png")
    before = {path: path.read_bytes() for path in folder.rglob("*.png")}
    told = exported(tmp_path, *rows, no_face("d.png", source=str(folder)))
    assert sorted(tree(tmp_path)) == ["2019/b.png.xmp", "2019/x/c.png.xmp", "a.png.xmp"]
    assert (told.tally.inputs, told.tally.faces, told.tally.exit_code) == (3, 3, 0)
    assert left_out(told) == {Reason.NO_FACE: "d.png"}
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert f"rsync -a --ignore-existing {tmp_path}/tree/ {folder}/" in told.render()


@pytest.mark.parametrize(
    ("target", "printed"),
    [
        ("tree", "tree/"),
        ("2024: summer", "'./2024: summer/'"),
        ("-tree", "./-tree/"),
        ("sub/a:b/", "./sub/a:b/"),
    ],
)
def test_the_line_for_rsync_names_a_folder_of_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str, printed: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub").mkdir()
    folder = tmp_path / "photos"
    out = str(saved(tmp_path, *photos(folder, "a.png")))
    told = run_export(ExportConfig(out, "xmp", target, workers=1))
    (line,) = told.advice
    assert line.endswith(f"rsync -a --ignore-existing {printed} {folder}/")
    if shutil.which("rsync"):
        command = line.partition("originals: ")[2]
        subprocess.run(command, shell=True, check=True, cwd=tmp_path)
        assert (folder / "a.png.xmp").is_file()


def test_several_sources_lie_below_their_common_folder(tmp_path: Path) -> None:
    rows = [*photos(tmp_path / "in" / "one", "a.png"), *photos(tmp_path / "in" / "two", "a.png")]
    exported(tmp_path, *rows)
    assert sorted(tree(tmp_path)) == ["one/a.png.xmp", "two/a.png.xmp"]


def test_sidecars_are_named_as_the_photo_program_wants(tmp_path: Path) -> None:
    rows = photos(tmp_path / "photos", "a.png", "a.jpg", "no.dots.jpg")
    told = exported(tmp_path, *rows, naming=Naming.STEM)
    assert sorted(tree(tmp_path)) == ["a.xmp", "no.dots.xmp"]
    assert left_out(told) == {Reason.CLASH: "a.jpg"}
    assert told.tally.exit_code == 3


def test_what_is_gone_or_another_file_by_now_is_said(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    rows = photos(folder, "good.png", "gone.png", "changed.png", "folder.png", "unhashed.png")
    (folder / "gone.png").unlink()
    with (folder / "changed.png").open("ab") as file:
        file.write(b"x")
    (folder / "folder.png").unlink()
    (folder / "folder.png").mkdir()
    rows[4]["sha256"] = None
    told = exported(tmp_path, *rows)
    assert list(tree(tmp_path)) == ["good.png.xmp"]
    assert told.tally.first == {Reason.GONE: "gone.png", Reason.CHANGED: "changed.png"}
    assert told.tally.left_out == {Reason.GONE: 2, Reason.CHANGED: 2}
    assert told.tally.exit_code == 3


def test_a_file_that_is_no_picture_has_no_orientation(tmp_path: Path) -> None:
    """The row is forged: it has the hash of what lies there."""
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_text("no picture")
    told = exported(tmp_path, row_of(tmp_path / "photos" / "a.jpg", tmp_path / "photos"))
    assert left_out(told) == {Reason.UNREADABLE: "a.jpg"}
    assert tree(tmp_path) == {}


@POSIX
def test_a_pipe_in_a_files_place_does_not_block(tmp_path: Path) -> None:
    rows = photos(tmp_path / "photos", "a.png")
    (tmp_path / "photos" / "a.png").unlink()
    os.mkfifo(tmp_path / "photos" / "a.png")
    assert left_out(exported(tmp_path, *rows)) == {Reason.GONE: "a.png"}


def test_members_of_archives_are_counted(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    make_zip(tmp_path / "photos" / "trip.zip")
    row = face_at("trip.zip!/a.png", 0, (0, 0, 9, 9), source=str(tmp_path / "photos"))
    told = exported(tmp_path, row)
    assert left_out(told) == {Reason.IN_ARCHIVE: "trip.zip!/a.png"}
    assert told.tally.exit_code == 0


def test_a_duplicate_has_a_sidecar_too(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    first = photos(folder, "a.png")[0]
    shutil.copy(folder / "a.png", folder / "b.png")
    copy = no_face("b.png", source=str(folder), status="duplicate", sha256=first["sha256"])
    exported(tmp_path, first, copy)
    found = tree(tmp_path)
    assert sorted(found) == ["a.png.xmp", "b.png.xmp"]
    assert found["a.png.xmp"] == found["b.png.xmp"]


@POSIX
def test_names_of_any_bytes_have_sidecars(tmp_path: Path) -> None:
    """But for the name that leaves no room for `.xmp`; in a folder that the tree lacks, too."""
    hostile = [*NAMES, b"<img src=x onerror=alert(1)>.jpg", b"a&b<\"'>.png", b"]]>.png"]
    names = ["sub/" + os.fsdecode(name) for name in hostile]
    told = exported(tmp_path, *photos(tmp_path / "photos", *names))
    long = "sub/" + "x" * 251 + ".png"
    assert left_out(told) == {Reason.BAD_NAME: long}
    assert sorted(tree(tmp_path)) == sorted(name + ".xmp" for name in names if name != long)
    assert all(line.isprintable() for line in told.render().split("\n"))


@POSIX
def test_a_path_that_is_too_long_below_the_tree_costs_the_file_alone(tmp_path: Path) -> None:
    """Each part fits, and so does the whole below the originals, but not below the tree."""
    put = Tree(str(tmp_path / "tree"), overwrite=False)
    put.begin()
    deep = b"/".join([b"d" * 250] * 16)
    assert put.put(deep + b"/" + b"x" * 60, b"data") is Reason.BAD_NAME
    assert put.put(b"a.xmp", b"data") is None
    assert tree(tmp_path) == {"a.xmp": b"data"}


def test_what_is_there_stays_unless_it_is_to_be_replaced(tmp_path: Path) -> None:
    rows = photos(tmp_path / "photos", "a.png", "b.png")
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "a.png.xmp").write_text("an hour of darktable")
    (tmp_path / "tree" / "other.xmp").write_text("other")
    told = exported(tmp_path, *rows)
    assert left_out(told) == {Reason.EXISTS: "a.png"}
    assert told.tally.exit_code == 0
    assert tree(tmp_path)["a.png.xmp"] == b"an hour of darktable"
    exported(tmp_path, *rows, overwrite=True)
    found = tree(tmp_path)
    assert b"people/female" in found["a.png.xmp"]
    assert found["other.xmp"] == b"other"


@POSIX
@pytest.mark.parametrize("overwrite", [False, True])
def test_no_link_leads_out_of_the_tree(tmp_path: Path, overwrite: bool) -> None:
    """A linked folder is no folder of the tree, a linked file is replaced and not written to."""
    rows = photos(tmp_path / "photos", "x/a.png", "b.png", "file/c.png", "folder.png")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "mine").write_text("mine")
    root = tmp_path / "tree"
    root.mkdir()
    (root / "x").symlink_to(outside)
    (root / "b.png.xmp").symlink_to(outside / "mine")
    (root / "file").write_text("a file")
    (root / "folder.png.xmp").mkdir()
    told = exported(tmp_path, *rows, overwrite=overwrite)
    assert [path.name for path in outside.iterdir()] == ["mine"]
    assert (outside / "mine").read_text() == "mine"
    assert told.tally.left_out[Reason.BLOCKED] == 3
    assert (root / "b.png.xmp").is_symlink() != overwrite
    assert (root / "file").read_text() == "a file"


def test_a_second_row_of_a_file_does_not_replace_the_first(tmp_path: Path) -> None:
    """The same path with another hash: one of the two is told of another file."""
    (row,) = photos(tmp_path / "photos", "a.png")
    told = exported(tmp_path, row, row | {"sha256": "0" * 64}, overwrite=True)
    assert left_out(told) == {Reason.CHANGED: "a.png"}
    assert list(tree(tmp_path)) == ["a.png.xmp"]


def test_a_dry_run_tells_and_writes_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    rows = photos(folder, "a.png", "b.jpg", "b.png", "gone.png")
    (folder / "gone.png").unlink()
    told = exported(tmp_path, *rows, dry_run=True, naming=Naming.STEM)
    assert not (tmp_path / "tree").exists()
    assert told.examples == (
        "a.xmp: people/age/30-39, people/female",
        "b.xmp: people/age/30-39, people/female",
    )
    assert left_out(told) == {Reason.CLASH: "b.png", Reason.GONE: "gone.png"}
    assert told.render().startswith("would write 2 sidecars with 2 faces to ")


def test_a_tree_among_the_originals_is_refused(tmp_path: Path) -> None:
    rows = photos(tmp_path / "tree", "a.png")
    with pytest.raises(AnnotateError, match="would lie among the originals"):
        exported(tmp_path, *rows)
    assert [path.name for path in (tmp_path / "tree").iterdir()] == ["a.png"]


def test_a_target_that_cannot_be_is_an_error(tmp_path: Path) -> None:
    out = saved(tmp_path, *photos(tmp_path / "photos", "a.png"))
    (tmp_path / "file").write_text("mine")
    for target in ("file", "no/such/tree"):
        with pytest.raises(AnnotateError, match="cannot write"):
            run_export(ExportConfig(str(out), "xmp", str(tmp_path / target)))
    data = tmp_path / "data"
    data.mkdir()
    out.rename(data / "part-00000.parquet")
    with pytest.raises(AnnotateError, match="it is the output that is exported"):
        run_export(ExportConfig(str(data), "xmp", str(data)))


def test_a_full_disk_leaves_whole_sidecars_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = photos(tmp_path / "photos", *(f"{number:02d}.png" for number in range(6)))
    real, flushed = os.fsync, []

    def full(handle: int) -> None:
        flushed.append(handle)
        if len(flushed) > 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(handle)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(AnnotateError, match=r"cannot write .*03\.png\.xmp.*No space left"):
            exported(tmp_path, *rows)
    assert sorted(tree(tmp_path)) == ["00.png.xmp", "01.png.xmp", "02.png.xmp"]
    told = exported(tmp_path, *rows)  # and the next one goes on
    assert (told.tally.inputs, told.tally.left_out) == (3, {Reason.EXISTS: 3})
    assert len(tree(tmp_path)) == 6


def test_where_case_makes_no_difference_the_first_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a file system that knows one name for both; here one is made believe in."""
    real = os.path.lexists
    monkeypatch.setattr(os.path, "lexists", lambda path: "ANNOTATE-" in str(path) or real(path))
    put = Tree(str(tmp_path / "tree"), overwrite=True)
    put.begin()
    assert put.put(b"sub/A.jpg.xmp", b"first") is None
    assert put.put(b"sub/a.JPG.xmp", b"second") is Reason.CLASH
    assert put.put("\u00e9.xmp".encode(), b"composed") is None
    assert put.put("e\u0301.xmp".encode(), b"decomposed") is Reason.CLASH


@POSIX
def test_where_case_makes_a_difference_both_are_written(tmp_path: Path) -> None:
    put = Tree(str(tmp_path / "tree"), overwrite=False)
    put.begin()
    probe = tmp_path / "x"
    probe.touch()
    if (tmp_path / "X").exists():
        pytest.skip("this file system knows one name for both")
    assert put.put(b"A.xmp", b"first") is None
    assert put.put(b"a.xmp", b"second") is None
    put.finish()
    assert tree(tmp_path) == {"A.xmp": b"first", "a.xmp": b"second"}


@POSIX
@settings(max_examples=50, deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=8), min_size=1, max_size=4))
def test_any_parts_of_a_path_stay_in_the_tree(
    tmp_path_factory: pytest.TempPathFactory, parts: list[bytes]
) -> None:
    """What `Labelled` lets through: no part is empty, a dot, two dots or has a NUL or a slash."""
    allowed = [p for p in parts if p not in (b".", b"..") and not {0, 47} & set(p)]
    folder = tmp_path_factory.mktemp("any")
    put = Tree(str(folder / "tree"), overwrite=False)
    put.begin()
    name = b"/".join([*allowed, b"x.xmp"])
    assert put.put(name, b"data") is None
    assert [path.name for path in folder.iterdir()] == ["tree"]
    assert tree(folder) == {os.fsdecode(name): b"data"}
