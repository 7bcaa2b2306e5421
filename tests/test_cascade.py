"""The cascade: its arithmetic by hand, and the whole of it against the package it comes from."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from annotate.cascade import Cascade, Detections, Thresholds, _mean_rows, _suppress, as_planes

LIBRARY = Thresholds(pnet=0.6, rnet=0.7, onet=0.8)
"""What mtcnn uses."""


def overlap(box: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Intersection over union of one box with others, each (x_min, y_min, x_max, y_max)."""
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    shared = np.prod(np.maximum(high - low, 0), axis=1)
    areas = np.prod(others[:, 2:] - others[:, :2], axis=1)
    return np.asarray(shared / (np.prod(box[2:] - box[:2]) + areas - shared))


def at_640(path: Path) -> np.ndarray:
    """A photograph with a long side of 640 pixels."""
    with Image.open(path) as image:
        picture = image.convert("RGB")
    scale = 640 / max(picture.size)
    return np.asarray(picture.resize([round(side * scale) for side in picture.size]))


def portraits() -> list[Path]:
    """The public-domain photographs that come with installed packages."""
    folders = {"matplotlib": "mpl-data/sample_data/grace_hopper.jpg"}
    folders["skimage"] = "data/astronaut.png"
    found = []
    for package, inside in folders.items():
        spec = importlib.util.find_spec(package)
        assert spec is not None
        assert spec.origin is not None
        found.append(Path(spec.origin).parent / inside)
    return found


