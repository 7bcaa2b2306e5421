"""Evaluation of whole photographs: real faces pasted into pictures, found, chosen and scored."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from annotate import AnnotateError, Model, evaluate
from annotate.face_options import DETECTOR
from annotate.labelling import write
from annotate.run_config import RunConfig

skimage_data = pytest.importorskip("skimage.data")

SIZE = (900, 400)
NEAR, FAR = (330, 90), (20, 60)
"""Where the head is pasted: its face comes to lie around (435, 197), left of the centre (450, 200),
and around (125, 167)."""


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two people of one face, the one at the side darker; one person; and a gray wall."""
    # The astronaut's face lies at x 173 to 274, y 77 to 178 of her picture.
    head = Image.fromarray(skimage_data.astronaut()).crop((118, 20, 328, 230))
    dark = head.point(lambda level: level * 0.6)
    folder = tmp_path_factory.mktemp("photographs")
    both = Image.new("RGB", SIZE, (128, 128, 128))
    both.paste(dark, FAR)
    both.paste(head, NEAR)
    both.save(folder / "50_1_0_1.jpg", format="PNG")
    one = Image.new("RGB", SIZE, (128, 128, 128))
    one.paste(head, FAR)
    one.save(folder / "20_1_2_2.jpg", format="PNG")
    Image.new("RGB", SIZE, (128, 128, 128)).save(folder / "70_0_3_3.jpg", format="PNG")
    return folder


def test_the_central_face_is_scored_and_the_faceless_are_counted(
    photographs: Path, tmp_path: Path, fake_model: Model
) -> None:
    report = evaluate(
        photographs, faces="detect", model=fake_model, workers=1, report_dir=tmp_path / "r"
    )
    rows = report.predictions.set_index("path")
    assert rows.loc["70_0_3_3.jpg", "status"] == "no_face"
    pair = rows.loc["50_1_0_1.jpg"]
    assert pair["scored"].tolist() == [False, True]
    central = pair[pair["scored"]].iloc[0]
    assert central["x_min"] < 435 < central["x_max"]
    assert central["y_min"] < 197 < central["y_max"]
    # The fake model sees brightness: another face would give another figure.
    assert central["age"] - pair["age"].iloc[0] > 5
    alone = rows.loc["20_1_2_2.jpg"]
    expected = (abs(central["age"] - 50) + abs(alone["age"] - 20)) / 2
    metrics = json.loads((tmp_path / "r" / "metrics.json").read_text("utf-8"))
    assert metrics["age"]["mae"]["value"] == pytest.approx(expected, abs=1e-5)
    assert metrics["age"]["mae"]["n"] == 2
    # Wilson, 1 of 3: (1 + 1.9207) / 6.8415 ± 1.96 √(2/3 + 0.9604) / 6.8415.
    share = metrics["faces"].pop("not_found_share")
    assert share["value"] == pytest.approx(1 / 3, abs=1e-6)
    assert (share["low"], share["high"]) == pytest.approx((0.0615, 0.7923), abs=1e-4)
    assert metrics["faces"] == {"searched": 3, "not_found": 1, "several": 1, "passed_over": 1}
    assert metrics["inputs"]["not_scored"] == {"no_face": 1}
    assert metrics["faults"]["counts"] == {"no_face": 1}
    written = pd.read_parquet(tmp_path / "r" / "predictions.parquet")
    pd.testing.assert_frame_equal(written, report.predictions, check_categorical=False)
    assert len(written) == 4
    assert report.exit_code == 0


def test_the_options_decide_and_are_told(photographs: Path, fake_model: Model) -> None:
    report = evaluate(
        photographs,
        faces="detect",
        detect_size=480,
        min_face_px=24,
        min_score=0.8,
        max_faces=1,
        model=fake_model,
        workers=1,
        bootstrap=0,
    )
    told = report.to_dict()["options"]
    assert {name: told[name] for name in ("faces", "detector", "detect_size", "min_face_px")} == {
        "faces": "detect",
        "detector": DETECTOR,
        "detect_size": 480,
        "min_face_px": 24,
    }
    assert (told["min_score"], told["max_faces"]) == (0.8, 1)
    assert "--detect-size 480 --min-face-px 24 --min-score 0.8 --max-faces 1" in report.render()
    assert report.scores.faces is not None
    assert (report.scores.faces.several, report.scores.faces.passed_over) == (0, 0)


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl"])
def test_given_faces_give_the_figures_of_a_run(
    photographs: Path, tmp_path: Path, fake_model: Model, suffix: str
) -> None:
    output = tmp_path / f"out{suffix}"
    write(RunConfig((str(photographs),), workers=1), str(output), model=fake_model)
    ran = evaluate(photographs, faces="detect", model=fake_model, workers=1)
    took = evaluate(photographs, predictions=output, model=fake_model)
    assert took.joined == {"by_sha256": 3, "by_path": 0}
    pd.testing.assert_series_equal(took.predictions["scored"], ran.predictions["scored"])
    told, expected = took.to_dict(), ran.to_dict()
    for key in ("age", "gender", "slices", "faces", "faults", "labels"):
        assert told[key] == expected[key], key


def test_where_no_face_is_found_nothing_is_written_and_the_way_out_is_said(
    photographs: Path, tmp_path: Path, fake_model: Model
) -> None:
    (tmp_path / "in").mkdir()
    pixels = np.zeros((40, 40, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "in" / "30_1_0_1.jpg")
    with pytest.raises(AnnotateError, match=r"no_face 1; .*--faces crop") as caught:
        evaluate(tmp_path / "in", faces="detect", model=fake_model, report_dir=tmp_path / "r")
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "r").iterdir())


def test_the_command_counts_apart_and_ends_with_zero(
    photographs: Path, fake_model_folder: Path, command: Callable[..., CompletedProcess[str]]
) -> None:
    done = command(
        *("evaluate", str(photographs), "--faces", "detect", "--model", str(fake_model_folder))
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert "faces not found: 1 of 3 (33.3 %), 95 % interval 6.1 to 79.2 %" in lines
    assert (
        "faces passed over: 1, in 1 picture with more than one; the nearest to the centre is scored"
        in lines
    )
    listed = lines.index("no_face 1 (not scored)")
    assert lines[listed + 1] == "  70_0_3_3.jpg: no face found in 900 x 400 px"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--min-score", "0.5"], "--faces detect"),
        (["--faces", "detect", "--predictions", "x.parquet", "--max-faces", "2"], "--predictions"),
        (["--faces", "detect", "--detect-size", "7"], "32 to 4096"),
    ],
)
def test_options_that_would_say_nothing_are_refused(
    tmp_path: Path, command: Callable[..., CompletedProcess[str]], arguments: list[str], says: str
) -> None:
    refused = command("evaluate", str(tmp_path), *arguments)
    assert refused.returncode == 2
    assert says in refused.stderr.splitlines()[-1]
    assert refused.stdout == ""
