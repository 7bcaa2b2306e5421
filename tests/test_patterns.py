"""Patterns as SOURCEs: what they match, where they start, what they leave out."""

from __future__ import annotations

from pathlib import Path

import pytest

from annotate import AnnotateError
from tests.trees import POSIX, found, make, paths


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return make(tmp_path, "a/1.png", "a/x/2.png", "a-b.png", "b/1.png", "b/3.jpg", "c.txt", "1.png")


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*", ["1.png", "a-b.png", "a/1.png", "a/x/2.png", "b/1.png", "b/3.jpg"]),
        ("*.png", ["1.png", "a-b.png"]),
        ("**/*.png", ["1.png", "a-b.png", "a/1.png", "a/x/2.png", "b/1.png"]),
        ("**", ["1.png", "a-b.png", "a/1.png", "a/x/2.png", "b/1.png", "b/3.jpg"]),
        ("**/x/*", ["a/x/2.png"]),
        ("**/x", ["a/x/2.png"]),
        ("*/1.png", ["a/1.png", "b/1.png"]),
        ("[ab]", ["a/1.png", "a/x/2.png", "b/1.png", "b/3.jpg"]),
        ("?/?.*g", ["a/1.png", "b/1.png", "b/3.jpg"]),
        ("**/**/2.png", ["a/x/2.png"]),
    ],
)
def test_patterns(tree: Path, pattern: str, expected: list[str]) -> None:
    result = found(str(tree / pattern))
    assert paths(result) == expected
    assert {s.source for s in result.plan} == {str(tree)}
    assert result.skipped["listed twice"] == 0


def test_a_pattern_s_root_is_the_folder_before_its_wildcards(tree: Path) -> None:
    sources = found(str(tree / "a" / "*" / "2.png")).plan
    assert [(s.source, s.path) for s in sources] == [(str(tree / "a"), "x/2.png")]


def test_patterns_keep_to_excludes_and_suffixes(tree: Path) -> None:
    result = found(str(tree / "**"), exclude=("x",))
    assert paths(result) == ["1.png", "a-b.png", "a/1.png", "b/1.png", "b/3.jpg"]
    assert result.skipped == {"excluded": 1, "not an image": 1}


@POSIX
def test_patterns_do_not_follow_linked_folders(tree: Path) -> None:
    (tree / "b" / "loop").symlink_to("..")
    (tree / "b" / "loop2").symlink_to("..")
    result = found(str(tree / "**" / "2.png"))
    assert paths(result) == ["a/x/2.png"]
    assert result.skipped["linked folder"] == 2


def test_a_pattern_that_nothing_matches_is_an_error_also_beside_others(tree: Path) -> None:
    with pytest.raises(AnnotateError, match=r"no file matches .*\*\.tif"):
        found(tree, str(tree / "*.tif"))
