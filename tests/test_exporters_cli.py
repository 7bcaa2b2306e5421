"""`annotate export`: from files to files, with counts on stderr and an exit code."""

from __future__ import annotations

import io
import json
from importlib.util import find_spec
from pathlib import Path

import pytest
from PIL import Image

from annotate.model import bundled_models
from tests.conftest import Invoke, draw, one_line
from tests.pictures import ORIENTATIONS
from tests.test_demo import FACES, overlap
from tests.test_exporters_xmp import regions


@pytest.fixture
def out(tmp_path: Path, photos: Path, invoke: Invoke, crop: list[str]) -> Path:
    """An output of a run over good and bad inputs."""
    target = tmp_path / "people.parquet"
    code, _, _ = invoke("run", str(photos), "-o", str(target), *crop)
    assert code == 3
    return target


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl", ""])
def test_any_output_of_a_run_can_be_exported(
    tmp_path: Path, photos: Path, invoke: Invoke, crop: list[str], suffix: str
) -> None:
    out = str(tmp_path / f"people{suffix}")
    invoke("run", str(photos), "-o", out, *crop)
    code, stdout, err = invoke("export", out, "--to", "coco", "-o", str(tmp_path / "c.json"))
    assert (code, stdout) == (0, "")
    found = json.loads((tmp_path / "c.json").read_bytes())
    names = [image["file_name"] for image in found["images"]]
    assert len(names) == len(found["annotations"]) == 19  # 18 pictures in folders, and a large one
    assert "a/00.png" in names
    assert err == (
        f"wrote 19 pictures with 19 faces to {tmp_path}/c.json\n"
        "left out: 2 inputs that annotate run could not read (first: cut.png)\n"
        "left out: 2 inputs of a kind that is not decoded (first: film.mp4)\n"
        f"file names in it are below {photos}\n"
    )


def test_sidecars_of_a_run(tmp_path: Path, out: Path, photos: Path, invoke: Invoke) -> None:
    (photos / "a" / "00.png").unlink()
    tree = tmp_path / "sidecars"
    words = ["export", str(out), "--to", "xmp", "-o", str(tree), "--workers", "1"]
    code, stdout, err = invoke(*words, "--dry-run")
    assert (code, stdout) == (3, "")
    assert f"would write 18 sidecars with 18 faces to {tree}\n  a/03.png.xmp: people/" in err
    assert "originals were not read" in err
    assert not tree.exists()
    code, stdout, err = invoke(*words)
    assert (code, stdout) == (3, "")
    assert f"wrote 18 sidecars with 18 faces to {tree}\n" in err
    assert "left out: 1 input that cannot be opened any more (first: a/00.png)\n" in err
    assert len(list(tree.rglob("*.xmp"))) == 18
    assert len(list(tree.rglob("*"))) == 18 + 3  # and the folders a, b and c
    code, _, err = invoke(*words)
    assert "left out: 18 inputs with a file in the sidecar's place" in err


def test_quiet_says_nothing_and_keeps_the_exit_code(
    tmp_path: Path, out: Path, photos: Path, invoke: Invoke
) -> None:
    draw(photos / "large.png", (9, 9, 9))
    target = str(tmp_path / "sidecars")
    code, stdout, err = invoke("export", str(out), "--to", "xmp", "-o", target, "--quiet")
    assert (code, stdout, err) == (3, "", "")


def test_what_a_label_studio_user_does_next_is_said(
    tmp_path: Path, out: Path, invoke: Invoke
) -> None:
    target = tmp_path / "tasks.json"
    code, _, err = invoke("export", str(out), "--to", "label-studio", "-o", str(target))
    assert code == 0
    assert f"labelling set-up: {tmp_path}/tasks.config.xml\n" in err
    assert f"LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT={tmp_path}\n" in err
    (first, *_) = json.loads(target.read_bytes())
    assert first["data"]["image"] == "/data/local-files/?d=photos/a/00.png"
    assert first["predictions"][0]["model_version"].startswith("fake ")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--to", "voc", "-o", "x.json"], "'voc' is not one of"),
        (["--to", "coco"], "Missing option '-o'"),
        (["-o", "x.json"], "Missing option '--to'"),
        (["--to", "coco", "-o", "x.json", "--workers", "2"], "--workers is for --to xmp"),
        (["--to", "xmp", "-o", "x", "--url-prefix", "u"], "--url-prefix is for --to label-studio"),
        (["--to", "xmp", "-o", "x", "--faces-only"], "--faces-only is for --to label-studio and"),
        (["--to", "coco", "-o", "x.json", "--sidecar-name", "stem"], "--sidecar-name is for"),
        (["--to", "coco", "-o", "x.txt"], "-o 'x.txt': expected a file named *.json for --to coco"),
        (["--to", "label-studio", "-o", "json"], "-o 'json': expected a file named *.json"),
    ],
)
def test_options_that_do_not_fit_are_usage_errors(
    tmp_path: Path, invoke: Invoke, words: list[str], said: str
) -> None:
    code, stdout, err = invoke("export", str(tmp_path / "people.parquet"), *words)
    assert (code, stdout) == (2, "")
    assert said in one_line(err)


def test_an_output_that_is_none_is_an_error_of_one_line(tmp_path: Path, invoke: Invoke) -> None:
    (tmp_path / "a\x1b[2J.csv").write_text("name,age\nx,3\n")
    for name in ("a\x1b[2J.csv", "no.parquet"):
        for to, target in (("coco", "x.json"), ("xmp", "x")):
            words = ["--to", to, "-o", str(tmp_path / target)]
            code, stdout, err = invoke("export", str(tmp_path / name), *words)
            assert (code, stdout) == (1, "")
            one_line(err)
            assert not (tmp_path / target).exists()


@pytest.mark.skipif("nano" not in bundled_models(), reason="nano is not bundled")
@pytest.mark.skipif(find_spec("matplotlib") is None, reason="matplotlib is not installed")
def test_a_real_face_in_a_turned_photograph(tmp_path: Path, invoke: Invoke) -> None:
    """Grace Hopper's portrait, stored on its side: the region is on her face as it is stored."""
    import matplotlib

    portrait = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
    data = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(portrait) as image:
        stored = image.transpose(ORIENTATIONS[6])
        stored.save(data, "JPEG", quality=95, exif=exif)
        upright = image.size
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "hopper.jpg").write_bytes(data.getvalue())
    out, tree = str(tmp_path / "people.csv"), str(tmp_path / "tree")
    labels = ["--model", "nano", "--workers", "1"]
    assert invoke("run", str(tmp_path / "photos"), "-o", out, *labels)[0] == 0
    assert invoke("export", out, "--to", "xmp", "-o", tree)[0] == 0
    dimensions, (region,) = regions((tmp_path / "tree" / "hopper.jpg.xmp").read_bytes())
    assert (int(dimensions["w"]), int(dimensions["h"])) == stored.size == upright[::-1]
    x, y, w, h = (float(region[key]) for key in "xywh")
    width, height = stored.size
    found = (x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height
    left, top, right, bottom = FACES["grace_hopper.jpg"]
    # Turned a quarter to the left, right edges become top edges.
    assert overlap(found, (top, upright[0] - right, bottom, upright[0] - left)) > 0.6
    assert ", age " in region["description"]
