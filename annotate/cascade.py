"""The cascade: a picture in, likely faces out: boxes, probabilities and five landmarks.

MTCNN on ONNX Runtime: P-Net looks for faces at every scale of a pyramid, R-Net and O-Net judge
what it proposes, ever closer. The pyramid, the boxes and the non-maximum suppression are NumPy.
Source: Zhang et al. 2016; numbers as in mtcnn 1.0.0 unless said.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import onnxruntime

from annotate.face_networks import ONET_PX, RNET_PX, load_networks
from annotate.face_options import NETWORK_FACE_PX
from annotate.images import Pixels

Floats = npt.NDArray[np.float32]

CELL_PX = 12
"""What one output of P-Net sees. The pyramid ends where a side gets shorter."""

CELL_STRIDE_PX = 2
PYRAMID_FACTOR = 0.709
"""From one level of the pyramid to the next: half the area."""

PNET_LEVEL_OVERLAP = 0.5
OVERLAP = 0.7
"""Of two boxes that overlap more, the one of lower probability goes; at the end, as a share of the
smaller one."""

_STRIP_PIXELS = 2**17
_PATCHES_TOGETHER = 64
"""Pixels that P-Net, and patches that R-Net and O-Net take at a time: 30 and 60 MB. The memory of a
search is bounded by these, and not by what a picture shows."""

MAX_PROPOSALS = 4000
"""Cells that one level of the pyramid may propose, the likeliest; a face has about 16 of them, and
the suppression compares each with each."""

MAX_FINDS = 2000
"""Likely faces of one picture, the likeliest: a second look at one takes 5 ms."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """The least probability, 0 to 1, with which a box leaves each network.

    P-Net's is mtcnn's. The other two are lower than mtcnn's 0.7 and 0.8: `faces.py` looks at
    what is left a second time, and that tells faces from others better.
    """

    pnet: float = 0.6
    rnet: float = 0.6
    onet: float = 0.3


@dataclass(frozen=True, slots=True)
class Detections:
    """N likely faces of one picture, MAX_FINDS at most, the likeliest first.

    boxes: float32 (N, 4), x_min, y_min, x_max, y_max in pixels; may reach beyond the picture.
    scores: float32 (N,), 0 to 1. landmarks: float32 (N, 5, 2), (x, y) in pixels of the eye on the
    left of the picture, the other one, the tip of the nose, the left and the right mouth corner.
    """

    boxes: Floats
    scores: Floats
    landmarks: Floats

    def __len__(self) -> int:
        return len(self.boxes)


class Cascade:
    """Finds likely faces, on one thread."""

    def __init__(self, thresholds: Thresholds = Thresholds()) -> None:
        self._networks = load_networks()
        self._thresholds = thresholds

    def detect(self, pixels: Pixels, *, min_face_px: float = NETWORK_FACE_PX) -> Detections:
        """Find the likely faces of a picture at the size that it has.

        pixels: uint8 (h, w, 3) RGB. min_face_px: much smaller faces are not looked for.
        """
        planes = as_planes(pixels)
        proposals = self._propose(planes, min_face_px)
        return self._judge(planes, self._refine(planes, proposals))

    def judge(self, pictures: Floats, boxes: Floats, picture_of: npt.NDArray[np.int64]) -> Judged:
        """O-Net's opinion of boxes. pictures: (b, 3, h, w), see `as_planes`. boxes: (n, 4)."""
        corners = _patch_corners(boxes, ONET_PX)
        return Judged(*_in_parts(self._networks.onet, pictures, corners, picture_of))

    def _propose(self, planes: Floats, min_face_px: float) -> Floats:
        """P-Net at every scale. Returns squares (n, 5): corners and probability."""
        found = [np.empty((0, 5), np.float32)]
        for level_px, scale in _pyramid(max(planes.shape[1:]), min_face_px):
            level = _shrink(planes, level_px)
            boxes = _proposals(self._cells(level), self._thresholds.pnet)
            boxes[:, :4] /= scale
            found.append(boxes[_suppress(boxes, PNET_LEVEL_OVERLAP)])
        together = _sorted(np.concatenate(found))
        return _squared(together[_suppress(together, OVERLAP)])

    def _cells(self, level: Floats) -> Floats:
        """P-Net on a level (3, h, w), in strips of rows: its layers take 200 bytes a pixel.

        Returns (5, h', w'): the same as in one piece, for a cell is all that an output sees.
        """
        _, height, width = level.shape
        rows = max(1, _STRIP_PIXELS // width // CELL_STRIDE_PX)
        strips = []
        for first in range(0, -(-(height - CELL_PX + CELL_STRIDE_PX) // CELL_STRIDE_PX), rows):
            top = first * CELL_STRIDE_PX
            # The last strip goes to the end, where the network pads what is odd.
            bottom = top + (rows - 1) * CELL_STRIDE_PX + CELL_PX
            strip = np.ascontiguousarray(level[:, top:bottom])
            strips.append(self._networks.pnet.run(None, {"pixels": strip[None]})[0][0])
        return np.concatenate(strips, axis=1)

    def _refine(self, planes: Floats, boxes: Floats) -> Floats:
        """R-Net on the proposals. Returns squares (n, 5)."""
        if not len(boxes):
            return boxes
        corners = _patch_corners(_inside(boxes, planes), RNET_PX)
        offsets, probability = _in_parts(
            self._networks.rnet, planes[None], corners, np.zeros(len(boxes), np.int64)
        )
        moved = np.column_stack([_moved(boxes, offsets), probability])
        moved = _sorted(moved[probability > self._thresholds.rnet])
        return _squared(moved[_suppress(moved, OVERLAP)])

    def _judge(self, planes: Floats, boxes: Floats) -> Detections:
        """O-Net on what is left: the final boxes, and the landmarks."""
        if not len(boxes):
            return Detections(boxes[:, :4], boxes[:, 4], np.empty((0, 5, 2), np.float32))
        said = self.judge(planes[None], _inside(boxes, planes), np.zeros(len(boxes), np.int64))
        moved = np.column_stack([said.boxes_from(boxes), said.probability])
        likeliest = np.argsort(-said.probability, kind="stable")
        likeliest = likeliest[said.probability[likeliest] > self._thresholds.onet]
        kept = likeliest[_suppress(moved[likeliest], OVERLAP, of_smaller=True)][:MAX_FINDS]
        landmarks = said.landmarks_in(boxes)[kept]
        return Detections(moved[kept, :4], said.probability[kept], landmarks)


@dataclass(frozen=True, slots=True)
class Judged:
    """What O-Net says of n boxes. offsets (n, 4), relative (n, 10) and probability (n,)."""

    offsets: Floats
    relative: Floats
    probability: Floats

    def boxes_from(self, boxes: Floats) -> Floats:
        """Corners (n, 4) of the faces. boxes: (n, 4 or 5), those that were judged."""
        return _moved(boxes, self.offsets)

    def landmarks_in(self, boxes: Floats) -> Floats:
        """Landmarks (n, 5, 2) in pixels. boxes: (n, 4 or 5), those that were judged."""
        corner = boxes[:, None, :2]
        size = boxes[:, None, 2:4] - corner + 1
        relative = self.relative.reshape(-1, 2, 5).transpose(0, 2, 1)
        return np.asarray(relative * size + corner - 1, np.float32)


def _in_parts(
    network: onnxruntime.InferenceSession,
    pictures: Floats,
    corners: Floats,
    picture_of: npt.NDArray[np.int64],
) -> list[Floats]:
    """R-Net's or O-Net's outputs for n patches. pictures: (b, 3, h, w). corners: (n, 4)."""
    parts = []
    for first in range(0, len(corners), _PATCHES_TOGETHER):
        part = slice(first, first + _PATCHES_TOGETHER)
        given = {"pixels": pictures, "boxes": corners[part], "picture_of": picture_of[part]}
        parts.append(network.run(None, given))
    return [np.concatenate(outputs) for outputs in zip(*parts, strict=True)]


def as_planes(pixels: Pixels) -> Floats:
    """A picture as the networks take it. pixels: uint8 (h, w, 3). Returns float32 (3, h, w)."""
    return np.multiply(pixels.transpose(2, 0, 1), np.float32(1 / 128), order="C")


def _pyramid(side: int, min_face_px: float) -> list[tuple[int, float]]:
    """(longer side in pixels, scale) of each level that a picture is searched at.

    The levels do not depend on min_face_px; those that look for faces of less than a quarter
    of it are left out: what they find of larger ones still moves boxes.
    """
    scale = CELL_PX / NETWORK_FACE_PX
    levels = []
    while int(side * scale) >= CELL_PX:
        if CELL_PX / scale >= min_face_px / 4:
            levels.append((int(side * scale), scale))
        scale *= PYRAMID_FACTOR
    return levels


def _shrink(planes: Floats, level_px: int) -> Floats:
    """A level of the pyramid: each new pixel is the mean of the area it covers.

    planes: (3, h, w). level_px: what the longer side becomes. One cell of black is added below
    and to the right, so that faces that the edge cuts are seen.
    """
    _, height, width = planes.shape
    side = max(height, width)
    rows = min(level_px, -(-height * level_px // side) + CELL_PX)
    columns = min(level_px, -(-width * level_px // side) + CELL_PX)
    step = side / level_px
    shrunk = _mean_rows(planes, step, rows)
    return _mean_rows(shrunk.transpose(0, 2, 1), step, columns).transpose(0, 2, 1)


_BLOCK_BOXES = 256
"""Boxes that are compared with all others at a time."""

_BLOCK_ROWS = 64
"""Rows of the source that a block covers."""


def _mean_rows(planes: Floats, step: float, rows: int) -> Floats:
    """Means of `step` rows each, black beyond the last. planes: (3, h, w). Returns (3, rows, w).

    A banded matrix times the planes, done in blocks: the whole matrix is nearly all zeros.
    """
    shrunk = np.empty((3, rows, planes.shape[2]), np.float32)
    for new, old, weights in _mean_blocks(planes.shape[1], step, rows):
        np.matmul(weights, planes[:, old], out=shrunk[:, new])
    return shrunk


@lru_cache(maxsize=64)
def _mean_blocks(height: int, step: float, rows: int) -> list[tuple[slice, slice, Floats]]:
    """(new rows, the source's rows that they cover, weights (new, source)) of each block."""
    blocks = []
    size = max(1, round(_BLOCK_ROWS / step))
    for first in range(0, rows, size):
        last = min(first + size, rows)
        edges = np.minimum(np.arange(first, last + 1) * step, height)
        top, bottom = int(edges[0]), min(int(np.ceil(edges[-1])), height)
        source = np.arange(top, bottom)
        covered = np.minimum(edges[1:, None], source + 1) - np.maximum(edges[:-1, None], source)
        weights = (np.maximum(covered, 0) / step).astype(np.float32)
        blocks.append((slice(first, last), slice(top, bottom), weights))
    return blocks


def _proposals(cells: Floats, threshold: float) -> Floats:
    """The boxes of P-Net's likely cells. cells: (5, h, w), offsets in cells and the logit.

    Returns (n, 5) in pixels of the level, the likeliest first.
    """
    offsets, logits = cells[:4], cells[4]
    rows, columns = np.nonzero(logits > np.log(threshold / (1 - threshold)))
    likeliest = np.argsort(-logits[rows, columns], kind="stable")[:MAX_PROPOSALS]
    rows, columns = rows[likeliest], columns[likeliest]
    # The cell's corners count from 1, as in the Matlab code that the networks come from.
    left, top = columns * CELL_STRIDE_PX + 1, rows * CELL_STRIDE_PX + 1
    corners = np.stack([left, top, left + CELL_PX - 1, top + CELL_PX - 1], axis=1)
    moved = corners + offsets[:, rows, columns].T * (CELL_PX - 1)
    probability = 1 / (1 + np.exp(-logits[rows, columns]))
    return np.column_stack([moved, probability]).astype(np.float32)


def _sorted(boxes: Floats) -> Floats:
    """Boxes (n, 5), the likeliest first."""
    return boxes[np.argsort(-boxes[:, 4], kind="stable")]


def _suppress(boxes: Floats, limit: float, *, of_smaller: bool = False) -> npt.NDArray[np.intp]:
    """Indexes of the boxes that no likelier one overlaps by more than limit.

    boxes: (n, 5), the likeliest first. A box counts even where it goes itself, as in mtcnn.
    """
    left, top, right, bottom = boxes[:, :4].T
    area = (right - left) * (bottom - top)
    stays = np.ones(len(boxes), bool)
    for first in range(0, len(boxes), _BLOCK_BOXES):
        these = slice(first, first + _BLOCK_BOXES), None
        # Only later boxes can go.
        width = np.minimum(right[these], right[first:]) - np.maximum(left[these], left[first:])
        height = np.minimum(bottom[these], bottom[first:]) - np.maximum(top[these], top[first:])
        shared = np.maximum(width, 0) * np.maximum(height, 0)
        sum_or_smaller = np.minimum if of_smaller else np.add
        whole = sum_or_smaller(area[these], area[first:])
        if not of_smaller:
            whole -= shared
        stays[first:] &= ~np.triu(shared > limit * whole, k=1).any(axis=0)
    return np.flatnonzero(stays)


def _squared(boxes: Floats) -> Floats:
    """Boxes (n, 5) made square about their centres, by the longer side."""
    squares = boxes.copy()
    centre = (boxes[:, :2] + boxes[:, 2:4]) / 2
    half = (boxes[:, 2:4] - boxes[:, :2]).max(axis=1, keepdims=True) / 2
    squares[:, :2], squares[:, 2:4] = centre - half, centre + half
    return squares


def _moved(boxes: Floats, offsets: Floats) -> Floats:
    """Corners (n, 4) of boxes (n, 5) after offsets (n, 4), which count in widths and heights."""
    size = boxes[:, 2:4] - boxes[:, :2] + 1
    return boxes[:, :4] + offsets * np.tile(size, 2)


def _inside(boxes: Floats, planes: Floats) -> Floats:
    """Corners (n, 4) as mtcnn samples them: its pictures end half a pixel early on each side."""
    side = max(planes.shape[1:])
    return boxes[:, :4] * np.float32((side - 1) / side)


def _patch_corners(corners: Floats, patch_px: int) -> Floats:
    """Corners for RoiAlign of the patches whose outer samples lie on the given corners (n, 4).

    RoiAlign samples the centres of bins and counts from pixel corners; the networks were trained
    with samples from edge to edge, on pixel centres.
    """
    step = (corners[:, 2:] - corners[:, :2]) / np.float32(patch_px - 1)
    spread = np.concatenate([corners[:, :2] - step / 2, corners[:, 2:] + step / 2], axis=1)
    return np.asarray(spread + 0.5, np.float32)
