"""Faces: a decoded photograph in, its faces out: boxes, scores and landmarks, left to right.

The cascade searches a small copy of the photograph. What it finds is looked at a second time,
upright and at the best resolution that there is: that tells faces from what resembles them, and
places the landmarks.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from PIL import Image

from annotate.alignment import Matrix, warp
from annotate.cascade import Cascade, Detections, as_planes
from annotate.face_options import FaceOptions
from annotate.images import Picture, Pixels
from annotate.records import Face

Floats = npt.NDArray[np.float32]

EDGE_SHARE = 0.02
"""A box that comes nearer to the picture's border than this share of its longer side may be cut
by it, and is flagged `edge`."""

_VIEW_PX = 80
_VIEW_BOX_PX = 64.0
_VIEW_SCALES = (0.85, 1.0, 1.2)
"""Of the box, by which the second look varies it; each view is also mirrored."""

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
    kept = np.flatnonzero((scores >= options.min_score) & (sides >= options.min_face_px))
    if options.max_faces is not None:
        kept = kept[np.argsort(-sides[kept], kind="stable")][: options.max_faces]
    kept = kept[np.lexsort((boxes[kept, 1], boxes[kept, 0]))]
    landmarks = landmarks * to_full
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
    """O-Net's mean opinion of each face, upright, at several scales and mirrored.

    Returns scores (n,) and landmarks (n, 5, 2), in pixels of the picture.
    """
    count = len(found)
    matrices = [
        _upright(box, landmarks)
        for box, landmarks in zip(found.boxes, found.landmarks, strict=True)
    ]
    views = np.stack([as_planes(warp(pixels, matrix, _VIEW_PX)) for matrix in matrices])
    both = np.concatenate([views, views[..., ::-1]])
    half = np.repeat(np.array(_VIEW_SCALES, np.float32) * _VIEW_BOX_PX / 2, 2 * count)[:, None]
    # The networks count from pixel centres.
    boxes = np.asarray((_VIEW_PX - 1) / 2 + half * (-1, -1, 1, 1), np.float32)
    picture_of = np.tile(np.arange(2 * count), len(_VIEW_SCALES))
    said = _cascade().judge(both, boxes, picture_of)
    shape = (len(_VIEW_SCALES), 2, count)
    placed = (said.landmarks_in(boxes) + 0.5).reshape(*shape, 5, 2)
    placed[:, 1, ..., 0] = _VIEW_PX - placed[:, 1, ..., 0]
    placed[:, 1] = placed[:, 1][..., _MIRRORED, :]
    mean = placed.mean(axis=(0, 1), dtype=np.float64)
    landmarks = [
        points @ matrix[:, :2].T + matrix[:, 2]
        for points, matrix in zip(mean, matrices, strict=True)
    ]
    return said.probability.reshape(shape).mean(axis=(0, 1)), np.stack(landmarks)


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
