"""Seeds: small whole files of every format that annotate reads, from which mutations are made.

Bytes that are not pixels are where parsers go wrong, so that most of them carry metadata too.
"""

from __future__ import annotations

import functools
import gzip
import io
import struct
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import matplotlib
from PIL import Image, ImageCms, PngImagePlugin, TiffImagePlugin, features

from annotate.images import FORMATS
from tests.kinds import HAS_HEIF, SIZE, TINY_HEIC, all_kinds, plain
from tests.pictures import encoded, tiff

PICTURES = (*FORMATS, "MPO", *(["HEIF"] if HAS_HEIF else []))
ARCHIVES = ("ZIP", "TAR", "TAR.GZ")
SUFFIXES = {"ZIP": ".zip", "TAR": ".tar", "TAR.GZ": ".tar.gz"}

_FACE_BOX = (135, 85, 385, 365)
_FACE_SIZE = (75, 84)
"""Where the face of grace_hopper.jpg lies, and how large the seeds show it."""

_XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF'
    b' xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description'
    b' xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/></rdf:RDF></x:xmpmeta>'
)


@functools.cache
def seeds() -> dict[str, tuple[bytes, ...]]:
    """Whole files, by format; formats that this machine cannot write are left out."""
    found: dict[str, list[bytes]] = {kind: [] for kind in PICTURES}
    for kind in all_kinds().values():
        if kind.status == "ok":
            found[format_of(kind.data)].append(kind.data)
    for data in (*_with_metadata(), *_with_faces(), *_odd_tiffs(), _run_length_bmp()):
        found[format_of(data)].append(data)
    pictures = {kind: tuple(files) for kind, files in found.items() if files}
    return pictures | _archives(pictures)


def format_of(data: bytes) -> str:
    """Which of PICTURES a whole file is."""
    if data[4:8] == b"ftyp" and data[8:12] not in (b"avif", b"avis"):
        return "HEIF"
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        return str(image.format)


def _exif() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010F] = "a camera"
    exif[0x011A] = TiffImagePlugin.IFDRational(72, 1)
    exif.get_ifd(0x8769).update({0x9003: "2019:07:04 12:34:56", 0x9291: "12", 0x829A: 0.01})
    exif.get_ifd(0x8825)[1] = "N"
    return exif


