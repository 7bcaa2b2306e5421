"""Measure face detection and alignment: what docs/faces.md says, one command a figure.

python benchmarks/measure_faces.py template  $UTKFACE
python benchmarks/measure_faces.py threshold $APPA_REAL [--sheet extras.png]
python benchmarks/measure_faces.py alignment $UTKFACE
python benchmarks/measure_faces.py photos    PHOTOS --counts photos.csv
python benchmarks/measure_faces.py speed     PHOTOS [--library]
python benchmarks/measure_faces.py reduction PHOTOS
"""

from __future__ import annotations

import argparse
import csv
import io
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from PIL import Image, ImageDraw

from annotate.alignment import CROP_PX, TEMPLATE, align
from annotate.cascade import Cascade
from annotate.engines import cpu_name, usable_cpus
from annotate.face_options import DETECT_SIZE_PX, MIN_SCORE, FaceOptions
from annotate.faces import find_faces
from annotate.images import SUFFIXES, Picture, decode
from annotate.records import Face

EVERYTHING = FaceOptions(min_score=0.0)
LANDMARKS = ("left eye", "right eye", "nose", "left mouth corner", "right mouth corner")


def images_in(folder: Path) -> list[Path]:
    """The image files of a folder, sorted."""
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)


def faces_of(paths: Sequence[Path]) -> list[list[Face]]:
    """All faces of each picture, whatever their score."""
    return [find_faces(decode(path.read_bytes()), EVERYTHING) for path in paths]


def in_parallel(paths: Sequence[Path], work: Callable[[Sequence[Path]], list[Any]]) -> list[Any]:
    """`work` over chunks of paths on all cores; results in order."""
    chunks = [paths[start : start + 50] for start in range(0, len(paths), 50)]
    done = Parallel(n_jobs=usable_cpus())(delayed(work)(chunk) for chunk in chunks)
    return [result for chunk in done for result in chunk]


def width(face: Face) -> float:
    return face.box[2] - face.box[0]


def template(folder: Path) -> None:
    """Where UTKFace's crops have their landmarks: robust means, and how far they scatter."""
    paths = images_in(folder)
    largest = [max(faces, key=width) if faces else None for faces in in_parallel(paths, faces_of)]
    sure = [face for face in largest if face is not None and (face.score or 0) > 0.9]
    points = np.array([face.landmarks for face in sure])
    centre = np.median(points, axis=0)
    scatter = np.median(np.hypot(*(points - centre).T).T, axis=0)
    print(f"{len(paths):,} crops of {CROP_PX} px, {len(sure):,} with a face of score > 0.9")
    print("landmark               median x, y        half lie within   in the source")
    for name, (x, y), radius, used in zip(LANDMARKS, centre, scatter, TEMPLATE, strict=True):
        print(f"{name:<20} {x:8.1f} {y:8.1f} {radius:14.1f} px   {used[0]:8.1f} {used[1]:8.1f}")


def threshold(folder: Path, sheet: Path | None) -> None:
    """Pictures that show one face: in how many it is found, and what else is, by threshold."""
    paths = images_in(folder)
    found = in_parallel(paths, faces_of)
    print(f"{len(paths):,} pictures")
    print("min score   with a face   other boxes")
    for limit in (0.5, 0.6, 0.65, MIN_SCORE, 0.75, 0.8, 0.9):
        counts = np.array([sum((f.score or 0) >= limit for f in faces) for faces in found])
        others = int(np.maximum(counts - 1, 0).sum())
        print(f"{limit:9.2f} {np.mean(counts > 0):12.2%} {others:13,}")
    missed = [
        path.name
        for path, faces in zip(paths, found, strict=True)
        if not any((f.score or 0) >= MIN_SCORE for f in faces)
    ]
    print(f"no face at {MIN_SCORE}: {len(missed)}: {', '.join(missed)}")
    if sheet is not None:
        draw_others(paths, found, sheet)


