"""XMP: regions in the stored picture, keywords, and what other readers make of them."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from annotate.export.exporting import ExportConfig, run_export
from annotate.export.labelled import Face, Input
from annotate.export.xmp import keywords, packet
from annotate.images import decode, stored_orientation
from tests.hand_made import face_at
from tests.pictures import FORMATS, ORIENTATIONS, chunk, drawing, encoded, failure, skip_if_absent
from tests.test_exporters_rows import saved

NAMES = {
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "dc": "http://purl.org/dc/elements/1.1/",
    "lr": "http://ns.adobe.com/lightroom/1.0/",
    "mwg-rs": "http://www.metadataworkinggroup.com/schemas/regions/",
    "stArea": "http://ns.adobe.com/xmp/sType/Area#",
    "stDim": "http://ns.adobe.com/xap/1.0/sType/Dimensions#",
}
"""Namespaces, as exiv2.org lists them."""

Region = dict[str, Any]


def an_input(*faces: Face, width: int = 400, height: int = 200) -> Input:
    return Input(b"/f/a.jpg", b"a.jpg", "a.jpg", "0" * 64, width, height, None, faces)


def regions(data: bytes) -> tuple[Region, list[Region]]:
    """The dimensions of a sidecar and its regions, by an independent parser."""
    whole = ET.fromstring(data).find("rdf:RDF/rdf:Description/mwg-rs:Regions", NAMES)
    assert whole is not None
    found = []
    for item in whole.findall("mwg-rs:RegionList/rdf:Bag/rdf:li", NAMES):
        area = item.find("mwg-rs:Area", NAMES)
        assert area is not None
        found.append(
            plain(area)
            | {
                "type": item.findtext("mwg-rs:Type", None, NAMES),
                "description": item.findtext("mwg-rs:Description", None, NAMES),
            }
        )
    dimensions = whole.find("mwg-rs:AppliedToDimensions", NAMES)
    assert dimensions is not None
    return plain(dimensions), found


def plain(element: ET.Element) -> Region:
    """The properties of a structure, without their namespaces."""
    return {name.partition("}")[2]: value for name, value in element.attrib.items()}


def bag(data: bytes, name: str) -> list[str | None]:
    found = ET.fromstring(data).findall(f"rdf:RDF/rdf:Description/{name}/rdf:Bag/rdf:li", NAMES)
    return [item.text for item in found]


# Upright: 400 x 200, the box from (40, 20) to (120, 80): its centre is at 0.2, 0.25 and its sides
# are 0.2 and 0.3 of the picture's. By orientation, centre and sides in the stored picture.
BY_HAND = {
    1: (400, 200, 0.2, 0.25, 0.2, 0.3),
    2: (400, 200, 0.8, 0.25, 0.2, 0.3),
    3: (400, 200, 0.8, 0.75, 0.2, 0.3),
    4: (400, 200, 0.2, 0.75, 0.2, 0.3),
    5: (200, 400, 0.25, 0.2, 0.3, 0.2),
    6: (200, 400, 0.25, 0.8, 0.3, 0.2),
    7: (200, 400, 0.75, 0.8, 0.3, 0.2),
    8: (200, 400, 0.75, 0.2, 0.3, 0.2),
}


@pytest.mark.parametrize("orientation", range(1, 9))
def test_regions_are_relative_to_the_stored_picture(orientation: int) -> None:
    item = an_input(Face((40, 20, 120, 80), gender="female", age=31.4))
    dimensions, (region,) = regions(packet(item, orientation))
    width, height, *area = BY_HAND[orientation]
    assert dimensions == {"w": str(width), "h": str(height), "unit": "pixel"}
    assert [float(region[key]) for key in "xywh"] == pytest.approx(area)
    assert (region["unit"], region["type"]) == ("normalized", "Face")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_region_lies_on_its_face_in_the_file(tmp_path: Path, kind: str, orientation: int) -> None:
    """Against the pixels of the stored picture, as a program sees them that turns nothing."""
    skip_if_absent(kind)
    upright = Image.new("RGB", (64, 32), "black")
    box = (8, 4, 24, 12)
    upright.paste("white", box)
    stored = upright if orientation == 1 else upright.transpose(ORIENTATIONS[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = FORMATS[kind][0] | {"exif": exif.tobytes()}
    file = tmp_path / "originals" / "a.jpg"
    file.parent.mkdir()
    file.write_bytes(encoded(stored, kind, **options))
    seen = decode(file.read_bytes())
    assert np.abs(seen.pixels.astype(int) - np.asarray(upright).astype(int)).max() < 40

    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    row = face_at("a.jpg", 0, box, source=str(file.parent), sha256=sha256, width=64, height=32)
    config = ExportConfig(str(saved(tmp_path, row)), "xmp", str(tmp_path / "tree"), workers=1)
    assert run_export(config).tally.inputs == 1
    dimensions, (region,) = regions((tmp_path / "tree" / "a.jpg.xmp").read_bytes())

    width, height = stored.size
    assert (int(dimensions["w"]), int(dimensions["h"])) == (width, height)
    x, y, w, h = (float(region[key]) for key in "xywh")
    left, right = round((x - w / 2) * width), round((x + w / 2) * width)
    top, bottom = round((y - h / 2) * height), round((y + h / 2) * height)
    light = np.asarray(stored.convert("L")) > 127
    assert light[top:bottom, left:right].all()
    assert light.sum() == (bottom - top) * (right - left)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "MPO", "HEIF", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_of_a_file(kind: str, orientation: int) -> None:
    """What EXIF says; the pixels of an AVIF are turned by its decoder, and nothing else is."""
    skip_if_absent(kind)
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(drawing(), kind, exif=exif.tobytes(), **FORMATS[kind][0])
    assert stored_orientation(data) == (1 if kind == "AVIF" else orientation)


def test_the_orientation_behind_the_pixels_of_a_png_and_in_xmp() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(drawing(), "PNG")
    end = data.index(b"IEND") - 4
    behind = data[:end] + chunk(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0")) + data[end:]
    assert stored_orientation(behind) == 6
    xmp = b'<x xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="8"/>'
    assert stored_orientation(encoded(drawing(), "JPEG", xmp=xmp)) == 8


@pytest.mark.parametrize(
    "data", [b"", b"no picture", encoded(drawing(), "PNG")[:40], encoded(drawing(), "PNG")[:-30]]
)
def test_the_orientation_of_what_is_no_picture(data: bytes) -> None:
    with pytest.raises(type(failure(data))):
        stored_orientation(data)


def test_keywords_name_gender_and_age_band_once() -> None:
    faces = [
        Face((0, 0, 9, 9), gender="female", age=31.4),
        Face((0, 0, 9, 9), gender="female", age=39.99, flags=("blurred",)),
        Face((0, 0, 9, 9), gender="male", age=80.0, flags=("uncertain",)),
        Face((0, 0, 9, 9)),
    ]
    data = packet(an_input(*faces), 1)
    assert bag(data, "dc:subject") == [
        "people/age/30-39",
        "people/age/80+",
        "people/female",
        "people/male",
        "people/uncertain",
    ]
    assert bag(data, "lr:hierarchicalSubject") == [
        "people|age|30-39",
        "people|age|80+",
        "people|female",
        "people|male",
        "people|uncertain",
    ]
    _, found = regions(data)
    assert [region["description"] for region in found] == [
        "female, age 31",
        "female, age 40",
        "male, age 80, uncertain",
        None,
    ]


@pytest.mark.parametrize(
    ("age", "band"),
    [(0, "0-2"), (2.99, "0-2"), (3, "3-9"), (17.99, "10-17"), (18, "18-29"), (79.9, "70-79")],
)
def test_ages_fall_into_the_bands_of_reports(age: float, band: str) -> None:
    assert keywords([Face((0, 0, 9, 9), age=age)]) == [("people", "age", band)]


def test_without_a_label_there_are_regions_and_no_keywords() -> None:
    data = packet(an_input(Face((0, 0, 9, 9))), 1)
    assert b"dc:subject" not in data
    assert len(regions(data)[1]) == 1


@settings(deadline=None)
@given(
    st.integers(1, 8),
    st.tuples(*[st.floats(0, 1)] * 4),
    st.integers(1, 50_000),
    st.integers(1, 50_000),
)
def test_a_region_stays_in_the_picture_and_keeps_its_area(
    orientation: int, corners: tuple[float, ...], width: int, height: int
) -> None:
    left, right = sorted(corners[:2])
    top, bottom = sorted(corners[2:])
    box = (left * width, top * height, right * width, bottom * height)
    dimensions, (region,) = regions(
        packet(an_input(Face(box), width=width, height=height), orientation)
    )
    x, y, w, h = (float(region[key]) for key in "xywh")
    assert -1e-5 < x - w / 2 <= x + w / 2 < 1 + 1e-5
    assert -1e-5 < y - h / 2 <= y + h / 2 < 1 + 1e-5
    assert w * h == pytest.approx((right - left) * (bottom - top), abs=1e-5)
    assert {dimensions["w"], dimensions["h"]} == {str(width), str(height)}


@pytest.mark.skipif(shutil.which("exiftool") is None, reason="exiftool is not installed")
def test_exiftool_reads_it(tmp_path: Path) -> None:
    item = an_input(Face((40, 20, 120, 80), gender="female", age=31.4, flags=("uncertain",)))
    (tmp_path / "a.jpg.xmp").write_bytes(packet(item, 6))
    words = ["exiftool", "-json", "-struct", "-validate", "-xmp:all", str(tmp_path / "a.jpg.xmp")]
    done = subprocess.run(words, capture_output=True, timeout=300, check=True)
    (found,) = json.loads(done.stdout)
    assert found["Validate"] == "OK"
    assert found["RegionInfo"] == {
        "AppliedToDimensions": {"W": 200, "H": 400, "Unit": "pixel"},
        "RegionList": [
            {
                "Area": {"X": 0.25, "Y": 0.8, "W": 0.3, "H": 0.2, "Unit": "normalized"},
                "Type": "Face",
                "Description": "female, age 31, uncertain",
            }
        ],
    }
    assert found["Subject"] == ["people/age/30-39", "people/female", "people/uncertain"]
    assert found["HierarchicalSubject"] == [path.replace("/", "|") for path in found["Subject"]]


def test_exiv2_reads_it(tmp_path: Path) -> None:
    """Exiv2 has Adobe's own parser inside; digiKam and darktable read by it."""
    pyexiv2 = pytest.importorskip("pyexiv2", reason="pyexiv2 is not installed")
    item = an_input(Face((40, 20, 120, 80), gender="male", age=8))
    (tmp_path / "a.jpg.xmp").write_bytes(packet(item, 8))
    with pyexiv2.Image(str(tmp_path / "a.jpg.xmp")) as sidecar:
        found = sidecar.read_xmp()
    region = "Xmp.mwg-rs.Regions/mwg-rs:RegionList[1]/mwg-rs:"
    assert [found[f"{region}Area/stArea:{key}"] for key in "xywh"] == [
        "0.750000",
        "0.200000",
        "0.300000",
        "0.200000",
    ]
    assert found[f"{region}Type"] == "Face"
    assert found["Xmp.dc.subject"] == ["people/age/3-9", "people/male"]
    assert found["Xmp.lr.hierarchicalSubject"] == ["people|age|3-9", "people|male"]