def _with_metadata() -> list[bytes]:
    """Pictures with EXIF, XMP, a colour profile and texts, as far as their formats have them."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    profile = profile[:24] + bytes(12) + profile[36:]  # when it was made
    texts = PngImagePlugin.PngInfo()
    texts.add_text("comment", "some text")
    texts.add_text("packed", "some text " * 20, zip=True)
    texts.add_itxt("XML:com.adobe.xmp", _XMP.decode())
    both: dict[str, Any] = {"exif": _exif(), "icc_profile": profile}
    wanted: list[tuple[str, dict[str, Any]]] = [
        ("JPEG", both | {"xmp": _XMP, "comment": b"a comment", "progressive": True}),
        ("JPEG", both | {"xmp": _XMP, "restart_marker_blocks": 1}),
        ("PNG", both | {"pnginfo": texts}),
        ("WEBP", both | {"xmp": _XMP}),
        ("WEBP", both | {"xmp": _XMP, "lossless": True}),
        ("TIFF", both | {"compression": "tiff_lzw"}),
        ("AVIF", both | {"xmp": _XMP}),
        ("GIF", {"comment": b"a comment", "interlace": 1}),
        ("JPEG2000", {"comment": "a comment", "tile_size": (16, 16), "quality_layers": [20, 0]}),
    ]
    if HAS_HEIF:
        wanted += [("HEIF", {"exif": _exif().tobytes(), "xmp": _XMP})]
    needed = {"WEBP": "webp", "AVIF": "avif", "JPEG2000": "jpg_2000"}
    made = [
        encoded(plain("P" if kind == "GIF" else "RGB"), kind, **options)
        for kind, options in wanted
        if kind not in needed or features.check(needed[kind])
    ]
    return made + ([TINY_HEIC] if HAS_HEIF else [])


def _with_faces() -> list[bytes]:
    """A portrait in which a face is found, so that all of the detector runs."""
    path = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
    with Image.open(path) as photograph:
        face = photograph.convert("RGB").crop(_FACE_BOX).resize(_FACE_SIZE)
    kinds = ["JPEG", "WEBP"] if features.check("webp") else ["JPEG"]
    return [encoded(face, kind, quality=85) for kind in kinds]


def _odd_tiffs() -> list[bytes]:
    """What few programs write, each through a code path of its own."""
    found = [_tiled_tiff()]
    for compression in ("packbits", "group3", "lzma", "zstd"):
        mode = "1" if compression == "group3" else "RGB"
        try:
            found.append(encoded(plain(mode), "TIFF", compression=compression))
        except (OSError, ValueError):  # this libtiff was built without
            continue
    inks = encoded(plain("CMYK"), "TIFF", compression="tiff_adobe_deflate")
    lab = Image.new("LAB", SIZE, (128, 10, 20))
    return [*found, inks, encoded(lab, "TIFF"), encoded(plain("YCbCr"), "TIFF")]


def _tiled_tiff() -> bytes:
    """48 x 32 gray pixels in six tiles of 16 x 16."""
    tags = [
        (256, 3, 1, 48), (257, 3, 1, 32), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1),
        (277, 3, 1, 1), (322, 3, 1, 16), (323, 3, 1, 16), (324, 4, 6, 134), (325, 4, 6, 158),
    ]  # fmt: skip
    places = struct.pack("<6L", *(182 + 256 * i for i in range(6)))
    return tiff(tags, places + struct.pack("<6L", *[256] * 6) + bytes(range(256)) * 6)


def _run_length_bmp() -> bytes:
    """8 x 4 pixels: runs, pixels one by one, a jump, ends of lines."""
    palette = b"".join(bytes([i, 255 - i, 7, 0]) for i in range(256))
    body = bytes.fromhex("0805 0000 0003010203 00 0000 0002 0201 0409 0000 0809 0001")
    info = struct.pack("<LllHHLLllLL", 40, 8, 4, 1, 8, 1, len(body), 0, 0, 0, 0)
    start = 14 + len(info) + len(palette)
    return struct.pack("<2sLHHL", b"BM", start + len(body), 0, 0, start) + info + palette + body


def _archives(pictures: dict[str, tuple[bytes, ...]]) -> dict[str, tuple[bytes, ...]]:
    """Archives of one picture of each format, and of what archives hold besides."""
    members = {f"a/{kind.lower()}.jpg": files[0] for kind, files in pictures.items()}
    small = dict(list(members.items())[:3])
    zips = [_zip(small, zipfile.ZIP_STORED)]
    zips += [_zip(small, method) for method in (zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2)]
    zips += [_zip(small, zipfile.ZIP_LZMA), _zip(members, zipfile.ZIP_DEFLATED, is_64=True)]
    formats = (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)
    tars = [_tar(small, format) for format in formats]
    packed = [gzip.compress(data, mtime=0) for data in tars]
    half = len(tars[0]) // 2
    packed.append(gzip.compress(tars[0][:half], mtime=0) + gzip.compress(tars[0][half:], mtime=0))
    return {"ZIP": tuple(zips), "TAR": tuple(tars), "TAR.GZ": tuple(packed)}


def _zip(members: dict[str, bytes], method: int, *, is_64: bool = False) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.comment = b"a comment"
        for name, data in members.items():
            info = zipfile.ZipInfo(name, (2024, 2, 29, 1, 2, 4))
            info.compress_type = method
            info.extra = struct.pack("<HHBi", 0x5455, 5, 1, 1234567890)
            with archive.open(info, "w", force_zip64=is_64) as member:
                member.write(data)
        archive.writestr(zipfile.ZipInfo("folder/", (2024, 1, 1, 0, 0, 0)), b"")
    return buffer.getvalue()


def _tar(members: dict[str, bytes], format: int) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format) as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(f"{'long/' * 22}{name}")
            info.size, info.mtime = len(data), 1234567890
            if format == tarfile.PAX_FORMAT:
                info.pax_headers = {"mtime": "1234567890.5", "comment": "a comment"}
            archive.addfile(info, io.BytesIO(data))
        link = tarfile.TarInfo("link.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "long/a/jpeg.jpg"
        archive.addfile(link)
    whole = buffer.getvalue().rstrip(b"\0")  # tarfile fills up to 10 KB with zeros
    return whole + bytes(-len(whole) % 512 + 1024)
