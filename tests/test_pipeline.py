"""The pipeline: rules 1 to 4, 6 and 7 of the design, on drawn faces and the fake model."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from annotate import AnnotateError, Model, read
from annotate.batching import predict_in_batches
from annotate.labelling import write
from annotate.model import load_model
from annotate.names import resolve
from annotate.pipeline import prepare, run_table
from annotate.records import Face, Facts, Failure, Predictions, Sample, Source, Status
from annotate.run_config import RunConfig
from tests.conftest import FAKE_SIZE_PX, ROOT, draw


def labelled(folder: Path, model: Model, **options: Any) -> list[dict[str, Any]]:
    config = RunConfig((str(folder),), faces="crop", **options)
    return run_table(config, model=model).table.to_pylist()


def test_a_face_gets_the_figures_worked_out_by_hand(faces: Path, fake_model: Model) -> None:
    table = labelled(faces, fake_model)
    assert [row["path"] for row in table] == [f"{i:02d}.png" for i in range(20)]
    for i, row in enumerate(table):
        red, rest = 255 - 10 * i, 10 * i
        assert row["age"] == pytest.approx((red + 2 * rest) / 3 / 2.55, abs=1e-4)
        assert row["female_probability"] == pytest.approx(red / 255, abs=1e-6)
        assert row["gender"] == ("female" if red / 255 >= 0.5 else "male")
        assert (row["x_min"], row["y_min"], row["x_max"], row["y_max"]) == (0, 0, 32, 32)
        assert (row["width"], row["height"], row["face_index"], row["face_count"]) == (32, 32, 0, 1)
        assert row["age_p10"] is None
        assert row["detection_score"] is None


@pytest.fixture
def mess(tmp_path: Path) -> Path:
    """30 inputs, good and bad, that end in every way a folder can bring about; 4 that are none."""
    folder = tmp_path / "mess"
    for i in range(18):
        draw(folder / f"{i % 3}" / f"{i:02d}.png", (10 * i, 255 - 10 * i, 7 * i), (20 + i, 40))
    whole = (folder / "0" / "00.png").read_bytes()
    for i in range(5):
        (folder / f"cut{i}.png").write_bytes(whole[: i * 15])
    (folder / "a.NEF").write_bytes(b"raw")
    (folder / "b.MP4").write_bytes(b"video")
    (folder / "c.mp4").write_bytes(b"video")
    draw(folder / "large.png", (1, 2, 3), (200, 100))
    draw(folder / "last.png", (250, 250, 250))
    if os.name == "posix":
        (folder / "dangling.png").symlink_to("nothing")
        (folder / "self.png").symlink_to("self.png")
    else:
        for name in ("dangling.png", "self.png"):
            (folder / name).write_bytes(b"")
    for name in ("notes.txt", ".hidden.png", "@eaDir/x.png", "sub/readme"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"x")
    return folder


EXPECTED = {"ok": 19, "decode_error": 5, "unsupported": 3, "too_large": 1, "unreadable": 2}


@pytest.mark.skipif(os.name != "posix", reason="links of POSIX")
def test_every_input_has_its_rows_and_the_counts_add_up(mess: Path, fake_model: Model) -> None:
    config = RunConfig((str(mess),), faces="crop", max_pixels=19_999, workers=2)
    result = run_table(config, model=fake_model)
    rows, summary = result.table.to_pylist(), result.summary
    on_disk = [str(p.relative_to(mess)) for p in mess.rglob("*") if not p.is_dir()]
    passed_over = {"notes.txt", ".hidden.png", "@eaDir/x.png", "sub/readme"}
    expected = sorted(set(on_disk) - passed_over, key=os.fsencode)
    assert [row["path"] for row in rows] == expected
    assert Counter(row["status"] for row in rows) == EXPECTED
    assert summary.by_status == EXPECTED
    assert summary.inputs == summary.done == sum(EXPECTED.values()) == summary.rows == 30
    assert summary.failures == 8
    assert summary.exit_code == 3
    assert summary.unsupported == {".mp4": 2, ".nef": 1}
    assert summary.skipped == {
        "not an image": 2,
        "hidden": 1,
        "thumbnail or system folder": 1,
    }
    for row in rows:
        is_ok = row["status"] == "ok"
        assert (row["age"] is not None) == (row["gender"] is not None) == is_ok
        assert (row["face_count"], row["face_index"]) == ((1, 0) if is_ok else (None, None))
        failed = row["status"] not in ("ok", "unsupported")
        assert not failed or row["error"]
        known = row["sha256"]
        if row["status"] in ("ok", "decode_error", "too_large"):
            with open(resolve(row), "rb") as file:
                assert known == hashlib.file_digest(file, "sha256").hexdigest()
        else:
            assert known is None
    text = summary.render()
    assert "30 inputs, 30 rows" in text
    assert "unsupported by suffix: .mp4 2, .nef 1" in text


def test_batches_do_not_change_rows(mess: Path, fake_model_folder: Path) -> None:
    tables = [
        labelled(mess, load_model(fake_model_folder, batch_size=size), batch_size=size)
        for size in (1, 3, 8, 64)
    ]
    assert len(tables[0]) == 30
    for table in tables[1:]:
        assert table == tables[0]


def test_workers_do_not_change_rows(mess: Path, fake_model: Model) -> None:
    """40 and more windows with batches of one; chunks are cut differently for one worker."""
    tables = [labelled(mess, fake_model, workers=count, batch_size=1) for count in (1, 2, 3)]
    assert tables[0] == tables[1] == tables[2]


def test_the_order_of_rows_is_that_of_the_sources(faces: Path, fake_model: Model) -> None:
    names = [str(faces / f"{i:02d}.png") for i in range(20)]
    random.Random(1).shuffle(names)
    rows = run_table(RunConfig(tuple(names), faces="crop"), model=fake_model).table.to_pylist()
    assert [resolve(row) for row in rows] == names


@pytest.mark.parametrize("name", ["x.csv", "x.jsonl", "x.parquet"])
def test_the_same_run_gives_the_same_bytes_and_leaves_inputs_alone(
    mess: Path, tmp_path: Path, fake_model: Model, name: str
) -> None:
    def state() -> dict[str, tuple[object, ...]]:
        return {
            str(path): (path.lstat().st_mtime_ns, path.lstat().st_mode, path.lstat().st_size)
            + ((hashlib.sha256(path.read_bytes()).hexdigest(),) if path.is_file() else ())
            for path in mess.rglob("*")
        }

    before = state()
    outputs = []
    for run in ("one", "two"):
        (tmp_path / run).mkdir()
        target = tmp_path / run / name
        write(RunConfig((str(mess),), faces="crop", workers=2), str(target), model=fake_model)
        outputs.append(target.read_bytes())
    assert outputs[0] == outputs[1]
    assert state() == before


def test_outputs_of_all_formats_are_equal_and_say_what_made_them(
    mess: Path, tmp_path: Path, fake_model: Model
) -> None:
    import pandas as pd

    frames = []
    for name in ("x.parquet", "x.csv", "x.jsonl", "folder"):
        write(RunConfig((str(mess),), faces="crop"), str(tmp_path / name), model=fake_model)
        frames.append(read(tmp_path / name))
    for frame in frames[1:]:
        pd.testing.assert_frame_equal(frame, frames[0], check_categorical=False)
    attributes = pd.read_parquet(tmp_path / "x.parquet").attrs
    assert attributes["model"] == "fake"
    assert attributes["model_sha256"] == fake_model.sha256
    assert (attributes["faces"], attributes["engine"], attributes["device"]) == (
        "crop",
        "onnx",
        "cpu",
    )


def test_progress_hears_of_every_batch_and_ends_at_the_total(
    faces: Path, fake_model: Model
) -> None:
    heard: list[int] = []
    run_table(
        RunConfig((str(faces),), faces="crop"),
        model=fake_model,
        progress=lambda summary: heard.append(summary.done),
    )
    assert heard == [8, 16, 20]


def test_runs_that_cannot_be_done(tmp_path: Path, fake_model: Model) -> None:
    (tmp_path / "notes.txt").touch()
    for config, text in (
        (RunConfig((str(tmp_path),)), r"no images in .* \(passed over: not an image 1\)"),
        (RunConfig(()), "no SOURCE"),
        (RunConfig((str(tmp_path / "no"),)), "no such file or folder"),
    ):
        with pytest.raises(AnnotateError, match=text):
            prepare(config, model=fake_model)


@pytest.mark.parametrize(
    "option",
    [{"batch_size": 0}, {"workers": 0}, {"limit": 0}, {"limit": -1}, {"max_pixels": 0},
     {"faces": "all"}, {"detect_size": "large"}, {"detect_size": 0}, {"min_face_px": 0},
     {"min_score": 1.5}, {"max_faces": 0}],
)  # fmt: skip
def test_options_that_make_no_sense(option: dict[str, Any]) -> None:
    with pytest.raises(AnnotateError, match=next(iter(option))):
        RunConfig(("x",), **option)


# Any number of faces an input -------------------------------------------------------------


def sample_of(key: int, faces: int, failed: bool) -> Sample:
    """An input with random crops; the same for the same key and number."""
    pixels = np.random.default_rng([key, faces]).integers(
        0, 256, (faces, FAKE_SIZE_PX, FAKE_SIZE_PX, 3), np.uint8
    )
    failure = Failure(Status.DECODE_ERROR, "broken") if failed and not faces else None
    boxes = tuple(Face((float(i), 0.0, 1.0, 1.0)) for i in range(faces))
    return Sample(Source(key, "/in", f"{key}", b"", 1, 2), Facts(), boxes, pixels, failure)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    counts=st.lists(
        st.tuples(st.sampled_from([0, 0, 1, 1, 2, 7, 8, 9, 30]), st.booleans()), max_size=80
    ),
    batch_size=st.sampled_from([1, 3, 8]),
)
def test_any_number_of_faces_gets_the_predictions_of_each_alone(
    counts: list[tuple[int, bool]], batch_size: int, models: dict[int, Model]
) -> None:
    """Against the model's figures by hand: mean pixel / 2.55 and mean red / 255."""
    samples = [sample_of(key, faces, failed) for key, (faces, failed) in enumerate(counts)]
    done: list[Sample] = []
    parts: list[Predictions] = []
    for ready, predictions in predict_in_batches(iter(samples), models[batch_size]):
        assert sum(len(s.faces) for s in ready) == (len(predictions) if predictions else 0)
        done += ready
        parts += [predictions] if predictions is not None else []
    assert [s.source.key for s in done] == list(range(len(samples)))
    pixels = np.concatenate(
        [np.empty((0, FAKE_SIZE_PX, FAKE_SIZE_PX, 3)), *(s.pixels for s in samples)]
    )
    if not len(pixels):
        assert parts == []
        return
    together = Predictions.concatenate(parts)
    assert np.allclose(together.age, pixels.mean(axis=(1, 2, 3)) / 2.55, atol=1e-3)
    assert np.allclose(
        together.female_probability, pixels[..., 0].mean(axis=(1, 2)) / 255, atol=1e-5
    )


