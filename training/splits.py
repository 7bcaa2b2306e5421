"""Splits by content: SHA-256 sums in, train, validation and test out.

The part of an image follows from its bytes and the seed alone. Byte-identical files therefore
never cross a split, whatever their names and labels say, and a file that is added or missing
moves no other file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence

PARTS = ("train", "validation", "test")

SEED = 2026
"""Seed of the split that the published figures rest on."""

SEEDS = 2**32
"""How many seeds there are, from 0 on: as many as NumPy's old generator takes."""

TEST_SHARE = 0.1
"""Share of the distinct images that no choice is made on, the same for every preset."""

DATA_NAME = "UTKFace, aligned and cropped"
"""The labelled images that are split, as model.json names them."""

HASH_DIGITS = 16
"""Hexadecimal digits of a SHA-256 kept in lists: 64 bits tell 10^5 images apart safely."""


def part_of(sha256: str, validation_share: float, seed: int = SEED) -> str:
    """The part, "train", "validation" or "test", of an image.

    sha256: hexadecimal, of the file's bytes. validation_share: of what is not test, 0 to 1.
    The test part is the same for every validation share.
    """
    digest = hashlib.sha256(f"{seed}:{sha256}".encode()).digest()
    position = int.from_bytes(digest[:8], "big") / 2**64
    if position < TEST_SHARE:
        return "test"
    return "validation" if position < TEST_SHARE + (1 - TEST_SHARE) * validation_share else "train"


def split(hashes: Sequence[str], validation_share: float, seed: int = SEED) -> list[str]:
    """The part of each image, in order. hashes: SHA-256 sums, hexadecimal."""
    if not 0 < validation_share < 1:
        raise ValueError(f"validation_share must lie between 0 and 1, got {validation_share}")
    return [part_of(sha256, validation_share, seed) for sha256 in hashes]


def hash_lines(parts: Mapping[str, Mapping[str, str]]) -> list[str]:
    """`<first 16 digits of the SHA-256> <part>` of each distinct image, sorted.

    parts: part to (name to SHA-256). The form of splits.txt, of training_hashes.txt in a model
    folder, and of the lists in split_lists/.
    """
    return sorted(
        {f"{h[:HASH_DIGITS]} {part}" for part, found in parts.items() for h in found.values()}
    )


def united(*lists: Iterable[str]) -> list[str]:
    """Several lists of hash_lines as one, sorted: what one of them trained on is trained on."""
    lines = {line for found in lists for line in found}
    trained = {line.split()[0] for line in lines if line.endswith(" train")}
    return sorted(
        line for line in lines if line.endswith(" train") or line.split()[0] not in trained
    )
