"""Robustness: what each condition does to a crop, and the figures under all of them."""

from __future__ import annotations

import io
import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from pictures import drawing, encoded
from PIL import Image

from annotate.errors import AnnotateError
from annotate.images import ImageError, Pixels, face_crop
from annotate.model import load_model
from training.__main__ import cli
from training.robustness import (
    CONDITIONS,
    JPEG_QUALITY,
    MAX_SIDE_PX,
    blurred,
    grayscale,
    half_resolution,
    jpeg,
    jpeg_bytes,
    robustness,
    robustness_table,
    rotated,
    shifted,
    views,
)
from training.scoring import evaluate_part, part_names

NAMES = [
    "clean",
    "grayscale",
    "jpeg",
    "half_resolution",
    "blurred",
    "rotated_left",
    "rotated_right",
    "shifted_right",
    "shifted_left",
    "shifted_down",
    "shifted_up",
]


def _black(height: int, width: int) -> Pixels:
    return np.zeros((height, width, 3), np.uint8)


def _across(levels: list[int]) -> Pixels:
    """Four equal rows of gray levels."""
    return np.repeat(np.array([levels] * 4, np.uint8)[..., None], 3, axis=2)


def test_the_list_is_closed_and_keeps_the_shape() -> None:
    assert list(CONDITIONS) == NAMES
    crop = np.random.default_rng(1).integers(0, 256, (96, 160, 3)).astype(np.uint8)
    for name, condition in CONDITIONS.items():
        changed = condition.change(crop)
        assert (changed.dtype, changed.shape) == (np.uint8, crop.shape), name
        assert np.array_equal(changed, crop) == (name == "clean")
        flat = np.full((20, 20, 3), 100, np.uint8)
        # A JPEG of quality 20 keeps the mean of 8 x 8 pixels in steps of 40 / 8 levels.
        assert np.abs(condition.change(flat).astype(int) - 100).max() <= 2.5, name


def test_gray_is_the_brightness_in_all_channels() -> None:
    colours = np.array([[(255, 0, 0), (0, 255, 0), (0, 0, 255), (10, 20, 30)]], np.uint8)
    # 0.299 R + 0.587 G + 0.114 B: 76.2, 149.7, 29.1, 18.2
    assert grayscale(colours)[0].tolist() == [[76] * 3, [150] * 3, [29] * 3, [18] * 3]


def test_the_jpeg_is_of_quality_20() -> None:
    crop = np.asarray(drawing(64, 64))
    assert JPEG_QUALITY == 20
    with Image.open(io.BytesIO(jpeg_bytes(crop))) as image:
        # Annex K of the standard begins 16, 11, 10, 16; libjpeg scales by 5000 / 20 = 250 %.
        assert image.quantization[0][:4] == [40, 28, 25, 40]
        assert np.array_equal(jpeg(crop), np.asarray(image.convert("RGB")))


def test_half_the_resolution_averages_pairs_and_interpolates_between_them() -> None:
    # Pairs: 0, 0, 200, 200. Enlarged twice, new pixels lie at 1/4 and 3/4 between old ones.
    found = half_resolution(_across([0, 0, 0, 0, 200, 200, 200, 200]))
    assert found[1, :, 0].tolist() == [0, 0, 0, 50, 150, 200, 200, 200]
    # Lines of one pixel are gone: 0 and 200 become 100 everywhere.
    assert np.unique(half_resolution(_across([0, 200] * 8))).tolist() == [100]
    assert half_resolution(np.asarray(drawing(7, 5))).shape == (5, 7, 3)
    assert half_resolution(_black(1, 1)).shape == (1, 1, 3)