@pytest.fixture(scope="module")
def models(fake_model_folder: Path) -> dict[int, Model]:
    return {size: load_model(fake_model_folder, batch_size=size) for size in (1, 3, 8)}


@pytest.mark.parametrize("faces", [1, 3, 5, 20])
def test_the_model_sees_full_batches_until_the_end(models: dict[int, Model], faces: int) -> None:
    class Counting:
        batch_size = 8
        seen: ClassVar[list[int]] = []

        def predict(self, pixels: np.ndarray) -> Predictions:
            self.seen.append(len(pixels))
            return models[8].predict(pixels)

    samples = [sample_of(key, faces, False) for key in range(13)]
    list(predict_in_batches(samples, Counting()))  # type: ignore[arg-type]
    assert all(count % 8 == 0 for count in Counting.seen[:-1])
    assert sum(Counting.seen) == 13 * faces


def test_faceless_inputs_do_not_pile_up(models: dict[int, Model]) -> None:
    """However many inputs without a face follow each other, rows come out all the time."""
    taken = 0

    def endless() -> Iterator[Sample]:
        nonlocal taken
        for taken in range(10_000):
            yield sample_of(taken, 0, True)

    stream = predict_in_batches(endless(), models[8])
    ready, predictions = next(stream)
    assert ready
    assert predictions is None
    assert taken < 100


