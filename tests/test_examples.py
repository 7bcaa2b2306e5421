"""The examples: each runs on drawn faces, and says what can be worked out by hand."""

from __future__ import annotations

import ast
import importlib
import json
import re
import runpy
import shutil
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import annotate
from annotate.frames import to_frame
from annotate.images import decode
from annotate.labelling import write
from annotate.labels import labels_from_names
from annotate.model import bundled_models
from annotate.records import Status
from annotate.run_config import RunConfig
from annotate.writers import write_parquet
from examples.drawn_faces import draw_faces
from tests.conftest import ROOT, draw
from tests.hand_made import guess, no_face, table_of

EXAMPLES = ROOT / "examples"
NOTEBOOK = EXAMPLES / "origins.ipynb"
COUNT = 80

pytestmark = pytest.mark.skipif("nano" not in bundled_models(), reason="nano is not bundled")

Run = Callable[..., str]


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Import an example as those beside it do."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    return importlib.import_module


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run an example as `python examples/NAME` does: what it prints."""

    def main(name: str, *arguments: str | Path) -> str:
        monkeypatch.syspath_prepend(str(EXAMPLES))
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        return capsys.readouterr().out

    return main


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn faces with UTKFace names."""
    return draw_faces(tmp_path_factory.mktemp("examples") / "drawn", COUNT)


@pytest.fixture
def few(drawn: Path, tmp_path: Path) -> Path:
    """Ten of them."""
    (tmp_path / "few").mkdir()
    for path in sorted(drawn.iterdir())[:10]:
        shutil.copy(path, tmp_path / "few")
    return tmp_path / "few"


NOW = ("--faces", "crop", "--model", "nano")


def test_every_example_is_tested_and_says_how_it_is_called() -> None:
    tests = Path(__file__).read_text("utf-8")
    for path in EXAMPLES.glob("*.py"):
        assert path.stem in tests, path.name
        about = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
        if path.stem != "labelled":
            assert f"python examples/{path.name} " in about, path.name


