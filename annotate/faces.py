"""Faces: a decoded photograph in, its faces out: boxes, scores and landmarks, left to right.

The cascade searches a small copy of the photograph. What it finds is looked at a second time,
upright and at the best resolution that there is: that tells faces from what resembles them, and
places the landmarks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from PIL import Image

from annotate.alignment import Matrix, crop_side, warp
from annotate.cascade import Cascade, Detections, as_planes
from annotate.face_options import FaceOptions
from annotate.images import Picture, Pixels
from annotate.records import Face

Floats = npt.NDArray[np.float32]

EDGE_SHARE = 0.02
"""A box that comes nearer to the picture's border than this share of its longer side may be cut
by it, and is flagged `edge`."""

_VIEW_PX = 96
_VIEW_BOX_PX = 64.0
_VIEWS = ((0.85, 0.0, 0.0), (1.0, 0.0, 0.0), (1.2, 0.0, 0.0))
_MORE_VIEWS = (
    (0.75, 0.0, 0.0),
    (1.35, 0.0, 0.0),
    (1.0, -0.08, 0.0),
    (1.0, 0.08, 0.0),
    (1.0, 0.0, -0.08),
    (1.0, 0.0, 0.08),
)
"""How the second look varies a box: its scale, and shifts to the right and down as shares of it.
Each view is mirrored, too."""

_CLEARLY_NONE = 0.5
_CLEARLY_A_FACE = 0.9
"""Between the two, _MORE_VIEWS are taken: of one true face in 15."""

_FACES_TOGETHER = 16
"""Finds that are looked at together: one takes 0.3 MB, and a crowd has thousands."""

_MIRRORED = [1, 0, 2, 4, 3]
"""The landmarks' order after mirroring: left is right."""


def find_faces(picture: Picture, options: FaceOptions) -> list[Face]:
    """The faces of a photograph, by the left edge of their boxes.

    picture: may be decoded at reduced scale; boxes and landmarks are in pixels of the full one.
    Flags: `edge` alone; the others need the crops.
    """
    height, width = picture.pixels.shape[:2]
    # A decoder rounds sides up, each by itself.
    to_full = np.array([picture.width / width, picture.height / height])
    found = _search(picture.pixels, options, float(to_full.max()))
    if not len(found):
        return []
    scores, landmarks = _look_again(picture.pixels, found)
    limits = np.array([picture.width, picture.height] * 2, np.float32)
    boxes = np.clip(found.boxes * np.tile(to_full, 2), 0, limits)
    sides = np.minimum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])
    landmarks = landmarks * to_full
    # A face whose landmarks fall together cannot be cut out.
    has_crop = np.array([crop_side(points) >= 1 for points in landmarks])
    wanted = (scores >= options.min_score) & (sides >= options.min_face_px)
    kept = np.flatnonzero(wanted & has_crop)
    if options.max_faces is not None:
        kept = kept[np.argsort(-sides[kept], kind="stable")][: options.max_faces]
    kept = kept[np.lexsort((boxes[kept, 1], boxes[kept, 0]))]
    return [_face(boxes[i], scores[i], landmarks[i], limits) for i in kept]


def _face(box: Floats, score: float, landmarks: Matrix, limits: Floats) -> Face:
    margin = EDGE_SHARE * max(box[2:] - box[:2])
    is_cut = bool((box[:2] < margin).any() or (limits[2:] - box[2:] < margin).any())
    left, top, right, bottom = (float(value) for value in box)
    return Face(
        (left, top, right, bottom),
        score=float(score),
        landmarks=tuple((float(x), float(y)) for x, y in landmarks),
        flags=("edge",) if is_cut else (),
    )


def load_detector() -> None:
    """Build what the first photograph would wait for."""
    _cascade()


@lru_cache(maxsize=1)
def _cascade() -> Cascade:
    """One a process; its networks take 0.1 s to build."""
    return Cascade()


def _search(pixels: Pixels, options: FaceOptions, to_full: float) -> Detections:
    """The cascade over a small copy; its findings in pixels of the picture."""
    height, width = pixels.shape[:2]
    long_px = max(height, width)
    scale = options.search_px(round(long_px * to_full)) / long_px
    if scale < 1:
        size = max(1, round(width * scale)), max(1, round(height * scale))
        small = Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)
        searched = np.asarray(small)
    else:
        scale, searched = 1.0, pixels
    smallest_px = options.min_face_px / to_full * scale
    found = _cascade().detect(searched, min_face_px=smallest_px)
    return Detections(
        found.boxes / np.float32(scale), found.scores, found.landmarks / np.float32(scale)
    )


