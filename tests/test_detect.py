"""Whole photographs from files to rows: every rule of a run, with faces found and aligned."""

from __future__ import annotations

import io
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

import annotate
from annotate.decoding import DecodeOptions, decode_source
from annotate.errors import AnnotateError
from annotate.estimate import estimate
from annotate.face_options import DETECTOR, MIN_SCORE
from annotate.model import Model, load_model
from annotate.pipeline import prepare, run_table
from annotate.records import Sample, Source
from annotate.run_config import RunConfig
from tests.kinds import make_kinds
from tests.pictures import ORIENTATIONS
from tests.test_cascade import portraits
from tests.test_faces import COLLINS, HOPPER, overlap

Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def album(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Portraits, both in one picture, a scene, a flat picture, a RAW file and a broken one."""
    folder = tmp_path_factory.mktemp("album")
    hopper, collins = portraits()
    shutil.copy(hopper, folder / "b hopper.jpg")
    shutil.copy(collins, folder / "a collins.png")
    shutil.copy(collins.parent / "coffee.png", folder / "c coffee.png")
    with Image.open(hopper) as one, Image.open(collins) as other:
        both = Image.new("RGB", (1024, 600))
        both.paste(other.convert("RGB"), (0, 0))
        both.paste(one.convert("RGB"), (512, 0))
    both.save(folder / "d both.png")
    Image.new("L", (30, 20), 90).save(folder / "e flat.bmp")
    (folder / "f raw.nef").write_bytes(b"II*\0")
    (folder / "g broken.jpg").write_bytes(hopper.read_bytes()[:5000])
    return folder


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model("base", batch_size=2)


def rows_of(folder: Path, model: Model, **options: Any) -> list[dict[str, Any]]:
    config = RunConfig((str(folder),), batch_size=model.batch_size, **options)
    return list(run_table(config, model=model).table.to_pylist())


def iou(row: dict[str, Any], box: tuple[float, ...]) -> float:
    own = [row[name] for name in ("x_min", "y_min", "x_max", "y_max")]
    return float(overlap(np.array(box), np.array([own]))[0])


def test_an_album_through_the_command(album: Path, command: Command, tmp_path: Path) -> None:
    target, crops = tmp_path / "people.parquet", tmp_path / "crops"
    done = command("run", str(album), "-o", str(target), "--save-crops", str(crops))
    assert done.returncode == 3, done.stderr
    assert done.stdout == ""
    frame = annotate.read(target)
    assert frame["path"].tolist() == [
        "a collins.png",
        "b hopper.jpg",
        "c coffee.png",
        "d both.png",
        "d both.png",
        "e flat.bmp",
        "f raw.nef",
        "g broken.jpg",
    ]
    assert frame["status"].tolist() == [
        *("ok", "ok", "no_face", "ok", "ok", "no_face", "unsupported", "decode_error"),
    ]
    assert frame["face_count"].fillna(-1).tolist() == [1, 1, 0, 2, 2, 0, -1, -1]
    assert frame["face_index"].fillna(-1).tolist() == [0, 0, -1, 0, 1, -1, -1, -1]
    rows = frame.to_dict("records")
    shifted = tuple(np.add(HOPPER, [512, 0] * 2))
    for row, box in ((rows[0], COLLINS), (rows[1], HOPPER), (rows[3], COLLINS), (rows[4], shifted)):
        assert iou(row, box) > 0.6
        assert MIN_SCORE <= row["detection_score"] <= 1
        assert row["age_p10"] < row["age"] < row["age_p90"]
    assert frame["detection_score"].notna().tolist() == (frame["status"] == "ok").tolist()
    assert [row["width"] for row in rows[:5]] == [512, 512, 600, 1024, 1024]
    # The same face at another place, in another file format, is labelled alike.
    assert rows[3]["age"] == pytest.approx(rows[0]["age"], abs=4)
    hashes = [row["sha256"] for row in rows]
    assert sorted(path.name for path in crops.iterdir()) == sorted(
        [f"{hashes[0]}_0.jpg", f"{hashes[1]}_0.jpg", f"{hashes[3]}_0.jpg", f"{hashes[3]}_1.jpg"]
    )
    assert frame.attrs["detector"] == DETECTOR
    assert (frame.attrs["faces"], frame.attrs["detect_size"]) == ("detect", 640)
    assert "unsupported by suffix: .nef 1" in done.stderr


def test_rows_do_not_depend_on_workers_or_batches(album: Path, model: Model) -> None:
    """Photographs with any number of faces, in batches that cut through them."""
    expected = rows_of(album, model, workers=1)
    for batch_size, workers in ((1, 2), (64, 3)):
        other = load_model("base", batch_size=batch_size)
        rows = rows_of(album, other, workers=workers)
        assert len(rows) == len(expected)
        for row, wanted in zip(rows, expected, strict=True):
            for name, value in row.items():
                if name in ("age", "age_p10", "age_p90", "age_sd"):
                    assert value == pytest.approx(wanted[name], abs=0.01)
                elif name.endswith("probability"):
                    assert value == pytest.approx(wanted[name], abs=1e-4)
                else:
                    assert value == wanted[name], name


def test_turned_copies_give_the_same_rows(tmp_path: Path, model: Model) -> None:
    """All eight EXIF orientations of one picture, without loss (PNG) and as JPEG."""
    with Image.open(portraits()[1]) as image:
        upright = image.convert("RGB").crop((0, 0, 480, 512))
    upright.save(tmp_path / "1.png")
    upright.save(tmp_path / "1.jpg", quality=95)
    for number, operation in ORIENTATIONS.items():
        exif = Image.Exif()
        exif[0x0112] = number
        stored = upright.transpose(operation)
        stored.save(tmp_path / f"{number}.png", exif=exif)
        stored.save(tmp_path / f"{number}.jpg", quality=95, exif=exif)
    rows = rows_of(tmp_path, model)
    assert len(rows) == 16
    assert {(row["width"], row["height"]) for row in rows} == {(480, 512)}
    for row in rows:
        wanted = rows[1 if row["path"].endswith("png") else 0]
        exact = row["path"].endswith("png")
        for name in ("x_min", "y_min", "x_max", "y_max"):
            assert row[name] == pytest.approx(wanted[name], abs=0 if exact else 3)
        assert row["age"] == pytest.approx(wanted["age"], abs=0.01 if exact else 3)
        assert row["gender"] == wanted["gender"]


def test_every_kind_of_file_has_its_row(
    tmp_path: Path, command: Command, fake_model_folder: Path
) -> None:
    """Pictures of one colour have no face; every fault stays the fault that it is."""
    expected = make_kinds(tmp_path / "kinds")
    target = tmp_path / "out.parquet"
    done = command(
        "run", str(tmp_path / "kinds"), "--model", str(fake_model_folder), "-o", str(target)
    )
    assert done.returncode == 3, done.stderr
    assert "Traceback" not in done.stderr
    rows = pq.read_table(target).to_pylist()
    found = {row["path"]: row["status"] for row in rows}
    assert len(rows) == len(found)
    assert found == {
        name: "no_face" if status == "ok" else status for name, status in expected.items()
    }


def test_options_reach_the_detector(album: Path, model: Model, tmp_path: Path) -> None:
    one = rows_of(album / "d both.png", model, max_faces=1)
    assert [iou(row, tuple(np.add(HOPPER, [512, 0] * 2))) > 0.6 for row in one] == [True]
    assert one[0]["face_count"] == 1
    assert [row["status"] for row in rows_of(album / "d both.png", model, min_score=1.0)] == [
        "no_face"
    ]
    large = rows_of(album / "d both.png", model, min_face_px=150, detect_size="auto")
    assert len(large) == 1
    with pytest.raises(AnnotateError, match="save_crops"):
        RunConfig((str(album),), faces="crop", save_crops=str(tmp_path))


def test_crops_that_cannot_be_written_end_the_run_in_one_line(
    album: Path, command: Command, fake_model_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "taken").touch()
    arguments = ("run", str(album), "--model", str(fake_model_folder), "-q")
    target = tmp_path / "x.csv"
    done = command(*arguments, "-o", str(target), "--save-crops", str(tmp_path / "taken"))
    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 1
    assert "for crops" in done.stderr
    assert not target.exists()
    done = command("run", "x", "--faces", "crop", "--save-crops", "y", "-o", "z.csv")
    assert done.returncode == 2
    assert "--save-crops is for --faces detect" in done.stderr


def test_python_finds_faces_too(model: Model) -> None:
    (row,) = annotate.iter_rows(portraits()[0], model=model)
    assert iou(row, HOPPER) > 0.6
    data = io.BytesIO(portraits()[0].read_bytes())
    assert row["size_bytes"] == len(data.getvalue())


def test_a_dry_run_takes_seconds_whatever_the_photographs(
    tmp_path: Path, fake_model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of sixteen photographs a trial takes all that there is time for, spread over the plan."""
    looked_at: list[str] = []

    def decode_and_note(source: Source, options: DecodeOptions) -> Sample:
        looked_at.append(source.path)
        return decode_source(source, options)

    for number in range(16):
        shutil.copy(portraits()[1], tmp_path / f"{number:02d}.png")
    monkeypatch.setattr("annotate.estimate.decode_source", decode_and_note)
    run = prepare(RunConfig((str(tmp_path),)), model=fake_model)
    monkeypatch.setattr("annotate.estimate.TRIAL_S", 0.0)
    assert estimate(run).inputs == 16
    assert looked_at == ["00.png"]
    monkeypatch.setattr("annotate.estimate.TRIAL_S", 600.0)
    looked_at.clear()
    assert estimate(run).seconds > 0
    assert sorted(looked_at) == [f"{number:02d}.png" for number in range(16)]
    assert looked_at[:4] == ["00.png", "08.png", "01.png", "09.png"]