def assert_as_the_library(
    paths: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> int:
    """The same faces as mtcnn's own driver, which wants a padded square. Returns their number."""
    monkeypatch.chdir(tmp_path)  # mtcnn looks for weights in the current folder first
    mtcnn = pytest.importorskip("mtcnn")
    library, ours = mtcnn.MTCNN(), Cascade(LIBRARY)
    count = 0
    for path in paths:
        pixels = at_640(path)
        square = np.zeros((640, 640, 3), np.float32)
        square[: pixels.shape[0], : pixels.shape[1]] = pixels
        expected = np.asarray(
            library.detect_faces(square, output_type="numpy", box_format="xyxy", fit_to_image=False)
        )
        found = ours.detect(pixels)
        assert len(found) == len(expected), path.name
        for row in expected:
            overlaps = overlap(row[1:5], found.boxes)
            best = int(overlaps.argmax())
            assert overlaps[best] >= 0.95, path.name
            assert found.scores[best] == pytest.approx(row[5], abs=1e-3), path.name
            landmarks = row[6:].reshape(2, 5).T
            assert np.abs(found.landmarks[best] - landmarks).max() < 2, path.name
        count += len(found)
    return count


@pytest.fixture(scope="module")
def cascade() -> Cascade:
    return Cascade()


def test_the_faces_are_those_of_the_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert assert_as_the_library(portraits(), tmp_path, monkeypatch) >= 2


def test_the_faces_of_real_photographs_are_those_of_the_library(
    real_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = sorted((real_data / "photos").iterdir())
    assert assert_as_the_library(paths, tmp_path, monkeypatch) >= 42


@pytest.mark.parametrize("shape", [(12, 40), (13, 40), (97, 61), (98, 60), (24, 900)])
def test_strips_give_what_the_whole_gives(
    cascade: Cascade, monkeypatch: pytest.MonkeyPatch, shape: tuple[int, int]
) -> None:
    level = np.random.default_rng(0).random((3, *shape), np.float32) * 2
    whole = cascade._networks.pnet.run(None, {"pixels": level[None]})[0][0]
    for pixels in (1, 700, 3000):
        monkeypatch.setattr("annotate.cascade._STRIP_PIXELS", pixels)
        assert (cascade._cells(level) == whole).all()


def test_suppression_by_blocks_is_that_of_each_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("annotate.cascade._BLOCK_BOXES", 7)
    rng = np.random.default_rng(1)
    boxes = rng.random((50, 5)).astype(np.float32) * 100
    boxes[:, 2:4] += boxes[:, :2]
    gone = {
        later for later in range(50) for first in range(later)
        if overlap(boxes[first, :4], boxes[later : later + 1, :4])[0] > 0.3
    }  # fmt: skip
    assert 5 < len(gone) < 45
    assert _suppress(boxes, 0.3).tolist() == [i for i in range(50) if i not in gone]


def test_a_crowd_takes_no_more_memory_than_an_empty_picture() -> None:
    """256 faces of 40 px side by side: all of their views at once would take gigabytes."""
    program = """
import resource, sys
import numpy as np
from PIL import Image
from annotate.face_options import FaceOptions
from annotate.faces import find_faces
from annotate.images import Picture
with Image.open(sys.argv[1]) as image:
    face = image.convert("RGB").crop((150, 40, 300, 190)).resize((60, 60))
crowd = np.tile(np.asarray(face), (16, 16, 1))
peaks = []
for pixels in (np.zeros_like(crowd), crowd):
    found = find_faces(Picture(pixels, 960, 960, None), FaceOptions(960))
    peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
print(len(found), *peaks)
"""
    pytest.importorskip("resource", reason="peaks of memory are measured on POSIX only")
    portrait = str(portraits()[1])
    done = subprocess.run(
        [sys.executable, "-c", program, portrait], capture_output=True, text=True, check=True
    )
    count, before_mb, after_mb = map(int, done.stdout.split())
    assert count == 256
    assert after_mb - before_mb < 150


def test_pixels_shrink_by_the_mean_of_the_area_they_cover() -> None:
    """5 rows to 3 cover 5/3 of a row each: (1, 2/3), (1/3, 1, 1/3) and (2/3, 1) rows."""
    rows = np.array([0, 30, 60, 90, 150], np.float32)
    planes = np.broadcast_to(rows[None, :, None], (3, 5, 2))
    expected = np.array([20, 10 + 60 + 30, 60 + 150]) / (5 / 3)
    expected[0] = (0 + 30 * 2 / 3) / (5 / 3)
    shrunk = _mean_rows(planes, 5 / 3, 4)
    np.testing.assert_allclose(shrunk[:, :3, 0], np.tile(expected, (3, 1)), rtol=1e-5)
    assert not shrunk[:, 3].any(), "black beyond the picture"


def test_of_overlapping_boxes_the_likeliest_stays() -> None:
    boxes = np.array(
        [
            (0, 0, 10, 10, 0.9),
            (1, 0, 11, 10, 0.8),  # shares 90 of 110 with the first: 0.82
            (5, 0, 15, 10, 0.7),  # shares 50 of 150 with the first, 60 of 140 with the second
            (4, 4, 6, 6, 0.6),  # inside the first three: 4 of 100
        ],
        np.float32,
    )
    assert _suppress(boxes, 0.5).tolist() == [0, 2, 3]
    assert _suppress(boxes, 0.4).tolist() == [0, 3], "a box that goes still counts"
    assert _suppress(boxes, 0.7, of_smaller=True).tolist() == [0, 2]


def test_planes_are_black_at_zero() -> None:
    planes = as_planes(np.array([[[0, 128, 255]]], np.uint8))
    np.testing.assert_allclose(planes[:, 0, 0], [0, 1, 255 / 128])


@settings(deadline=None, max_examples=40)
@given(
    height=st.integers(1, 70), width=st.integers(1, 70), seed=st.integers(0, 9),
    bright=st.integers(1, 256),
)  # fmt: skip
def test_any_picture_gives_detections_that_hang_together(
    cascade: Cascade, height: int, width: int, seed: int, bright: int
) -> None:
    pixels = np.random.default_rng(seed).integers(0, bright, (height, width, 3), np.uint8)
    found = cascade.detect(pixels)
    assert isinstance(found, Detections)
    assert found.boxes.shape == (len(found), 4)
    assert found.landmarks.shape == (len(found), 5, 2)
    assert np.isfinite(found.boxes).all()
    assert (np.diff(found.scores) <= 0).all()


@pytest.mark.parametrize("shape", [(1, 4000), (4000, 1), (1, 1), (13, 2000)])
def test_thin_pictures_have_no_faces(cascade: Cascade, shape: tuple[int, int]) -> None:
    assert len(cascade.detect(np.zeros((*shape, 3), np.uint8))) == 0
