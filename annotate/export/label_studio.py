"""Label Studio: the inputs of an output in, tasks with predictions and the labelling set-up out.

A face is a rectangle in per cent of the upright picture, as browsers show it, labelled `female` or
`male`, and has its age as a number of the same region.
Source: labelstud.io, "Import pre-annotated data" and the tags RectangleLabels and Number.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, BinaryIO
from urllib.parse import quote

from annotate.export.json_files import pictures, write_values
from annotate.export.labelled import Face, Input, Labelled
from annotate.export.tally import Tally

SERVED_AT = "/data/local-files/?d="
"""Where Label Studio serves files below LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT."""

CONFIG = """\
<View>
  <Image name="image" value="$image" zoom="true" zoomControl="true"/>
  <RectangleLabels name="gender" toName="image" canRotate="false" strokeWidth="2">
    <Label value="female" background="#b5446e" hotkey="f"/>
    <Label value="male" background="#2f6690" hotkey="m"/>
  </RectangleLabels>
  <View visibleWhen="region-selected">
    <Header value="Age in years" size="5"/>
    <Number name="age" toName="image" perRegion="true" min="0" max="150" step="1" hotkey="a"/>
  </View>
</View>
"""
"""The labelling set-up that the tasks fit: paste it under Settings, Labeling Interface, Code."""


def local_prefix(labelled: Labelled) -> str:
    """What comes before a picture's path where Label Studio serves the common folder itself.

    The folder above it has to be the document root: a storage must not be that root itself.
    """
    name = os.path.basename(labelled.folder)
    return SERVED_AT + (quote(name) + "/" if name else "")


def write_tasks(
    labelled: Labelled, file: BinaryIO, *, prefix: str, faces_only: bool = False
) -> Tally:
    """Write a task for each picture.

    prefix: of the pictures' addresses; their quoted path below the common folder follows.
    faces_only: leave out pictures without a face.
    Returns what is in the file. Raises OSError.
    """
    tally = Tally()
    model = model_version(labelled)
    found = pictures(labelled, tally, faces_only=faces_only)
    write_values(file, (_task(item, prefix, model) for _, item in found))
    return tally


def model_version(labelled: Labelled) -> str:
    """Which model made the labels, in words; text outputs do not say."""
    if labelled.model is None:
        return "annotate"
    return " ".join([labelled.model, (labelled.model_sha256 or "")[:12]]).strip()


def _task(item: Input, prefix: str, model: str) -> dict[str, Any]:
    """A task. The lowest score of its faces is the picture's, by which Label Studio sorts."""
    data = {"image": prefix + quote(item.relative), "path": item.path, "sha256": item.sha256}
    prediction: dict[str, Any] = {"model_version": model, "result": list(_results(item))}
    scores = [face.gender_probability for face in item.faces]
    known = [score for score in scores if score is not None]
    if known:
        prediction["score"] = round(min(known), 4)
    return {"data": data, "predictions": [prediction] if item.faces else []}


def _results(item: Input) -> Iterator[dict[str, Any]]:
    """Of each face its rectangle and, with the same id, its age."""
    for number, face in enumerate(item.faces, 1):
        region = {
            "id": f"face-{number}",
            "to_name": "image",
            "original_width": item.width,
            "original_height": item.height,
            "image_rotation": 0,
        }
        place = _place(face, item)
        rectangle: dict[str, Any] = region | {
            "from_name": "gender",
            "type": "rectanglelabels",
            "value": place | {"rectanglelabels": [face.gender]},
        }
        if words := _words(face):
            rectangle["meta"] = {"text": [words]}
        if face.gender_probability is not None:
            rectangle["score"] = round(face.gender_probability, 4)
        yield rectangle
        if face.age is not None:
            value = place | {"number": round(face.age)}
            yield region | {"from_name": "age", "type": "number", "value": value}


def _place(face: Face, item: Input) -> dict[str, float]:
    """The box in per cent of the picture."""
    left, right = (round(100 * x / item.width, 6) for x in face.box[::2])
    top, bottom = (round(100 * y / item.height, 6) for y in face.box[1::2])
    return {
        "x": left,
        "y": top,
        "width": round(right - left, 6),
        "height": round(bottom - top, 6),
        "rotation": 0,
    }


def _words(face: Face) -> str:
    """What a person who corrects the face may want to know, such as `age 24 to 39 (80 %)`."""
    words = []
    if face.age_p10 is not None and face.age_p90 is not None:
        words.append(f"age {face.age_p10:.0f} to {face.age_p90:.0f} (80 %)")
    return ", ".join([*words, *face.flags])
