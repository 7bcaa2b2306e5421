"""Scan: order, what counts as an input, hostile names, links, patterns, memory."""

from __future__ import annotations

import io
import os
import random
import shutil
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annotate import AnnotateError
from annotate.records import Source, Status
from tests.trees import POSIX, found, make, paths

# Order ------------------------------------------------------------------------------------


def test_order_is_that_of_the_bytes_of_the_whole_path(tmp_path: Path) -> None:
    names = ["a/x.png", "a-b/x.png", "a.png", "a/b/y.png", "B.png", "é.png", "a/b.png", "a0.png"]
    make(tmp_path, *names)
    assert paths(found(tmp_path)) == sorted(names, key=os.fsencode)
    assert paths(found(tmp_path))[:3] == ["B.png", "a-b/x.png", "a.png"]  # - is 2D, . 2E, / 2F


part = st.text("ab-/.0é", min_size=1, max_size=6).filter(
    lambda text: all(piece.strip(".") and piece[0] != "." for piece in text.split("/"))
)


@settings(max_examples=40, deadline=None)
@given(names=st.lists(part, min_size=1, max_size=12, unique=True))
def test_order_and_completeness_hold_for_any_tree(
    names: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("tree")
    # A folder may not have a file's name: files get a suffix that no folder has.
    files = [f"{name}.png" for name in names]
    make(root, *files)
    assert paths(found(root)) == sorted(files, key=os.fsencode)


def test_sources_keep_the_order_in_which_they_are_given(tmp_path: Path) -> None:
    make(tmp_path, "b/1.png", "a/2.png", "c.png")
    result = found(tmp_path / "b", tmp_path / "c.png", tmp_path / "a")
    assert paths(result) == ["1.png", "c.png", "2.png"]
    assert [s.source for s in result.plan] == [
        str(tmp_path / "b"),
        str(tmp_path),
        str(tmp_path / "a"),
    ]
    assert [s.key for s in result.plan] == [0, 1, 2]


def test_plan_is_a_sequence(tmp_path: Path) -> None:
    plan = found(make(tmp_path, "a.png", "b.png", "c.png")).plan
    assert [s.path for s in plan[1:]] == ["b.png", "c.png"]
    assert plan[-1] == plan[2]
    assert plan[-1].key == 2
    for index in (3, -4):
        with pytest.raises(IndexError):
            plan[index]


def test_facts_are_those_of_the_file(tmp_path: Path) -> None:
    path = make(tmp_path, "a.png") / "a.png"
    path.write_bytes(b"12345")
    os.utime(path, ns=(0, 1_234_567_890_123_456_789))
    (source,) = found(tmp_path).plan
    assert (source.size_bytes, source.modified_ns) == (5, 1_234_567_890_123_456_789)


@pytest.mark.parametrize("seconds", [9_300_000_000, 12_000_000_000, -2_000_000_000])
def test_a_freak_modification_time_ends_nothing(tmp_path: Path, seconds: int) -> None:
    path = make(tmp_path, "a.png") / "a.png"
    os.utime(path, (seconds, seconds))
    told = path.stat().st_mtime_ns  # a file system may hold it to its own limits
    (source,) = found(tmp_path).plan
    assert source.modified_ns == max(-(2**63), min(told, 2**63 - 1))


# One file, two SOURCEs --------------------------------------------------------------------


def test_a_file_that_two_sources_reach_counts_once_and_the_first_wins(tmp_path: Path) -> None:
    make(tmp_path, "a/1.png", "a/2.png", "b/3.png")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    (tmp_path / "one.png").symlink_to(tmp_path / "a/1.png")
    again = [tmp_path / "a", tmp_path, tmp_path / "link", tmp_path / "one.png"]
    result = found(tmp_path / "a" / "2.png", *again)
    assert [(s.source, s.path) for s in result.plan] == [
        (str(tmp_path / "a"), "2.png"),
        (str(tmp_path / "a"), "1.png"),
        (str(tmp_path), "b/3.png"),
    ]
    # 2.png in a; 1, 2 and one.png in the whole; 1 and 2 behind the link; one.png itself.
    assert result.skipped["listed twice"] == 1 + 3 + 2 + 1


def test_hard_links_and_links_within_a_source_are_inputs_of_their_own(tmp_path: Path) -> None:
    make(tmp_path, "a.png")
    os.link(tmp_path / "a.png", tmp_path / "b.png")
    (tmp_path / "c.png").symlink_to("a.png")
    make(tmp_path, "other/d.png")
    assert paths(found(tmp_path)) == ["a.png", "b.png", "c.png", "other/d.png"]
    result = found(tmp_path, tmp_path / "other")
    assert paths(result) == ["a.png", "b.png", "c.png", "other/d.png"]


# What counts ------------------------------------------------------------------------------


def test_every_skipped_entry_is_counted_by_reason(tmp_path: Path) -> None:
    make(tmp_path, "a.png", "b.JPG", "c.txt", "d", ".hidden.png", ".cache/e.png")
    make(tmp_path, "@eaDir/f.png", "x.lrdata/g.png", "sub/Thumbnails/h.png", "skip/i.png")
    result = found(tmp_path, exclude=("skip",))
    assert paths(result) == ["a.png", "b.JPG"]
    assert result.skipped == {
        "hidden": 2,
        "not an image": 2,
        "thumbnail or system folder": 3,
        "excluded": 1,
    }


def test_default_excludes_can_be_switched_off(tmp_path: Path) -> None:
    make(tmp_path, "@eaDir/f.png", "Thumbnails/h.png")
    result = found(tmp_path, default_excludes=False)
    assert paths(result) == ["@eaDir/f.png", "Thumbnails/h.png"]
    assert not result.skipped


def test_a_source_that_has_a_thumbnail_folder_s_name_is_read(tmp_path: Path) -> None:
    make(tmp_path, "Thumbnails/a.png")
    assert paths(found(tmp_path / "Thumbnails")) == ["a.png"]


@pytest.mark.parametrize(
    ("pattern", "left"),
    [
        ("*.png", ["b/c.jpg"]),
        ("b", ["a.png"]),
        ("b/", ["a.png"]),
        ("b/c*", ["a.png"]),
        ("c.jpg", ["a.png"]),
        ("B", ["a.png", "b/c.jpg"]),
        ("[ab]*", []),
    ],
)
def test_exclude_matches_the_path_and_each_of_its_parts(
    tmp_path: Path, pattern: str, left: list[str]
) -> None:
    make(tmp_path, "a.png", "b/c.jpg")
    assert paths(found(tmp_path, exclude=(pattern,))) == left


@POSIX
@pytest.mark.parametrize("name", [b"a\\b.png", b"\xff.png"])
def test_exclude_takes_names_as_the_command_line_gives_them(tmp_path: Path, name: bytes) -> None:
    make(tmp_path, name, "other.png")
    assert paths(found(tmp_path, exclude=(os.fsdecode(name),))) == ["other.png"]


def test_an_explicit_file_counts_whatever_its_name(tmp_path: Path) -> None:
    make(tmp_path, "a.txt", ".hidden", "a[1].png")
    for name in ("a.txt", ".hidden", "a[1].png"):
        assert paths(found(tmp_path / name)) == [name]


@pytest.mark.parametrize("name", ["nowhere", "a.png/b", "", "a\0b", "x" * 300, "*.gif", "no/*.png"])
def test_a_source_that_does_not_exist_is_an_error_of_one_line(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(make(tmp_path, "a.png"))
    with pytest.raises(AnnotateError) as caught:
        found(name)
    assert str(caught.value).isprintable()


def test_limit_takes_the_first_inputs(tmp_path: Path) -> None:
    make(tmp_path, *(f"{i}.png" for i in range(9)))
    assert paths(found(tmp_path, limit=3)) == ["0.png", "1.png", "2.png"]
    assert len(found(tmp_path, limit=9).plan) == 9
    assert len(found(tmp_path, limit=100).plan) == 9


# Links and special files ------------------------------------------------------------------


@POSIX
def test_links(tmp_path: Path) -> None:
    real = make(tmp_path, "photos/a.png", "elsewhere/b.png") / "photos"
    (real / "file.png").symlink_to("a.png")
    (real / "folder").symlink_to("../elsewhere")
    (real / "up").symlink_to("..")
    (real / "self.png").symlink_to("self.png")
    (real / "self").symlink_to("self")
    (real / "dangling.png").symlink_to("nothing.png")
    result = found(real)
    assert paths(result) == ["a.png", "dangling.png", "file.png", "self.png"]
    failures = {s.path: s.failure.status for s in result.plan if s.failure is not None}
    assert failures == {"dangling.png": Status.UNREADABLE, "self.png": Status.UNREADABLE}
    assert result.skipped == {"linked folder": 2, "not an image": 1}


@POSIX
def test_follow_links_walks_each_folder_once(tmp_path: Path) -> None:
    real = make(tmp_path, "photos/a.png", "elsewhere/b.png", "elsewhere/deep/c.png") / "photos"
    (real / "folder").symlink_to("../elsewhere")
    (real / "again").symlink_to("../elsewhere/deep")
    (real / "loop").symlink_to(".")
    result = found(real, follow_links=True)
    assert paths(result) == ["a.png", "again/c.png", "folder/b.png"]
    assert result.skipped == {"folder reached twice": 2}


@POSIX
def test_a_linked_source_is_walked(tmp_path: Path) -> None:
    make(tmp_path, "photos/a.png")
    (tmp_path / "link").symlink_to("photos")
    (source,) = found(tmp_path / "link").plan
    assert (source.source, source.path) == (str(tmp_path / "link"), "a.png")


@POSIX
def test_a_fifo_is_no_input_unless_named_and_then_it_fails(tmp_path: Path) -> None:
    make(tmp_path, "a.png")
    os.mkfifo(tmp_path / "fifo.png")
    result = found(tmp_path)
    assert paths(result) == ["a.png"]
    assert result.skipped == {"not a regular file": 1}
    (named,) = found(tmp_path / "fifo.png").plan
    assert named.failure is not None
    assert named.failure.status is Status.UNREADABLE


@POSIX
def test_a_folder_that_cannot_be_listed_is_one_failed_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path, "a.png", "closed/b.png", "open/c.png")
    listing = os.scandir

    def scandir(path: bytes) -> object:
        if os.path.basename(path.rstrip(b"/")) == b"closed":
            raise PermissionError(13, "Permission denied")
        return listing(path)

    monkeypatch.setattr(os, "scandir", scandir)
    plan = found(tmp_path).plan
    assert [s.path for s in plan] == ["a.png", "closed/", "open/c.png"]
    failure = plan[1].failure
    assert failure is not None
    assert failure.error == "folder cannot be listed: Permission denied"


@POSIX
@pytest.mark.skipif(os.name == "posix" and os.geteuid() == 0, reason="root may read everything")
def test_a_closed_folder_and_a_file_in_it_are_failed_inputs(tmp_path: Path) -> None:
    make(tmp_path, "closed/b.png")
    (tmp_path / "closed").chmod(0)
    try:
        sources = [*found(tmp_path).plan, *found(tmp_path / "closed/b.png").plan]
        assert [s.path for s in sources] == ["closed/", "b.png"]
        assert all(s.failure is not None for s in sources)
    finally:
        (tmp_path / "closed").chmod(0o700)


@POSIX
def test_depth_has_no_limit_but_that_of_the_system(tmp_path: Path) -> None:
    """As deep as a path can be (4,096 bytes on Linux), far beyond a recursion limit of 500."""
    levels = min(
        1900, (min(os.pathconf(tmp_path, "PC_PATH_MAX"), 4096) - len(bytes(tmp_path))) // 2
    )
    levels -= 10
    folders = [f"{tmp_path}{'/d' * depth}" for depth in range(1, levels + 1)]
    for folder in folders:
        os.mkdir(folder)
    make(Path(folders[-1]), "a.png")
    before = sys.getrecursionlimit()
    try:
        sys.setrecursionlimit(500)
        expected = ["d/" * levels + "a.png"]
        assert paths(found(tmp_path)) == expected
        assert paths(found(str(tmp_path / "**" / "*.png"))) == expected
    finally:
        sys.setrecursionlimit(before)
        os.remove(f"{folders[-1]}/a.png")
        for folder in reversed(folders):  # which the clean-up of temporary folders cannot do
            os.rmdir(folder)


# Archives ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "named"),
    [
        ("", []),
        ("*", ["1.zip"]),
        ("*.zip", ["1.zip"]),
        ("[0-9].zip", ["1.zip"]),
        ("**", []),
        ("a", []),
        ("*/*", ["a/2.TAR.GZ"]),
        ("a*/*", ["a/2.TAR.GZ"]),
        ("**/*", ["1.zip", "a/2.TAR.GZ", "a/b/3.tgz"]),
        ("**/*.tgz", ["a/b/3.tgz"]),
        ("**/b/*", ["a/b/3.tgz"]),
        ("**/b", []),
        ("*/b/**", []),
    ],
)
def test_an_archive_is_opened_where_it_is_named_by_itself(
    tmp_path: Path, pattern: str, named: list[str]
) -> None:
    """Not where only a folder above it is; there it is counted."""
    make(tmp_path, "1.zip", "a/2.TAR.GZ", "a/b/3.tgz", "a/.4.zip", "x.png", "a/x.png", "a/b/x.png")
    result = found(str(tmp_path / pattern))
    archives = [s for s in result.plan if s.is_archive]
    assert [os.path.join(s.source, s.path) for s in archives] == [f"{tmp_path}/{n}" for n in named]
    assert all("/" not in s.path for s in archives)
    assert result.plan.archives == len(named)
    assert result.plan.files == len(result.plan) - len(named)


