"""Splits: the part of an image follows from its bytes and the seed alone."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.splits import PARTS, TEST_SHARE, hash_lines, part_of, split, united


@given(st.lists(st.binary(max_size=8), min_size=1, max_size=50), st.integers(0, 9))
def test_equal_content_is_always_in_one_part(contents: list[bytes], seed: int) -> None:
    hashes = [hashlib.sha256(content).hexdigest() for content in contents]
    parts = split(hashes, 0.2, seed)
    where: dict[bytes, set[str]] = {}
    for content, part in zip(contents, parts, strict=True):
        where.setdefault(content, set()).add(part)
    assert all(len(found) == 1 for found in where.values())
    assert set(parts) <= set(PARTS)
    assert split(hashes[::-1], 0.2, seed) == parts[::-1]


def test_shares_are_kept_and_the_test_part_is_the_same_for_all() -> None:
    hashes = [hashlib.sha256(str(i).encode()).hexdigest() for i in range(20_000)]
    small, large = split(hashes, 0.1), split(hashes, 0.2)
    for parts, share in ((small, 0.1), (large, 0.2)):
        assert parts.count("test") / 20_000 == pytest.approx(TEST_SHARE, abs=0.01)
        expected = (1 - TEST_SHARE) * share
        assert parts.count("validation") / 20_000 == pytest.approx(expected, abs=0.01)
    assert [a == "test" for a in small] == [b == "test" for b in large]
    assert split(hashes, 0.1, seed=1) != small
    with pytest.raises(ValueError, match="between 0 and 1"):
        split(hashes, 1.0)


def test_a_part_follows_from_the_seeded_hash() -> None:
    # The rule by hand: the first 8 bytes of sha256("seed:hash"), as a share of 2^64.
    sha256 = hashlib.sha256(b"a face").hexdigest()
    position = int(hashlib.sha256(f"7:{sha256}".encode()).hexdigest()[:16], 16) / 2**64
    expected = "test" if position < 0.1 else "validation" if position < 0.1 + 0.9 * 0.3 else "train"
    assert part_of(sha256, 0.3, seed=7) == expected


def test_lists_name_each_image_once_in_order() -> None:
    parts = {"train": {"x.jpg": "b" * 64, "y.jpg": "b" * 64}, "test": {"z.jpg": "a" * 64}}
    assert hash_lines(parts) == ["a" * 16 + " test", "b" * 16 + " train"]


def test_of_several_lists_what_one_trained_on_is_trained_on() -> None:
    one = ["aa train", "bb validation", "cc validation"]
    other = ["bb train", "cc validation", "dd validation"]
    assert united(one, other) == ["aa train", "bb train", "cc validation", "dd validation"]
    assert united(other, [], one) == united(one, other)
    assert united([]) == []
