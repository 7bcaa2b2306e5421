"""Photographs: the bytes of a file in, the crops of its faces out.

A large JPEG is decoded at reduced scale for finding faces, and once more, at the scale that they
need, where a face would otherwise get fewer pixels than the network takes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from annotate.alignment import CROP_PX, crop_matrix, crop_side, warp
from annotate.face_options import FaceOptions
from annotate.faces import find_faces
from annotate.flags import pixel_flags
from annotate.images import MAX_PIXELS, Picture, Pixels, decode
from annotate.records import FLAGS, Face


@dataclass(frozen=True, slots=True)
class CutFaces:
    """A photograph's F faces, left to right. picture: as it was decoded last.

    crops: uint8 (F, S, S, 3), aligned. full_crops: (F, CROP_PX, CROP_PX, 3) where they were asked
    for, else F is 0 there.
    """

    picture: Picture
    faces: tuple[Face, ...]
    crops: Pixels
    full_crops: Pixels


def cut_faces(
    data: bytes,
    size_px: int,
    options: FaceOptions,
    *,
    max_pixels: int = MAX_PIXELS,
    keep_full: bool = False,
) -> CutFaces:
    """Find the faces of a photograph and cut them out, aligned.

    data: the bytes of an image file. size_px: side of the crops. keep_full: make crops for people
    to look at, too. Raises ImageError.
    """
    picture = decode(data, enough_long_px=options.enough_long_px, max_pixels=max_pixels)
    faces = find_faces(picture, options)
    if not faces:
        none = np.empty((0, size_px, size_px, 3), np.uint8)
        return CutFaces(picture, (), none, np.empty((0, CROP_PX, CROP_PX, 3), np.uint8))
    largest_px = CROP_PX if keep_full else size_px
    picture = _sharp_enough(picture, data, faces, largest_px, max_pixels)
    crops = np.stack([_cut(picture, face, size_px) for face in faces])
    full = [_cut(picture, face, CROP_PX) for face in faces] if keep_full else []
    return CutFaces(
        picture,
        tuple(_flagged(picture, face, crop) for face, crop in zip(faces, crops, strict=True)),
        crops,
        np.array(full, np.uint8).reshape(-1, CROP_PX, CROP_PX, 3),
    )


def _sharp_enough(
    picture: Picture, data: bytes, faces: Sequence[Face], size_px: int, max_pixels: int
) -> Picture:
    """The picture, decoded again where a crop of size_px would show fewer pixels than there are."""
    full_px, decoded_px = max(picture.width, picture.height), max(picture.pixels.shape[:2])
    smallest_px = min(crop_side(_landmarks(face)) for face in faces)
    needed_px = math.ceil(full_px * min(1.0, size_px / smallest_px))
    if needed_px <= decoded_px:
        return picture
    return decode(data, enough_long_px=needed_px, max_pixels=max_pixels)


def _landmarks(face: Face) -> tuple[tuple[float, float], ...]:
    assert face.landmarks is not None
    return face.landmarks


def _cut(picture: Picture, face: Face, size_px: int) -> Pixels:
    """One aligned crop, (size_px, size_px, 3)."""
    height, width = picture.pixels.shape[:2]
    matrix = crop_matrix(_landmarks(face), size_px)
    reduced = np.array([width / picture.width, height / picture.height])
    return warp(picture.pixels, matrix * reduced[:, None], size_px)


def _flagged(picture: Picture, face: Face, crop: Pixels) -> Face:
    """The face with the remarks on its pixels. A crop that shows a small face enlarged would look
    blurred: such a face is judged at the size that it has.
    """
    side_px = max(8, round(crop_side(_landmarks(face))))
    judged = crop if side_px >= len(crop) else _cut(picture, face, side_px)
    left, top, right, bottom = face.box
    flags = {*face.flags, *pixel_flags(judged, min(right - left, bottom - top))}
    return replace(face, flags=tuple(flag for flag in FLAGS if flag in flags))