def test_a_limit_leaves_archives_of_unknown_content_in_the_plan(tmp_path: Path) -> None:
    make(tmp_path, "1.zip", *(f"{i}.png" for i in range(9)), "9.zip")
    result = found(tmp_path / "1.zip", tmp_path, tmp_path / "9.zip", limit=3)
    assert paths(result) == ["1.zip", "0.png", "1.png", "2.png"]


def test_a_folder_with_an_archive_s_name_is_a_folder(tmp_path: Path) -> None:
    make(tmp_path, "x.zip/a.png", "y.zip/a.png")
    assert paths(found(tmp_path)) == ["x.zip/a.png", "y.zip/a.png"]
    assert paths(found(tmp_path / "x.zip")) == ["a.png"]


# Memory -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """100 folders of 500 hard links to one file, with names of 24 bytes."""
    root = tmp_path_factory.mktemp("many")
    first = make(tmp_path_factory.mktemp("first"), "first.png") / "first.png"
    for i in range(50_000):
        if i % 500 == 0:
            (root / f"{i // 500:03d}").mkdir()
        os.link(first, f"{root}/{i // 500:03d}/IMG_20240131_{i:07d}.png")
    yield root
    shutil.rmtree(root)


@pytest.mark.parametrize("several", [pytest.param(False, marks=pytest.mark.long), True])
def test_the_plan_of_50000_inputs_costs_below_300_bytes_each(
    many: Path, tmp_path: Path, several: bool
) -> None:
    """At the peak of scanning, also where SOURCEs have to be compared."""
    sources = [many, make(tmp_path, "a.png")] if several else [many]
    tracemalloc.start()
    try:
        result = found(*sources)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(result.plan) == 50_000 + several
    assert isinstance(result.plan[49_999], Source)
    assert peak / 50_000 < 300


@pytest.mark.parametrize("order", [pytest.param("sorted", marks=pytest.mark.long), "shuffled"])
def test_a_list_of_50000_files_costs_no_more(
    many: Path, monkeypatch: pytest.MonkeyPatch, order: str
) -> None:
    """Beside the list itself, which is a stream: here it is in memory before measuring."""
    names = [f"{i // 500:03d}/IMG_20240131_{i:07d}.png" for i in range(50_000)]
    if order == "shuffled":
        random.Random(1).shuffle(names)
    monkeypatch.chdir(many)
    stdin = io.TextIOWrapper(io.BytesIO("\n".join(names).encode()))
    monkeypatch.setattr(sys, "stdin", stdin)
    tracemalloc.start()
    try:
        result = found("-")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert [f"{os.path.basename(s.source)}/{s.path}" for s in result.plan[:3]] == names[:3]
    assert len(result.plan) == 50_000
    assert peak / 50_000 < 300