def _look_again(pixels: Pixels, found: Detections) -> tuple[Floats, Matrix]:
    """O-Net's opinion of each face, upright, in several views.

    Returns scores (n,), see `_score`, and landmarks (n, 5, 2) in pixels of the picture.
    """
    matrices = [
        _upright(box, landmarks)
        for box, landmarks in zip(found.boxes, found.landmarks, strict=True)
    ]
    looks = [
        _look_at(pixels, matrices[first : first + _FACES_TOGETHER])
        for first in range(0, len(matrices), _FACES_TOGETHER)
    ]
    scores, landmarks = (np.concatenate(parts) for parts in zip(*looks, strict=True))
    return scores, landmarks


def _look_at(pixels: Pixels, matrices: Sequence[Matrix]) -> tuple[Floats, Matrix]:
    """The same for a few faces. matrices: see `_upright`."""
    planes = np.stack([as_planes(warp(pixels, matrix, _VIEW_PX)) for matrix in matrices])
    opinion = _views(planes, _VIEWS)
    scores = _score(opinion)
    doubtful = (opinion.probability.mean(axis=0) >= _CLEARLY_NONE) & (scores < _CLEARLY_A_FACE)
    if doubtful.any():
        more = _views(planes[doubtful], _MORE_VIEWS)
        scores[doubtful] = _score(
            _Opinion(
                np.concatenate([opinion.probability[:, doubtful], more.probability]),
                np.concatenate([opinion.boxes[:, doubtful], more.boxes]),
                opinion.landmarks,
            )
        )
    mean = opinion.landmarks.mean(axis=0, dtype=np.float64)
    landmarks = [
        points @ matrix[:, :2].T + matrix[:, 2]
        for points, matrix in zip(mean, matrices, strict=True)
    ]
    return scores, np.stack(landmarks)


@dataclass(frozen=True, slots=True)
class _Opinion:
    """What O-Net says of n faces in v views: probability (v, n), boxes (v, n, 4) and landmarks
    (v, n, 5, 2), in pixels of the view, mirrored back.
    """

    probability: Floats
    boxes: Floats
    landmarks: Floats


def _score(opinion: _Opinion) -> Floats:
    """How sure a face is, 0 to 1: the mean probability, less how far the views disagree on where
    its box is, as a share of the box. What only resembles a face depends on the view.
    """
    spread = (opinion.boxes - opinion.boxes.mean(axis=0)) / _VIEW_BOX_PX
    disagreement = np.sqrt((spread**2).sum(axis=-1).mean(axis=0))
    return np.asarray(np.maximum(opinion.probability.mean(axis=0) - disagreement, 0), np.float32)


def _views(planes: Floats, views: Sequence[tuple[float, float, float]]) -> _Opinion:
    """O-Net on views of the same boxes. planes: (n, 3, _VIEW_PX, _VIEW_PX)."""
    count = len(planes)
    both = np.concatenate([planes, planes[..., ::-1]])
    corners = []
    for scale, right, down in views:
        half = scale / 2
        for side in (right, -right):
            corners.append((side - half, down - half, side + half, down + half))
    # The networks count from pixel centres.
    centred = (_VIEW_PX - 1) / 2 + _VIEW_BOX_PX * np.array(corners, np.float32)
    boxes = np.repeat(centred.astype(np.float32), count, axis=0)
    said = _cascade().judge(both, boxes, np.tile(np.arange(2 * count), len(views)))
    shape = (len(views), 2, count)
    placed = said.boxes_from(boxes).reshape(*shape, 4)
    placed[:, 1] = placed[:, 1][..., [2, 1, 0, 3]] * (-1, 1, -1, 1) + (_VIEW_PX - 1, 0) * 2
    points = (said.landmarks_in(boxes) + 0.5).reshape(*shape, 5, 2)
    points[:, 1, ..., 0] = _VIEW_PX - points[:, 1, ..., 0]
    points[:, 1] = points[:, 1][..., _MIRRORED, :]
    return _Opinion(
        said.probability.reshape(-1, count),
        placed.reshape(-1, count, 4),
        points.reshape(-1, count, 5, 2),
    )


def _upright(box: Floats, landmarks: Floats) -> Matrix:
    """From a view's coordinates to the picture's: the box's square, turned as the face is."""
    across = (landmarks[1] - landmarks[0]) + (landmarks[4] - landmarks[3])
    angle = math.atan2(across[1], across[0])
    # At least a pixel: a degenerate box must not end a run.
    side = max(float((box[2:] - box[:2]).max()), 1.0) / _VIEW_BOX_PX
    cosine, sine = side * math.cos(angle), side * math.sin(angle)
    turn = np.array([[cosine, -sine], [sine, cosine]])
    centre = (box[:2] + box[2:]).astype(np.float64) / 2 + 0.5
    return np.column_stack([turn, centre - turn @ (_VIEW_PX / 2, _VIEW_PX / 2)])
