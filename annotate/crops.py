"""Crops: the aligned faces of a photograph in, files for people to look at out."""

from __future__ import annotations

import contextlib
import io
import os
import secrets
from collections.abc import Iterable
from functools import lru_cache

from PIL import Image

from annotate.errors import AnnotateError, shown
from annotate.images import Pixels
from annotate.plan import Plan
from annotate.selection import Selection

QUALITY = 95
"""JPEG quality of saved crops."""


def check_crops_folder(folder: str, sources: Iterable[str], selection: Selection) -> None:
    """Make sure that no later run of the same SOURCEs labels the crops of this one.

    Raises AnnotateError.
    """
    for source in sources:
        if os.path.isdir(source) and selection.is_walked(source, folder):
            raise AnnotateError(
                f"the folder for crops, {shown(folder, 300)}, lies in {shown(source, 300)}, and the"
                " next run would take the crops for photographs: name one outside, or a hidden one"
            )


def check_no_inputs_in(folder: str, plan: Plan) -> None:
    """Make sure that no crop takes the name of an input. Raises AnnotateError."""
    real = os.path.realpath(os.fsencode(folder))
    if not os.path.isdir(real):
        return
    # Most inputs share their folder with others.
    real_folder = lru_cache(1024)(os.path.realpath)
    for key in range(len(plan)):
        if real_folder(os.path.dirname(plan.location(key))) == real:
            raise AnnotateError(
                f"the folder for crops, {shown(folder, 300)}, holds inputs of this run: name"
                " another"
            )


def make_crops_folder(folder: str) -> None:
    """Make sure that crops can be saved. Raises AnnotateError."""
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        reason = error.strerror or str(error)
        raise AnnotateError(
            f"cannot make the folder {shown(folder, 300)} for crops: {reason}"
        ) from error


def save_crops(folder: str, sha256: str, crops: Pixels) -> None:
    """Write crops (F, s, s, 3) as `SHA256_INDEX.jpg`, each complete or not at all.

    Raises AnnotateError.
    """
    for index, crop in enumerate(crops):
        try:
            _save(folder, f"{sha256}_{index}.jpg", crop)
        except OSError as error:
            reason = error.strerror or str(error)
            raise AnnotateError(f"cannot write a crop to {shown(folder, 300)}: {reason}") from error


def _save(folder: str, name: str, crop: Pixels) -> None:
    # Pillow, given a file, takes a write that a full disk cut short for a complete one.
    data = io.BytesIO()
    Image.fromarray(crop).save(data, "JPEG", quality=QUALITY, subsampling=0)
    temporary = os.path.join(folder, f".{name}.{secrets.token_hex(4)}.part")
    try:
        with open(temporary, "xb") as file:
            file.write(data.getbuffer())
        os.replace(temporary, os.path.join(folder, name))
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
