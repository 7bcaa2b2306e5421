"""Matching: two outputs in; which of their inputs, and of the faces in these, are the same, out.

Inputs are the same where their bytes are. Faces of one input are the same where their boxes overlap
most. R rows, I inputs, P pairs; -1 stands for none.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from annotate.central_faces import Flags, floats
from annotate.errors import AnnotateError
from annotate.metrics import Floats, Integers
from annotate.records import Status

MIN_IOU = 0.3
"""Boxes that overlap less are two faces. Those of two people hardly ever overlap so much, and each
face has one partner at most."""

MAX_FACES = 2000
"""Faces that annotate finds in a photograph at most. What has more is no output of annotate."""

_PAIRS_AT_ONCE = 2_000_000
_EDGES = ("x_min", "y_min", "x_max", "y_max")


class Found(IntEnum):
    """How the inputs of two outputs were found to belong together.

    CONTENT: they have the same bytes. PATH: the same path, and of one the bytes are not known.
    REWRITTEN: the same path with other bytes, so that their faces are not compared.
    """

    CONTENT = 0
    PATH = 1
    REWRITTEN = 2


@dataclass(frozen=True)
class Inputs:
    """The inputs of an output, numbered in the order of their rows.

    first: int64 (I,), the first row of each. of_row: int64 (R,), the input of each row. is_face:
    (R,), whether the row is one of a face.
    """

    first: Integers
    of_row: Integers
    is_face: Flags

    def __len__(self) -> int:
        return len(self.first)


@dataclass(frozen=True)
class Matches:
    """What two outputs A and B have in common.

    a, b: their inputs. input_a, input_b: int64 (P,), pairs of inputs; found: int8 (P,), values of
    Found. face_a, face_b: int64 (F,), rows of the same face, iou: float64 (F,), 0 to 1.
    """

    a: Inputs
    b: Inputs
    input_a: Integers
    input_b: Integers
    found: Integers
    face_a: Integers
    face_b: Integers
    iou: Floats


def match(a: pa.Table, b: pa.Table) -> Matches:
    """Find what two outputs have in common. a, b: as `joining.typed` gives them.

    Raises AnnotateError where an input has more faces than annotate finds.
    """
    keys_a, keys_b = _keys(a, b)
    inputs_a, inputs_b = _inputs(a, keys_a), _inputs(b, keys_b)
    keys_a, keys_b = keys_a.take(inputs_a.first), keys_b.take(inputs_b.first)
    input_a, input_b, found = _match_inputs(keys_a, keys_b)
    is_same = found != Found.REWRITTEN
    pair_of_a = _numbered(input_a[is_same], len(inputs_a))[inputs_a.of_row]
    pair_of_b = _numbered(input_b[is_same], len(inputs_b))[inputs_b.of_row]
    face_a, face_b, iou = _match_faces(
        _Faces(np.where(inputs_a.is_face, pair_of_a, -1), _boxes(a)),
        _Faces(np.where(inputs_b.is_face, pair_of_b, -1), _boxes(b)),
    )
    return Matches(inputs_a, inputs_b, input_a, input_b, found, face_a, face_b, iou)


def partners(a: Integers, b: Integers) -> tuple[Integers, Integers]:
    """Where two lists of keys agree: the first of a key with the first, the second with the second.

    a, b: int64, -1 for no key. Returns indices into a and into b, one each a pair, ascending in b.
    """
    ranks_a, ranks_b = _ranks(a), _ranks(b)
    most = 1 + max(ranks_a.max(initial=0), ranks_b.max(initial=0))
    known_a, known_b = np.flatnonzero(a >= 0), np.flatnonzero(b >= 0)
    _, at_a, at_b = np.intersect1d(
        (a * most + ranks_a)[known_a],
        (b * most + ranks_b)[known_b],
        assume_unique=True,
        return_indices=True,
    )
    order = np.argsort(at_b)
    return known_a[at_a[order]], known_b[at_b[order]]


def common_codes(a: pa.ChunkedArray, b: pa.ChunkedArray) -> tuple[Integers, Integers]:
    """Two columns of text as numbers that are equal where the texts are; -1 for null."""
    # Offsets of 64 bits: the paths of two outputs may take over 2 GiB.
    both = pa.chunked_array([*a.chunks, *b.chunks], a.type).cast(pa.large_string())
    codes = both.combine_chunks().dictionary_encode().indices.fill_null(-1).to_numpy()
    codes = codes.astype(np.int64)
    return codes[: len(a)], codes[len(a) :]


@dataclass(frozen=True)
class _Keys:
    """What tells inputs apart, as common_codes of two outputs. place: of source and path."""

    sha256: Integers
    path: Integers
    place: Integers

    def take(self, rows: Integers) -> _Keys:
        return _Keys(self.sha256[rows], self.path[rows], self.place[rows])


def _keys(a: pa.Table, b: pa.Table) -> tuple[_Keys, _Keys]:
    columns = {
        name: common_codes(a.column(name), b.column(name)) for name in ("sha256", "path", "source")
    }
    places = joint_codes(columns["source"], columns["path"])
    left, right = (
        _Keys(columns["sha256"][side], columns["path"][side], places[side]) for side in (0, 1)
    )
    return left, right


def joint_codes(
    first: tuple[Integers, Integers], second: tuple[Integers, Integers]
) -> tuple[Integers, Integers]:
    """Codes of two columns together, in both outputs; -1 where either is."""
    most = 1 + max(codes.max(initial=0) for codes in second)
    a, b = (
        np.where((one >= 0) & (two >= 0), one * most + two, -1)
        for one, two in zip(first, second, strict=True)
    )
    codes = np.unique(np.concatenate((a, b)), return_inverse=True)[1].astype(np.int64)
    a_codes, b_codes = codes[: len(a)], codes[len(a) :]
    return np.where(a >= 0, a_codes, -1), np.where(b >= 0, b_codes, -1)


def _inputs(table: pa.Table, keys: _Keys) -> Inputs:
    """The inputs of an output. One that was put together from several may tell of an input twice:
    where its first face comes again, another telling begins.
    """
    content, place = keys.sha256 + 1, keys.place + 1
    group = np.unique(place * (1 + content.max(initial=0)) + content, return_inverse=True)[1]
    order = np.argsort(group, kind="stable")
    starts = np.searchsorted(group[order], np.arange(group.max(initial=-1) + 1))
    index = table.column("face_index").cast(pa.int64()).fill_null(-1).to_numpy()[order]
    begins = index == index[starts][group[order]]
    first = order[begins]
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    of_row = np.empty(len(order), np.int64)
    of_row[order] = rank[np.cumsum(begins) - 1]
    is_face = pc.equal(table.column("status").cast(pa.string()), str(Status.OK)).to_numpy()
    most = int(np.bincount(of_row[is_face], minlength=1).max())
    if most > MAX_FACES:
        raise AnnotateError(
            f"an input has {most:,} faces, annotate finds {MAX_FACES:,} at most: expected an output"
            " of annotate run"
        )
    return Inputs(np.sort(first), of_row, is_face)


def _match_inputs(a: _Keys, b: _Keys) -> tuple[Integers, Integers, Integers]:
    """Pairs of inputs, ascending in b, and how each was found.

    Of several inputs with the same bytes those in the same place belong together, then those of the
    same path, then in their order. Where bytes are not known, or differ, the place decides, then a
    path that each output has once.
    """
    partner = np.full(len(b.sha256), -1)
    is_free = np.ones(len(a.sha256), bool)
    by_content = (
        joint_codes((a.sha256, b.sha256), (a.place, b.place)),
        joint_codes((a.sha256, b.sha256), (a.path, b.path)),
        (a.sha256, b.sha256),
    )
    by_path = ((a.place, b.place), _only_once(a.path, b.path))
    found = np.full(len(b.sha256), int(Found.CONTENT))
    for key_a, key_b in (*by_content, *by_path):
        at_a, at_b = partners(np.where(is_free, key_a, -1), np.where(partner < 0, key_b, -1))
        partner[at_b] = at_a
        is_free[at_a] = False
        # No two that are left have the same bytes once all of these have found each other.
        are_known = (a.sha256[at_a] >= 0) & (b.sha256[at_b] >= 0)
        are_same = a.sha256[at_a] == b.sha256[at_b]
        found[at_b] = np.where(
            are_known, np.where(are_same, Found.CONTENT, Found.REWRITTEN), Found.PATH
        )
    is_paired = np.flatnonzero(partner >= 0)
    return partner[is_paired], is_paired, found[is_paired]


def _only_once(a: Integers, b: Integers) -> tuple[Integers, Integers]:
    """Keys that neither list has twice; -1 instead of the others."""
    size = 1 + max(a.max(initial=0), b.max(initial=0))
    is_single = np.ones(size, bool)
    for keys in (a, b):
        is_single &= np.bincount(keys[keys >= 0], minlength=size) <= 1
    return np.where(is_single[a], a, -1), np.where(is_single[b], b, -1)


def _ranks(keys: Integers) -> Integers:
    """How often the key of each item came before it."""
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    ranks = np.empty(len(keys), np.int64)
    ranks[order] = np.arange(len(keys)) - np.searchsorted(ordered, ordered, "left")
    return ranks


def _numbered(items: Integers, size: int) -> Integers:
    """(size,), for each item its number in a list of some of them; -1 for the others."""
    numbers = np.full(size, -1)
    numbers[items] = np.arange(len(items))
    return numbers


@dataclass(frozen=True)
class _Faces:
    """Rows that may be faces. pair: int64 (R,), the pair of inputs that a face is in, -1 for what
    is no face or in none. boxes: float64 (R, 4), NaN where there is none.
    """

    pair: Integers
    boxes: Floats


def _match_faces(a: _Faces, b: _Faces) -> tuple[Integers, Integers, Floats]:
    """Rows of the same faces, ascending in b, and how far their boxes overlap.

    Nearly all have the very box that they had, and are found by their order.
    """
    at_a, at_b = partners(a.pair, b.pair)
    boxes_a, boxes_b = a.boxes[at_a], b.boxes[at_b]
    is_same = ((boxes_a == boxes_b) | (np.isnan(boxes_a) & np.isnan(boxes_b))).all(axis=1)
    same_a, same_b = at_a[is_same], at_b[is_same]
    pairs = [(same_a, same_b, overlap(a.boxes[same_a], b.boxes[same_b]))]
    left_a, left_b = a.pair.copy(), b.pair.copy()
    left_a[same_a] = left_b[same_b] = -1
    for rows_a, rows_b in _portions(left_a, left_b):
        pairs.append(_best_overlaps(a, b, rows_a, rows_b))
    face_a, face_b, iou = (np.concatenate(part) for part in zip(*pairs, strict=True))
    order = np.argsort(face_b)
    return face_a[order], face_b[order], iou[order]


def _portions(a: Integers, b: Integers) -> Iterator[tuple[Integers, Integers]]:
    """All pairs of rows of a and of b in the same pair of inputs, as many inputs at a time as give
    about _PAIRS_AT_ONCE. a, b: int64 (R,), the pair of inputs of each row, -1 for none.
    """
    rows_a, rows_b = (
        np.argsort(pair, kind="stable")[np.count_nonzero(pair < 0) :] for pair in (a, b)
    )
    starts = np.searchsorted(b[rows_b], a[rows_a], "left")
    counts = np.searchsorted(b[rows_b], a[rows_a], "right") - starts
    before = np.cumsum(counts) - counts
    begins = np.flatnonzero(np.diff(a[rows_a], prepend=-1))  # of each pair of inputs
    portion = before[begins] // _PAIRS_AT_ONCE
    bounds = [*begins[np.flatnonzero(np.diff(portion, prepend=-1))], len(rows_a)]
    for start, stop in pairwise(bounds):
        each = counts[start:stop]
        offset = np.arange(each.sum()) - np.repeat(before[start:stop] - before[start], each)
        at_b = np.repeat(starts[start:stop], each) + offset
        yield np.repeat(rows_a[start:stop], each), rows_b[at_b]


def _best_overlaps(
    a: _Faces, b: _Faces, rows_a: Integers, rows_b: Integers
) -> tuple[Integers, Integers, Floats]:
    """Of candidate pairs those that overlap most, each row in one at most. Greedy: the pair that
    overlaps most comes first, of equals the one whose rows come first.
    """
    iou = overlap(a.boxes[rows_a], b.boxes[rows_b])
    enough = np.flatnonzero(iou >= MIN_IOU)
    order = enough[np.lexsort((rows_b[enough], rows_a[enough], -iou[enough]))]
    chosen: list[Integers] = [order[:0]]
    while len(order):
        first_a, first_b = (
            np.unique(rows[order], return_index=True)[1] for rows in (rows_a, rows_b)
        )
        best = order[np.intersect1d(first_a, first_b, assume_unique=True)]
        chosen.append(best)
        is_taken = np.isin(rows_a[order], rows_a[best]) | np.isin(rows_b[order], rows_b[best])
        order = order[~is_taken]
    pairs = np.concatenate(chosen)
    return rows_a[pairs], rows_b[pairs], iou[pairs]


def overlap(a: Floats, b: Floats) -> Floats:
    """Intersection over union of boxes. a, b: (N, 4), x_min, y_min, x_max, y_max. NaN where a box
    is none.
    """
    with np.errstate(all="ignore"):  # a stranger's boxes may be endless, or of no width
        low, high = np.maximum(a[:, :2], b[:, :2]), np.minimum(a[:, 2:], b[:, 2:])
        shared = np.maximum(high - low, 0).prod(axis=1)
        areas = [np.maximum(box[:, 2:] - box[:, :2], 0).prod(axis=1) for box in (a, b)]
        return np.asarray(shared / (areas[0] + areas[1] - shared))


def _boxes(table: pa.Table) -> Floats:
    return np.column_stack([floats(table, name) for name in _EDGES])