def draw_others(paths: Sequence[Path], found: Sequence[list[Face]], sheet: Path) -> None:
    """What else is found, by falling score, for a person to count what is no face."""
    items = []
    for path, faces in zip(paths, found, strict=True):
        largest = max(faces, key=width, default=None)
        items += [(f.score or 0, path, f.box) for f in faces if f is not largest]
    items = sorted((item for item in items if item[0] >= 0.5), reverse=True)
    tile, columns = 128, 12
    page = Image.new("RGB", (columns * tile, -(-len(items) // columns) * (tile + 14)), "white")
    draw = ImageDraw.Draw(page)
    for place, (score, path, box) in enumerate(items):
        x, y = place % columns * tile, place // columns * (tile + 14)
        reach = 1.3 * max(box[2] - box[0], box[3] - box[1])
        across, down = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
        with Image.open(path) as image:
            part = image.convert("RGB").crop(
                (int(across - reach), int(down - reach), int(across + reach), int(down + reach))
            )
        page.paste(part.resize((tile - 2, tile - 2)), (x, y))
        draw.text((x, y + tile), f"{score:.2f}", fill="black")
    page.save(sheet)
    print(f"wrote {sheet}: {len(items)} other boxes of 0.5 and more")


def alignment(folder: Path) -> None:
    """The validation images of `base` as crops, and put back into larger pictures."""
    from annotate import evaluate
    from training.scoring import part_names

    names = part_names("base", folder, "validation")
    print("path         n   not found   age MAE   gender accuracy")
    with tempfile.TemporaryDirectory() as work:
        crops = Path(work) / "crops"
        crops.mkdir()
        for name in names:
            (crops / name).symlink_to((folder / name).resolve())
        plain = scored(evaluate(crops, faces="crop", bootstrap=0).predictions)
        print_scores("crop", plain, len(names))
        for mode in ("reflect", "edge"):
            shown = framed(crops, names, mode)
            found = scored(evaluate(shown, faces="detect", bootstrap=0).predictions)
            print_scores(mode, found, len(names))
            print_scores("crop, those", plain.loc[found.index], len(found))
        print("\nthe same images with reflected borders, cut out in three ways")
        print("picture              way         n   age MAE   gender accuracy")
        for lean in (0.0, 30.0):
            compare_ways(crops, names, lean)


def compare_ways(crops: Path, names: Sequence[str], lean: float) -> None:
    """Aligned crops against squares around the detector's boxes, as other tools cut them.

    lean: pictures are turned by up to so many degrees either way.
    """
    from annotate import load_model

    angles = np.random.default_rng(0).uniform(-lean, lean, len(names))
    paths = [crops / name for name in names]
    jobs = [list(zip(paths[i::20], angles[i::20], strict=True)) for i in range(20)]
    done = Parallel(n_jobs=usable_cpus())(delayed(cut_ways)(job) for job in jobs)
    found = [each for chunk in done for each in chunk]
    labels = [name.split("_")[:2] for name, _ in found]
    ages = np.array([int(age) for age, _ in labels])
    female = np.array([gender == "1" for _, gender in labels])
    model = load_model("base")
    picture = f"leaning up to {lean:.0f}°" if lean else "upright"
    for way in ("aligned", "box", "box + 20 %"):
        predicted = model.predict(np.stack([ways[way] for _, ways in found]))
        error = np.abs(predicted.age - ages).mean()
        right = np.mean((predicted.female_probability >= 0.5) == female)
        print(f"{picture:<20} {way:<10} {len(found):6,} {error:9.3f} {right:17.4f}")


def cut_ways(job: Sequence[tuple[Path, float]]) -> list[tuple[str, dict[str, np.ndarray]]]:
    """(name, way of cutting -> crop at the model's size) of each picture whose face is found."""
    size_px, cut = 96, []
    for path, angle in job:
        with Image.open(path) as image:
            pixels = np.pad(
                np.asarray(image.convert("RGB")), [(100, 100)] * 2 + [(0, 0)], "reflect"
            )
        turned = Image.fromarray(pixels).rotate(angle, Image.Resampling.BICUBIC)
        picture = np.asarray(turned)
        height, width = picture.shape[:2]
        faces = find_faces(Picture(picture, width, height, None), FaceOptions())
        if not faces:
            continue
        face = min(faces, key=lambda f: abs(f.box[0] + f.box[2] - width))
        left, top, right, bottom = face.box
        ways = {"aligned": align(picture, face.landmarks, size_px)}
        for way, margin in (("box", 1.0), ("box + 20 %", 1.2)):
            half = margin * max(right - left, bottom - top) / 2
            across, down = (left + right) / 2, (top + bottom) / 2
            square = turned.crop(
                (int(across - half), int(down - half), int(across + half), int(down + half))
            )
            ways[way] = np.asarray(square.resize((size_px, size_px), Image.Resampling.BILINEAR))
        cut.append((path.name, ways))
    return cut


def scored(predictions: pd.DataFrame) -> pd.DataFrame:
    """The scored rows, by file name."""
    return predictions[predictions["scored"]].set_index("path")


def print_scores(name: str, rows: pd.DataFrame, asked: int) -> None:
    error = (rows["age"] - rows["label_age"]).abs().mean()
    right = (rows["gender"].astype(str) == rows["label_gender"].astype(str)).mean()
    print(f"{name:<12}{len(rows):6,} {asked - len(rows):9,} {error:11.3f} {right:15.4f}")


def framed(crops: Path, names: Sequence[str], mode: str) -> Path:
    """A folder of the crops in the middle of pictures twice as large; mode: as numpy.pad's."""
    folder = crops.parent / mode
    folder.mkdir()
    for name in names:
        with Image.open(crops / name) as image:
            pixels = np.asarray(image.convert("RGB"))
        border = [(side // 2, side // 2) for side in pixels.shape[:2]]
        larger = np.pad(pixels, [*border, (0, 0)], mode=mode)  # type: ignore[call-overload]
        Image.fromarray(larger).save(folder / name, quality=97, subsampling=0)
    return folder


def photos(folder: Path, counts: Path) -> None:
    """The faces of photographs whose faces a person has counted."""
    with open(counts, newline="", encoding="utf-8") as file:
        counted = {row["file"]: int(row["faces"]) for row in csv.DictReader(file)}
    total = 0
    for name, number in counted.items():
        found = find_faces(decode((folder / name).read_bytes()), FaceOptions())
        scores = ", ".join(f"{f.score:.2f}" for f in sorted(found, key=lambda f: f.score or 0)[:3])
        print(f"{name:<24} counted {number:3} found {len(found):3}   lowest {scores}")
        total += len(found)
    print(f"{'all':<24} counted {sum(counted.values()):3} found {total:3}")


def speed(folder: Path, library: bool) -> None:
    """Wall time a photograph: decoding apart, the search alone, and search with second look."""
    print(f"{cpu_name()}, {usable_cpus()} cores, long side {DETECT_SIZE_PX}")
    pictures = [decode(path.read_bytes()) for path in images_in(folder)]
    small = []
    for picture in pictures:
        scale = min(1.0, DETECT_SIZE_PX / max(picture.pixels.shape[:2]))
        size = [round(side * scale) for side in reversed(picture.pixels.shape[:2])]
        small.append(np.asarray(Image.fromarray(picture.pixels).resize((size[0], size[1]))))
    cascade = Cascade()
    print(f"search alone: {best_of(cascade.detect, small) * 1000:.0f} ms a photograph")
    taken = best_of(lambda picture: find_faces(picture, FaceOptions()), pictures)
    print(f"search and second look: {taken * 1000:.0f} ms a photograph")
    repeated = pictures * 4
    started = time.perf_counter()
    Parallel(n_jobs=usable_cpus())(delayed(find_all)(repeated[i::8]) for i in range(8))
    started = time.perf_counter()
    Parallel(n_jobs=usable_cpus())(delayed(find_all)(repeated[i::8]) for i in range(8))
    taken = (time.perf_counter() - started) / len(repeated)
    print(f"search and second look, a process a core: {taken * 1000:.0f} ms a photograph")
    if library:
        print(f"mtcnn's own driver: {library_s(small) * 1000:.0f} ms a photograph")


def find_all(pictures: Sequence[Any]) -> int:
    return sum(len(find_faces(picture, FaceOptions())) for picture in pictures)


def best_of(work: Callable[[Any], Any], items: Sequence[Any], rounds: int = 5) -> float:
    """Seconds an item, in the best of several rounds after one to warm up."""
    taken = []
    for _ in range(rounds + 1):
        started = time.perf_counter()
        for item in items:
            work(item)
        taken.append((time.perf_counter() - started) / len(items))
    return min(taken[1:])


def library_s(small: Sequence[np.ndarray]) -> float:
    """Seconds a photograph that mtcnn's own call takes, on padded squares."""
    with tempfile.TemporaryDirectory() as empty:
        os.chdir(empty)  # it looks for weights in the current folder first
        from mtcnn import MTCNN

        detector = MTCNN()
    squares = []
    for pixels in small:
        square = np.zeros((DETECT_SIZE_PX, DETECT_SIZE_PX, 3), np.float32)
        square[: pixels.shape[0], : pixels.shape[1]] = pixels
        squares.append(square)
    return best_of(detector.detect_faces, squares, rounds=2)


def reduction(folder: Path, side_px: int = 6000) -> None:
    """What decoding at reduced scale changes: the photographs, enlarged, decoded both ways."""
    lost = added = both = 0
    shifts = []
    full_s = reduced_s = 0.0
    for path in images_in(folder):
        with Image.open(path) as image:
            scale = side_px / max(image.size)
            large = image.convert("RGB").resize([round(side * scale) for side in image.size])
        buffer = io.BytesIO()
        large.save(buffer, "JPEG", quality=90)
        data, options = buffer.getvalue(), FaceOptions()
        started = time.perf_counter()
        full = find_faces(decode(data), options)
        full_s += time.perf_counter() - started
        started = time.perf_counter()
        reduced = find_faces(decode(data, enough_long_px=options.enough_long_px), options)
        reduced_s += time.perf_counter() - started
        for face in full:
            distances = [np.abs(np.subtract(face.box, other.box)).max() for other in reduced]
            nearest = min(distances, default=np.inf) / width(face)
            both += nearest < 0.2
            lost += nearest >= 0.2
            shifts += [nearest] if nearest < 0.2 else []
        added += max(0, len(reduced) - len(full))
    print(f"faces in both {both}, in full pictures only {lost}, in reduced ones only {added}")
    print(f"edges of boxes moved by {np.median(shifts):.1%} of the width at the median,", end=" ")
    print(f"{np.max(shifts):.1%} at most")
    print(f"decode and find: {full_s:.1f} s in full, {reduced_s:.1f} s reduced")


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("template", "threshold", "alignment", "photos", "speed", "reduction"):
        commands.add_parser(name).add_argument("folder", type=Path)
    commands.choices["threshold"].add_argument("--sheet", type=Path)
    commands.choices["photos"].add_argument("--counts", type=Path, required=True)
    commands.choices["speed"].add_argument("--library", action="store_true")
    given = vars(parser.parse_args(arguments))
    globals()[given.pop("command")](**given)


if __name__ == "__main__":
    main(sys.argv[1:])
