"""COCO: the inputs of an output in, a data set for object detection in one JSON file out.

`bbox` is [left, top, width, height] in pixels of the upright picture. What else annotate says of a
face stands in `attributes`, where CVAT has such things.
Source: "Data format" at cocodataset.org.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

from annotate.export.json_files import as_json, pictures, write_values
from annotate.export.labelled import Face, Input, Labelled
from annotate.export.tally import Tally
from annotate.slices import GENDERS
from annotate.version import __version__

CATEGORIES = {gender: number for number, gender in enumerate(GENDERS, 1)}
"""Category ids, the same in every file: 1 female, 2 male."""


def write_coco(labelled: Labelled, file: BinaryIO, *, faces_only: bool = False) -> Tally:
    """Write a data set: images in the order of the rows, numbered from 1, and so their faces.

    faces_only: leave out images without a face; they are what a detector learns as background.
    Returns what is in it. Raises OSError.
    """
    tally = Tally()
    found = pictures(labelled, tally, faces_only=faces_only)
    again = pictures(labelled, Tally(), faces_only=faces_only)
    file.write(b'{"info": ' + as_json(_info(labelled)) + b',\n"licenses": [],\n"categories": ')
    write_values(file, _categories())
    file.write(b',\n"images": ')
    write_values(file, (_image(n, name, item) for n, (name, item) in enumerate(found, 1)))
    file.write(b',\n"annotations": ')
    write_values(file, _annotations(item for _, item in again))
    file.write(b"}\n")
    return tally


def _info(labelled: Labelled) -> dict[str, Any]:
    return {
        "description": "Faces labelled with apparent age and gender",
        "version": f"annotate {__version__}",
        "model": labelled.model,
        "model_sha256": labelled.model_sha256,
    }


def _categories() -> Iterator[dict[str, Any]]:
    for name, number in CATEGORIES.items():
        yield {"id": number, "name": name, "supercategory": "face"}


def _image(number: int, name: str, item: Input) -> dict[str, Any]:
    image: dict[str, Any] = {
        "id": number,
        "file_name": name,
        "width": item.width,
        "height": item.height,
    }
    if item.captured is not None:
        image["date_captured"] = item.captured
    return image | {"sha256": item.sha256}


def _annotations(items: Iterator[Input]) -> Iterator[dict[str, Any]]:
    number = 0
    for image, item in enumerate(items, 1):
        for face in item.faces:
            number += 1
            yield _annotation(number, image, face)


def _annotation(number: int, image: int, face: Face) -> dict[str, Any]:
    left, top, right, bottom = (round(edge, 2) for edge in face.box)
    width, height = round(right - left, 2), round(bottom - top, 2)
    return {
        "id": number,
        "image_id": image,
        "category_id": CATEGORIES[str(face.gender)],
        "bbox": [left, top, width, height],
        "area": round(width * height, 2),
        "iscrowd": 0,
        "segmentation": [],  # a box is no outline, and pycocotools wants the key
        "attributes": {
            "age": rounded(face.age, 2),
            "age_p10": rounded(face.age_p10, 2),
            "age_p90": rounded(face.age_p90, 2),
            "female_probability": rounded(face.female_probability, 4),
            "detection_score": rounded(face.detection_score, 4),
            "flags": list(face.flags),
        },
    }


def rounded(value: float | None, digits: int) -> float | None:
    """A number as people write it; None where there is none."""
    return None if value is None else round(value, digits)