# Memory -----------------------------------------------------------------------------------

MEASURED = """
import resource, sys
from annotate.labelling import write
from annotate.run_config import RunConfig
config = RunConfig((sys.argv[1],), faces="crop", model=sys.argv[2], workers=2)
summary = write(config, sys.argv[3])
assert summary.done == int(sys.argv[4]), summary
for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
    if who == resource.RUSAGE_CHILDREN:
        from joblib.externals.loky import get_reusable_executor
        get_reusable_executor(reuse=True).shutdown(wait=True)
    peak = resource.getrusage(who).ru_maxrss
    print(peak * (1 if sys.platform == "darwin" else 1024))
"""


@pytest.mark.skipif(os.name != "posix", reason="measures with getrusage")
def test_memory_does_not_grow_with_the_number_of_inputs(
    tmp_path: Path, fake_model_folder: Path
) -> None:
    """Peak resident memory of the main process and of its largest worker, 200 and 20,000."""
    first = draw(tmp_path / "one.png", (200, 100, 50), (16, 16))
    peaks = []
    for count in (200, 20_000):
        folder = tmp_path / f"in{count}"
        folder.mkdir()
        for i in range(count):
            os.link(first, folder / f"{i:05d}.png")
        done = subprocess.run(
            [
                sys.executable, "-c", MEASURED, str(folder), str(fake_model_folder),
                str(tmp_path / f"{count}.parquet"), str(count),
            ],
            capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)}, timeout=300,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        peaks.append([int(line) for line in done.stdout.split()])
        shutil.rmtree(folder)
    (small, small_worker), (large, large_worker) = peaks
    assert min(small, small_worker) > 20e6  # something was measured
    assert large - small < 60e6
    assert large_worker - small_worker < 60e6