def test_drawn_faces_are_labelled_dated_and_all_different(drawn: Path) -> None:
    names = sorted(path.name for path in drawn.iterdir())
    found = labels_from_names(names)
    assert (len(found.labels), found.faults) == (COUNT, ())
    genders = [label.gender for label in found.labels.values()]
    assert (genders.count("female"), genders.count("male")) == (COUNT // 2, COUNT // 2)
    assert len({path.read_bytes() for path in drawn.iterdir()}) == COUNT
    picture = decode((drawn / names[0]).read_bytes())
    assert picture.pixels.shape == (200, 200, 3)
    assert picture.captured_at is not None
    assert datetime(1985, 1, 1) <= picture.captured_at < datetime(2025, 1, 1)


def test_rows_of_any_source_have_age_bands(few: Path, example: Any, tmp_path: Path) -> None:
    module = example("labelled")
    options = module.arguments("about").parse_args([str(few), *NOW])
    now = module.labelled(options)
    write_parquet(table_of(*(guess(f"{age}", age, 0.2) for age in (5, 50))), tmp_path / "p.parquet")
    later = module.labelled(module.arguments("").parse_args([str(tmp_path / "p.parquet")]))
    assert later["age_band"].tolist() == ["3-9", "50-59"]
    (tmp_path / "folder").mkdir()
    (tmp_path / "p.parquet").rename(tmp_path / "folder" / "part-00000.parquet")
    again = module.labelled(module.arguments("").parse_args([str(tmp_path / "folder")]))
    pd.testing.assert_frame_equal(again, later)
    assert now["age_band"].cat.categories.tolist() == later["age_band"].cat.categories.tolist()
    assert now["age_band"].tolist() == annotate.age_bands(now["age"]).tolist()
    assert len(now) == 10


def test_pandas_analysis(few: Path, run: Run) -> None:
    hostile = few / "<img src=x onerror=alert(1)>\x1b[31m.jpg"
    hostile.write_bytes(b"no picture")
    said = run("pandas_analysis.py", few, *NOW)
    assert re.search(r"^ok +10$", said, re.MULTILINE)
    assert re.search(r"^decode_error +1$", said, re.MULTILINE)
    assert "crashed" not in said  # statuses that do not occur are not listed
    assert f"'{few}/<img src=x onerror=alert(1)>\\x1b[31m.jpg': decode_error: " in said
    assert "\x1b" not in said


def test_pandas_analysis_lists_failures_and_nothing_else(run: Run, tmp_path: Path) -> None:
    """A row of each status, of which one failure says no reason. One face has no spread, and these
    have no interval.
    """
    reasons = dict.fromkeys(Status, "it is so") | {Status.CRASHED: None}
    rows = [
        no_face(f"{status}.jpg", status=str(status), error=reasons[status])
        for status in Status
        if status is not Status.OK
    ]
    rows += [guess("ok.jpg", 30, 0.9), guess("neither.jpg", None, None)]
    write_parquet(table_of(*rows), tmp_path / "p.parquet")
    said = run("pandas_analysis.py", tmp_path / "p.parquet")
    listed = re.findall(r"^'.*/(\w+)\.jpg': (\w+): (.*)$", said, re.MULTILINE)
    assert [(name, status) for name, status, _ in listed] == [
        (name, name)
        for name in ("decode_error", "too_large", "unreadable", "changed", "timeout", "crashed")
    ]
    assert {why for _, _, why in listed} == {"it is so", "-"}
    assert "nan" not in said.lower()
    assert "<na>" not in said.lower()
    assert re.search(r"^30-39 +1 +0$", said, re.MULTILINE)


@pytest.mark.parametrize(
    "words",
    [
        ["pandas_analysis.py", "missing.parquet"],
        ["pandas_analysis.py", "missing"],
        ["pandas_analysis.py", "empty"],
        ["pandas_analysis.py", "damaged.parquet"],
        ["archive_by_decade.py", "missing.csv"],
        ["archive_by_decade.py", "p.parquet", "--plot", "missing/p.png"],
        ["birth_years.py", "empty"],
        ["birth_years.py", "p.parquet", "--plot", "missing/p.png"],
        ["compare_models.py", "missing"],
        ["compare_models.py", "empty", "--models", "nano", "nano"],
        ["compare_models.py", "unlabelled", "--models", "nano", "nano"],
        ["train_small.py", "missing", "--out", "small"],
        ["train_small.py", "empty", "--out", "small"],
        ["drawn_faces.py", "p.parquet"],
    ],
    ids=" ".join,
)
def test_ordinary_mistakes_are_one_line_and_exit_code_1(
    words: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    run: Run,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    write_parquet(ARCHIVE, tmp_path / "p.parquet")
    (tmp_path / "damaged.parquet").write_bytes(b"PAR1")
    (tmp_path / "empty").mkdir()
    draw(tmp_path / "unlabelled" / "x.png", (1, 2, 3))
    with pytest.raises(SystemExit) as told:
        run(*words)
    # Python prints a text that is exited with to stderr, and gives exit code 1.
    assert isinstance(told.value.code, str)
    assert len(told.value.code.splitlines()) == 1
    assert "Errno" not in told.value.code
    assert capsys.readouterr().err.count("\n") <= 1  # a line of progress at most


def test_an_error_of_an_example_itself_keeps_its_traceback(example: Any) -> None:
    with pytest.raises(ZeroDivisionError):
        example("labelled").run(lambda: 1 // 0)


def test_the_page_about_pandas_names_every_example_and_its_code_runs(
    few: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (ROOT / "docs" / "pandas.md").read_text("utf-8")
    for path in [*EXAMPLES.glob("*.py"), NOTEBOOK]:
        assert path.stem == "labelled" or f"examples/{path.name}" in page, path.name
    few.rename(tmp_path / "faces")
    monkeypatch.chdir(tmp_path)
    for name in ("people.parquet", "people.csv"):
        write(RunConfig(("faces",), faces="crop", model="nano"), name)
    names: dict[str, Any] = {}
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(blocks) == 3
    for block in blocks:
        exec(compile(block, "docs/pandas.md", "exec"), names)
    assert list(names["some"].columns) == ["path", "age", "gender"]
    assert names["banded"]["age_band"].cat.categories.tolist() == ["0-17", "18-64", "65+"]
    assert all(Path(file).is_file() for file in names["files"]["file"])
    assert names["by_year"].sum() == names["pictures"]["faces"].sum() == 10
    assert names["labelled"]["age_band"].tolist() == names["people"]["age_band"].tolist()


# Archives -----------------------------------------------------------------------------------


def dated(path: str, taken: tuple[int, int, int] | None, age: float | None, **more: Any) -> Any:
    """A face in a picture of a day; its interval reaches from 2 years less to 3 more."""
    when = None if taken is None else datetime(*taken)
    ends = {} if age is None else {"age_p10": age - 2, "age_p90": age + 3}
    return guess(path, age, 0.9, captured_at=when) | ends | more


ARCHIVE = table_of(
    dated("a", (1999, 12, 31), 4),
    dated("a", (1999, 12, 31), 35, face_index=1),
    dated("b", (2000, 1, 1), 36),
    dated("c", (2009, 7, 2), 36.5),
    dated("no time", None, 20),
    no_face("d", captured_at=datetime(2005, 1, 1)),
)


def test_faces_are_counted_by_decade_and_band(example: Any) -> None:
    frame = to_frame(ARCHIVE)
    frame["age_band"] = annotate.age_bands(frame["age"])
    faces = example("archive_by_decade").by_decade(frame)
    assert faces.index.tolist() == [1990, 2000]
    assert faces.columns.tolist()[:5] == ["0-2", "3-9", "10-17", "18-29", "30-39"]
    assert len(faces.columns) == 10  # the empty ones too, in order
    assert faces["3-9"].tolist() == [1, 0]
    assert faces["30-39"].tolist() == [1, 2]
    assert faces.to_numpy().sum() == 4


def test_archive_by_decade(run: Run, tmp_path: Path, few: Path) -> None:
    write_parquet(ARCHIVE, tmp_path / "p.parquet")
    said = run("archive_by_decade.py", tmp_path / "p.parquet", "--plot", tmp_path / "p.png")
    assert "4 faces; 1 more without a capture time" in said
    assert is_drawn(tmp_path / "p.png")
    said = run("archive_by_decade.py", few, *NOW)
    assert "10 faces; 0 more without a capture time" in said


def test_births_are_capture_times_less_ages(example: Any) -> None:
    found = example("birth_years").births(to_frame(ARCHIVE))
    assert found["path"].tolist() == ["a", "a", "b", "c"]
    assert found["taken"].tolist() == pytest.approx([1999.997, 1999.997, 2000, 2009.498], abs=2e-3)
    # 1999 less 35 years, and the ends of the interval the other way round.
    second = found.iloc[1]
    assert second[["born", "born_p10", "born_p90"]].tolist() == pytest.approx(
        [1964.997, 1961.997, 1966.997], abs=2e-3
    )
    assert (found["born_p10"] < found["born"]).all()
    assert (found["born"] < found["born_p90"]).all()


def test_birth_years(run: Run, tmp_path: Path, few: Path) -> None:
    write_parquet(ARCHIVE, tmp_path / "p.parquet")
    said = run("birth_years.py", tmp_path / "p.parquet", "--plot", tmp_path / "p.png")
    # 1999.997 - 35 and 2000 - 36; 2009.5 - 36.5; 1999.997 - 4.
    assert re.search(r"born from +\n1960 +2\n1970 +1\n1990 +1\n", said)
    assert "4 faces; 1 more without a capture time or an interval" in said
    assert "half of the intervals are wider than 5 years" in said
    assert is_drawn(tmp_path / "p.png")
    assert "10 faces; 0 more" in run("birth_years.py", few, *NOW)


def test_archives_without_dated_faces_draw_nothing(run: Run, tmp_path: Path) -> None:
    write_parquet(table_of(dated("a", None, 20), no_face("b")), tmp_path / "p.parquet")
    for name in ("archive_by_decade.py", "birth_years.py"):
        said = run(name, tmp_path / "p.parquet", "--plot", tmp_path / "p.png")
        assert "0 faces; 1 more without a capture time" in said
        assert "nan" not in said.lower()
        assert not (tmp_path / "p.png").exists()


def is_drawn(path: Path) -> bool:
    """Whether a PNG shows more than one colour."""
    with Image.open(path) as image:
        return len(np.unique(np.asarray(image.convert("L")))) > 20


# Models -------------------------------------------------------------------------------------


def test_compare_models(few: Path, run: Run) -> None:
    said = run("compare_models.py", few, "--models", "nano", "nano")
    assert re.search(r"age mae +\S+ \(\S+ to \S+\)", said)
    assert "10 faces: the age error of nano is +0.00 years against nano" in said
    assert "95 % interval +0.00 to +0.00" in said


def test_errors_are_paired_by_face(
    example: Any, fake_model: annotate.Model, tmp_path: Path
) -> None:
    """The fake model says mean pixel / 2.55: 100 for white, 0 for black."""
    for level, age in ((255, 90), (0, 20)):
        draw(tmp_path / "faces" / f"{age}_0_0_{level}.jpg", (level,) * 3)
    report = annotate.evaluate(tmp_path / "faces", model=fake_model, bootstrap=0)
    errors = example("compare_models").paired_errors(report, report)
    assert errors["first"].tolist() == errors["second"].tolist()
    assert sorted(errors["first"]) == pytest.approx([10, 20], abs=0.5)


def test_the_interval_of_a_mean_is_that_of_the_normal_distribution(example: Any) -> None:
    values = pd.Series(np.random.default_rng(3).normal(5, 2, 2000))
    low, high = example("compare_models").mean_interval(values)
    half = 1.96 * values.std() / np.sqrt(2000)
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.02)


def test_train_small(drawn: Path, run: Run, tmp_path: Path) -> None:
    pytest.importorskip("tf2onnx")
    out = tmp_path / "small"
    said = run("train_small.py", drawn, "--out", out, "--limit", COUNT, "--epochs", 1)
    assert "val_age_mae" in said
    assert re.search(r"\d+ images it never saw: age MAE \d+\.\d years", said)
    model = annotate.load_model(str(out / "model"))
    assert (model.name, model.size_px) == ("gray128-small", 128)
    run_json = json.loads((out / "run" / "run.json").read_text("utf-8"))
    assert (run_json["settings"]["preset"], run_json["settings"]["limit"]) == ("gray128", COUNT)
