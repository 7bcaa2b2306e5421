"""XMP: an input with its faces in, the text of a sidecar with regions and keywords out.

Regions are relative to the picture as the file stores it, before it is turned by its EXIF
orientation; so are the dimensions that they apply to.
Sources: Metadata Working Group, "Guidelines for Handling Image Metadata" 2.0, of regions; Adobe,
"XMP specification part 1", of how properties are written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from xml.sax.saxutils import escape, quoteattr

import numpy as np

from annotate.export.labelled import Face, Input
from annotate.slices import BAND_NAMES, age_band
from annotate.version import __version__

KEYWORD_ROOT = "people"
"""What all keywords lie below."""

Point = tuple[float, float]

_STORED: dict[int, Callable[[float, float], Point]] = {
    1: lambda x, y: (x, y),
    2: lambda x, y: (1 - x, y),
    3: lambda x, y: (1 - x, 1 - y),
    4: lambda x, y: (x, 1 - y),
    5: lambda x, y: (y, x),
    6: lambda x, y: (y, 1 - x),
    7: lambda x, y: (1 - y, 1 - x),
    8: lambda x, y: (1 - y, x),
}
"""By EXIF orientation, where a point of the upright picture lies in the stored one; both as shares
of width and height. Source: EXIF 2.32, 4.6.4."""

_PACKET = """\
<?xml version="1.0" encoding="UTF-8"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk={toolkit}>
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about=""
    xmlns:dc="http://purl.org/dc/elements/1.1/"
    xmlns:lr="http://ns.adobe.com/lightroom/1.0/"
    xmlns:mwg-rs="http://www.metadataworkinggroup.com/schemas/regions/"
    xmlns:stArea="http://ns.adobe.com/xmp/sType/Area#"
    xmlns:stDim="http://ns.adobe.com/xap/1.0/sType/Dimensions#">
{properties}
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
"""

_BAG = """\
   <{name}>
    <rdf:Bag>
{items}
    </rdf:Bag>
   </{name}>"""

_REGIONS = """\
   <mwg-rs:Regions rdf:parseType="Resource">
    <mwg-rs:AppliedToDimensions stDim:w="{width}" stDim:h="{height}" stDim:unit="pixel"/>
    <mwg-rs:RegionList>
     <rdf:Bag>
{regions}
     </rdf:Bag>
    </mwg-rs:RegionList>
   </mwg-rs:Regions>"""

_REGION = """\
      <rdf:li rdf:parseType="Resource">
       <mwg-rs:Area stArea:x="{x:.6f}" stArea:y="{y:.6f}" stArea:w="{w:.6f}" stArea:h="{h:.6f}"\
 stArea:unit="normalized"/>
       <mwg-rs:Type>Face</mwg-rs:Type>{description}
      </rdf:li>"""


def packet(item: Input, orientation: int) -> bytes:
    """The text of a sidecar. orientation: of the file, EXIF's, 1 to 8."""
    paths = keywords(item.faces)
    is_sideways = orientation >= 5
    width, height = (item.height, item.width) if is_sideways else (item.width, item.height)
    regions = "\n".join(_region(face, item, orientation) for face in item.faces)
    properties = [_REGIONS.format(width=width, height=height, regions=regions)]
    if paths:
        properties.append(_bag("dc:subject", ("/".join(path) for path in paths)))
        properties.append(_bag("lr:hierarchicalSubject", ("|".join(path) for path in paths)))
    text = _PACKET.format(
        toolkit=quoteattr(f"annotate {__version__}"), properties="\n".join(properties)
    )
    return text.encode("utf-8")


def keywords(faces: Iterable[Face]) -> list[tuple[str, ...]]:
    """What faces are labelled, sorted, as paths such as ("people", "age", "30-39")."""
    found: set[tuple[str, ...]] = set()
    for face in faces:
        if face.gender is not None:
            found.add((KEYWORD_ROOT, face.gender))
        if face.age is not None:
            band = BAND_NAMES[int(age_band(np.array([face.age]))[0])]
            found.add((KEYWORD_ROOT, "age", band))
        if "uncertain" in face.flags:
            found.add((KEYWORD_ROOT, "uncertain"))
    return sorted(found)


def area(face: Face, item: Input, orientation: int) -> tuple[float, float, float, float]:
    """Centre x and y, width and height of a face in the stored picture, as shares of its sides."""
    left, top, right, bottom = face.box
    x, y = (left + right) / 2 / item.width, (top + bottom) / 2 / item.height
    w, h = (right - left) / item.width, (bottom - top) / item.height
    return (*_STORED[orientation](x, y), *((h, w) if orientation >= 5 else (w, h)))


def _region(face: Face, item: Input, orientation: int) -> str:
    x, y, w, h = area(face, item, orientation)
    said = _words(face)
    description = (
        f"\n       <mwg-rs:Description>{escape(said)}</mwg-rs:Description>" if said else ""
    )
    return _REGION.format(x=x, y=y, w=w, h=h, description=description)


def _words(face: Face) -> str:
    """Such as `female, age 31 (24 to 39), uncertain`. Keywords do not tell whose they are."""
    words = [] if face.gender is None else [face.gender]
    if face.age is not None:
        interval = ""
        if face.age_p10 is not None and face.age_p90 is not None:
            interval = f" ({face.age_p10:.0f} to {face.age_p90:.0f})"
        words.append(f"age {face.age:.0f}{interval}")
    return ", ".join([*words, *(flag for flag in face.flags if flag == "uncertain")])


def _bag(name: str, values: Iterable[str]) -> str:
    items = "\n".join(f"     <rdf:li>{escape(value)}</rdf:li>" for value in values)
    return _BAG.format(name=name, items=items)
