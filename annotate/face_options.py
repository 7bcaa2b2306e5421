"""Face options: what a user asks of face detection, in pixels and scores; nothing heavy."""

from __future__ import annotations

import math
from dataclasses import dataclass

DETECTOR = "mtcnn 1.0.0, second look 1"
"""Name of what finds faces, for an output's metadata; changes whenever other faces are found."""

NETWORK_FACE_PX = 20
"""The smallest face that the cascade is asked for, in pixels of the picture it is given."""

DETECT_SIZE_PX = 640
"""Long side of the copy that is searched, unless told otherwise."""

MIN_DETECT_SIZE_PX = 32
MAX_DETECT_SIZE_PX = 4096
"""What it may be set to, and what `auto` may raise it to: a search takes memory and time by the
square of it."""

MIN_FACE_PX = 20
"""Faces whose shorter side has fewer pixels in the original are left out, unless told otherwise."""

MIN_SCORE = 0.7
"""The default threshold; see docs/faces.md."""

LOOK_PX = 1280
"""Long side of the picture that the second look wants, or the whole picture if that is smaller."""


@dataclass(frozen=True, slots=True)
class FaceOptions:
    """Which faces count. detect_size_px: long side of the picture that is searched; None is
    `auto`: as large as it takes for a face of min_face_px to have NETWORK_FACE_PX, and at least
    DETECT_SIZE_PX. min_face_px: shorter side of the box in the original. min_score: 0 to 1.
    max_faces: keep the largest; None for all.
    """

    detect_size_px: int | None = DETECT_SIZE_PX
    min_face_px: int = MIN_FACE_PX
    min_score: float = MIN_SCORE
    max_faces: int | None = None

    def search_px(self, long_px: int) -> int:
        """Long side at which a photograph of the given long side is searched; never enlarged."""
        wanted = self.detect_size_px
        if wanted is None:
            finest = math.ceil(long_px * NETWORK_FACE_PX / self.min_face_px)
            wanted = min(max(finest, DETECT_SIZE_PX), MAX_DETECT_SIZE_PX)
        return min(wanted, long_px)

    @property
    def enough_long_px(self) -> int | None:
        """Long side down to which a photograph may be reduced before its faces are looked for;
        None for not at all.
        """
        if self.detect_size_px is None:
            return None
        return max(self.detect_size_px, LOOK_PX)