@pytest.mark.parametrize("side", [200, 400])
def test_the_blur_is_gaussian_with_a_hundredth_of_the_side(side: int) -> None:
    edge = np.zeros((40, side, 3), np.uint8)
    edge[:, side // 2 :] = 255
    found = blurred(edge)[20, :, 0]
    sigma = 0.01 * side
    for x in range(side):
        distance = x + 0.5 - side / 2
        expected = 255 * (1 + math.erf(distance / sigma / math.sqrt(2))) / 2
        assert found[x] == pytest.approx(expected, abs=6), x


def test_a_turned_ray_points_where_trigonometry_says() -> None:
    crop = _black(201, 201)
    crop[99:102, 100:] = 255  # from the centre to the right
    for degrees in (15.0, -15.0):
        found = rotated(crop, degrees)
        for distance in (20, 60, 90):
            x = 100 + distance * math.cos(math.radians(degrees))
            y = 100 - distance * math.sin(math.radians(degrees))  # rows grow downwards
            assert found[round(y), round(x)].min() > 150, (degrees, distance)
        assert found[100, 190].max() == 0
    centre = _black(201, 201)
    centre[100, 100] = 255
    assert np.unravel_index(rotated(centre, 15.0)[..., 0].argmax(), (201, 201)) == (100, 100)


@pytest.mark.parametrize("degrees", [15.0, -15.0])
@pytest.mark.parametrize("size", [(60, 60), (90, 40)])
def test_turning_equals_that_of_scikit_image(degrees: float, size: tuple[int, int]) -> None:
    transform = pytest.importorskip("skimage.transform")
    crop = np.asarray(drawing(*size))
    # Edges are repeated there as well: corners come from outside.
    expected = transform.rotate(crop, degrees, order=1, mode="edge", preserve_range=True)
    assert np.abs(rotated(crop, degrees) - expected).max() < 2


def test_shifts_move_a_pixel_by_a_tenth_and_repeat_the_edge() -> None:
    crop = _black(10, 20)
    crop[4, 7] = (255, 0, 0)
    crop[:, 0] = (0, 9, 0)
    right = CONDITIONS["shifted_right"].change(crop)
    assert right[4, 9].tolist() == [255, 0, 0]
    assert right[4, 7].tolist() == [0, 0, 0]
    assert right[:, :3].tolist() == [[[0, 9, 0]] * 3] * 10
    left = CONDITIONS["shifted_left"].change(crop)
    assert left[4, 5].tolist() == [255, 0, 0]
    assert left[0, 0].tolist() == [0, 0, 0]
    assert CONDITIONS["shifted_down"].change(crop)[5, 7].tolist() == [255, 0, 0]
    assert CONDITIONS["shifted_up"].change(crop)[3, 7].tolist() == [255, 0, 0]
    assert np.array_equal(shifted(shifted(crop, right=0.1), right=-0.1)[:, :18], crop[:, :18])


def test_views_are_what_the_network_sees() -> None:
    data = encoded(drawing(200, 200), "PNG")
    found = views(data, 32)
    assert (found.dtype, found.shape) == (np.uint8, (11, 32, 32, 3))
    assert np.array_equal(found[0], face_crop(data, 32).pixels)
    gray = encoded(Image.fromarray(grayscale(np.asarray(drawing(200, 200)))), "PNG")
    assert np.array_equal(found[1], face_crop(gray, 32).pixels)


def test_a_crop_that_is_too_large_to_turn_is_refused() -> None:
    with pytest.raises(ImageError, match=r"4097 x 2 pixels, the limit is 4096 a side"):
        views(encoded(Image.new("RGB", (MAX_SIDE_PX + 1, 2)), "PNG"), 32)


@pytest.fixture
def split_model(fake_model_folder: Path, tmp_path: Path) -> Path:
    """The model that sees the mean of all pixels / 2.55 as age, and red as female, with a split."""
    folder = Path(shutil.copytree(fake_model_folder, tmp_path / "fake"))
    info = json.loads((folder / "model.json").read_text("utf-8"))
    info["preset"] = "base"
    info["data"] = {"split": {"seed": 2026, "limit": None, "validation_share": 0.1}}
    (folder / "model.json").write_text(json.dumps(info), "utf-8")
    return folder


@pytest.fixture
def red_women(tmp_path: Path) -> Path:
    """150 pure red squares, labelled 30 and female; no two files have the same bytes."""
    folder = tmp_path / "utkface"
    folder.mkdir()
    for index in range(150):
        picture = Image.new("RGB", (40, 40), (255, 0, 0))
        picture.save(folder / f"30_1_0_{index:03d}.png", dpi=(72 + index, 72))
    return folder


def test_figures_are_those_worked_out_by_hand(split_model: Path, red_women: Path) -> None:
    found = robustness(split_model, red_women)
    n = len(part_names(split_model, red_women, "test"))
    assert found["n"] == n > 5
    assert list(found["conditions"]) == NAMES
    clean = found["conditions"]["clean"]
    # A third of the light: 85 / 2.55 = 33.33 years, for people of 30; as red as can be.
    assert clean["age"]["mae"] == pytest.approx({"value": 3.3333, "low": 3.3333, "high": 3.3333,
                                                 "n": n}, abs=1e-3)  # fmt: skip
    assert clean["age"]["bias"]["value"] == pytest.approx(3.3333, abs=1e-3)
    assert (clean["age"]["cs5"]["value"], clean["mae_ratio"]) == (1.0, 1.0)
    assert clean["gender"]["accuracy"]["value"] == 1.0
    # Gray 76 is 29.80 years, and 0.298 red: a man.
    gray = found["conditions"]["grayscale"]
    assert gray["age"]["bias"]["value"] == pytest.approx(-0.1961, abs=1e-3)
    assert gray["mae_ratio"] == pytest.approx(0.1961 / 3.3333, abs=1e-3)
    # Wilson's interval of none of n ends at z² / (n + z²).
    none = gray["gender"]["accuracy"]
    high = 1.959964**2 / (n + 1.959964**2)
    assert none == {"value": 0.0, "low": 0.0, "high": pytest.approx(high, abs=1e-6), "n": n}
    assert found["conditions"]["shifted_up"]["mae_ratio"] == 1.0


def test_the_clean_figures_are_those_of_the_evaluation(
    split_model: Path, red_women: Path, tmp_path: Path
) -> None:
    for index, path in enumerate(sorted(red_women.iterdir())):  # other ages, so other errors
        path.rename(path.with_name(f"{index % 90}_{index % 2}_0_{index}.png"))
    report = evaluate_part(split_model, red_women, "test", report_dir=tmp_path / "r").to_dict()
    clean = robustness(split_model, red_women)["conditions"]["clean"]
    assert clean["gender"]["accuracy"]["value"] == report["gender"]["accuracy"]["value"]
    for name, figure in clean["age"].items():
        assert figure["value"] == pytest.approx(report["age"][name]["value"], abs=1e-4)


def test_images_that_cannot_be_read_are_counted_apart(split_model: Path, red_women: Path) -> None:
    for path in red_women.iterdir():
        path.write_bytes(path.read_bytes()[:60])
    spoilt = part_names(split_model, red_women, "test")
    assert spoilt
    with pytest.raises(AnnotateError, match="no image of the test part"):
        robustness(split_model, red_women)
    good = Image.new("RGB", (40, 40), (0, 0, 255))
    for index in range(60):
        good.save(red_women / f"40_0_1_{index}.png", dpi=(index + 1, 9))
    found = robustness(split_model, red_women)
    assert found["unreadable"].keys() == set(spoilt)
    assert found["n"] == len(part_names(split_model, red_women, "test")) - len(spoilt) > 0


def test_the_command_prints_a_table_and_writes_the_figures(
    split_model: Path, red_women: Path, tmp_path: Path
) -> None:
    out = tmp_path / "figures.json"
    arguments = ["robustness", "--model", str(split_model), "--data", str(red_women)]
    done = CliRunner().invoke(cli, [*arguments, "--limit", "4", "--out", str(out)])
    assert done.exit_code == 0, done.output
    found = json.loads(out.read_text("utf-8"))
    assert found["n"] == 4
    lines = done.stdout.splitlines()
    assert lines[0] == "4 images of the test part, 95 % intervals"
    assert len(lines) == 2 + 2 + len(NAMES)
    assert {line.count("|") for line in lines[2:]} == {7}
    clean, gray = lines[4], lines[5]
    assert clean.startswith("| clean | 3.33 (3.33 to 3.33) | 1.00 | 3.33 ")
    assert gray.startswith("| grayscale | 0.20 (0.20 to 0.20) | 0.06 | -0.20 ")


def test_a_table_shows_what_is_not_defined() -> None:
    nothing = {"value": None, "low": None, "high": None, "n": 0}
    result: dict[str, Any] = {
        "about": "clean",
        "age": {"mae": nothing, "bias": nothing, "cs5": nothing},
        "gender": {"accuracy": nothing},
        "mae_ratio": None,
    }
    table = robustness_table({"conditions": {"clean": result}})
    assert table.splitlines()[-1] == "| clean | – | – | – | – | – |"


def test_the_bundled_model_runs_under_all_conditions(tmp_path: Path) -> None:
    """Drawn faces, and an independent prediction of the gray ones."""
    rng = np.random.default_rng(3)
    for index in range(40):
        pixels = rng.integers(0, 256, (10, 10, 3)).astype(np.uint8)
        face = Image.fromarray(pixels).resize((200, 200), Image.Resampling.BICUBIC)
        face.save(tmp_path / f"{20 + index}_{index % 2}_0_{index}.png")
    found = robustness("base", tmp_path, "train", limit=6)
    names = part_names("base", tmp_path, "train")
    chosen = [names[i] for i in np.linspace(0, len(names) - 1, 6).astype(int)]
    model = load_model("base", engine="onnx")
    errors = []
    for name in chosen:
        with Image.open(tmp_path / name) as image:
            gray = encoded(image.convert("L").convert("RGB"), "PNG")
        faces = face_crop(gray, model.size_px).pixels[None]
        errors.append(abs(float(model.predict(faces).age[0]) - int(name.split("_")[0])))
    gray_mae = found["conditions"]["grayscale"]["age"]["mae"]["value"]
    # Pillow's gray may be one level off.
    assert gray_mae == pytest.approx(np.mean(errors), abs=0.3)
    assert all(result["age"]["mae"]["n"] == 6 for result in found["conditions"].values())


def test_real_faces_keep_their_figures_when_clean(real_data: Path) -> None:
    found = robustness("base", real_data / "utkface", limit=64)
    assert (found["n"], found["unreadable"]) == (64, {})
    results = found["conditions"]
    assert results["clean"]["age"]["mae"]["value"] < 9
    assert results["clean"]["gender"]["accuracy"]["value"] > 0.8
    assert all(0.7 < result["mae_ratio"] < 3 for result in results.values())
