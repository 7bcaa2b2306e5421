"""The Python interface: run, iter_rows, read, resolve, load_model."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import annotate
from annotate import AnnotateError, Model
from annotate.labelling import write
from annotate.records import COLUMNS
from annotate.run_config import RunConfig
from tests.conftest import FAKE_SIZE_PX, ROOT, draw


def test_run_gives_the_rows_as_a_frame(faces: Path, fake_model: Model, tmp_path: Path) -> None:
    frame = annotate.run(faces, faces="crop", model=fake_model, workers=2)
    assert list(frame.columns) == [column.name for column in COLUMNS]
    assert len(frame) == 20
    assert frame["age"].tolist() == pytest.approx(
        [(255 + 10 * i) / 7.65 for i in range(20)], abs=1e-3
    )
    assert frame.attrs["model"] == "fake"
    assert str(frame["gender"].dtype) == "category"
    assert frame.groupby("gender", observed=True)["age"].describe().loc["male", "count"] == 7
    write(RunConfig((str(faces),), faces="crop"), str(tmp_path / "x.parquet"), model=fake_model)
    written = annotate.read(tmp_path / "x.parquet")
    pd.testing.assert_frame_equal(written, frame)
    assert written.attrs.pop("inputs")["items"] == 20
    assert written.attrs == frame.attrs


def test_sources_may_be_several_and_of_any_kind(faces: Path, fake_model_folder: Path) -> None:
    sources = [faces / "03.png", str(faces / "0[12].png")]
    frame = annotate.run(
        sources, faces="crop", model=str(fake_model_folder), batch_size=2, exclude=("02*",)
    )
    assert frame["path"].tolist() == ["03.png", "01.png"]
    assert [annotate.resolve(row) for _, row in frame.iterrows()] == [
        str(faces / "03.png"),
        str(faces / "01.png"),
    ]


def test_failures_are_rows_not_exceptions(tmp_path: Path, fake_model: Model) -> None:
    (tmp_path / "bad.png").write_bytes(b"no")
    frame = annotate.run(tmp_path, faces="crop", model=fake_model)
    assert frame["status"].tolist() == ["decode_error"]
    assert frame["age"].isna().all()


def test_runs_that_cannot_be_done_are_annotate_errors(tmp_path: Path, fake_model: Model) -> None:
    for sources, options in (
        (tmp_path / "no", {}),
        (tmp_path, {}),
        ([], {}),
        (tmp_path, {"faces": "all"}),
        (tmp_path, {"workers": 0}),
    ):
        with pytest.raises(AnnotateError):
            annotate.run(sources, model=fake_model, **options)
        with pytest.raises(AnnotateError):
            next(annotate.iter_rows(sources, model=fake_model, **options))
    with pytest.raises(TypeError):
        annotate.run(tmp_path, model=fake_model, colour="red")


def test_iter_rows_gives_the_same_rows_as_plain_values(faces: Path, fake_model: Model) -> None:
    rows = list(annotate.iter_rows(faces, faces="crop", model=fake_model))
    frame = annotate.run(faces, faces="crop", model=fake_model)
    assert [row["path"] for row in rows] == frame["path"].tolist()
    assert [row["age"] for row in rows] == frame["age"].tolist()
    assert {type(row["age"]) for row in rows} == {float}
    assert all(row["age_p10"] is None and row["error"] is None for row in rows)


LAZY = """
import os, sys
import annotate
folder, model = sys.argv[1:]
rows = annotate.iter_rows(folder, faces="crop", model=model, batch_size=4, workers=2)
print(next(rows)["path"], next(rows)["path"])
for name in os.listdir(folder):  # 4 windows of 16 at most are decoded or being decoded by now
    if name >= "0100.png":
        os.remove(os.path.join(folder, name))
rest = [row["status"] for row in rows]
print(len(rest), set(rest[:14]), set(rest[98:]))
"""


def test_iter_rows_is_lazy(tmp_path: Path, fake_model_folder: Path) -> None:
    """Files that go away once the first rows are out are still met, as unreadable.

    In a script without a main guard, as people write it.
    """
    first = draw(tmp_path / "one.png", (9, 9, 9), (16, 16))
    (tmp_path / "in").mkdir()
    for i in range(200):
        os.link(first, tmp_path / "in" / f"{i:04d}.png")
    (tmp_path / "script.py").write_text(LAZY)
    done = subprocess.run(
        [sys.executable, tmp_path / "script.py", tmp_path / "in", fake_model_folder],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        timeout=300,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "0000.png 0001.png\n198 {'ok'} {'unreadable'}\n"


EARLY = """
import sys
import annotate
rows = annotate.iter_rows(sys.argv[1], faces="crop", model=sys.argv[2], batch_size=4, workers=2)
print(next(rows)["path"])
if sys.argv[3] == "close":
    rows.close()
"""


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX processes")
@pytest.mark.parametrize("how", ["close", "forget"])
def test_stopping_early_leaves_no_process(
    tmp_path: Path, fake_model_folder: Path, how: str
) -> None:
    first = draw(tmp_path / "one.png", (9, 9, 9), (16, 16))
    (tmp_path / "in").mkdir()
    for i in range(2_000):
        os.link(first, tmp_path / "in" / f"{i:04d}.png")
    process = subprocess.Popen(
        [sys.executable, "-c", EARLY, tmp_path / "in", fake_model_folder, how],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        start_new_session=True,
    )
    out, err = process.communicate(timeout=300)  # ends when the last worker has let go of stdout
    assert (process.returncode, out, err) == (0, "0000.png\n", "")


def test_loaded_models_check_what_they_are_given(fake_model: Model) -> None:
    size = FAKE_SIZE_PX
    right = np.zeros((3, size, size, 3), np.uint8)
    assert len(fake_model.predict(right)) == 3
    assert len(fake_model.predict(right[:0])) == 0
    wrong = [
        right.astype(np.float32),
        right.astype(np.int64),
        right[0],
        right[:, :, :-1],
        right[..., :1],
        right.transpose(0, 3, 1, 2),
        right.tolist(),
        None,
    ]
    for faces in wrong:
        with pytest.raises(ValueError, match="faces: expected"):
            fake_model.predict(faces)  # type: ignore[arg-type]


def test_predictions_do_not_depend_on_their_company(fake_model: Model) -> None:
    faces = np.random.default_rng(0).integers(0, 256, (21, 16, 16, 3), np.uint8)
    together = fake_model.predict(faces)
    for i in range(21):
        alone = fake_model.predict(faces[i : i + 1])
        assert together.age[i] == alone.age[0]
        assert together.female_probability[i] == alone.female_probability[0]
    assert together.gender.tolist() == [
        "female" if p >= 0.5 else "male" for p in together.female_probability
    ]


def test_load_model_refuses_what_is_none(tmp_path: Path) -> None:
    for name in ("nobody", tmp_path, str(tmp_path / "no")):
        with pytest.raises(AnnotateError):
            annotate.load_model(name)
