"""Ancestry: models that a run begins with and learns from, found wrong before images are read."""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from annotate.errors import AnnotateError
from annotate.model import bundled_models
from tests.model_folders import edit
from training.ancestry import beginning, begun_with, check_models, check_needs
from training.material import Sources
from training.presets import BASE, BASE_TAUGHT, GRAY128, NANO, Preset
from training.splits import SEED


@pytest.mark.parametrize(
    ("preset", "given", "said"),
    [
        (BASE_TAUGHT, {}, "--start base, and .* --teacher base --teacher nano: "),
        (BASE_TAUGHT, {"teachers": ("base",)}, "base_taught needs .* --start base: "),
        (BASE_TAUGHT, {"start": "base"}, "from, --teacher base --teacher nano: "),
        (NANO, {"start": "nano"}, "preset nano needs a model to learn from, --teacher base: "),
    ],
)
def test_a_preset_without_the_models_that_it_is_about_is_refused(
    preset: Preset, given: dict[str, object], said: str
) -> None:
    with pytest.raises(AnnotateError, match=said) as caught:
        check_needs(preset, Sources(Path("nowhere"), **given))  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_other_models_than_the_presets_and_more_of_them_will_do() -> None:
    """One start and one teacher are enough, and less is not."""
    asked = [
        Sources(Path("nowhere"), start=start, teachers=teachers)
        for start in (None, "a")
        for teachers in ((), ("b",), ("b", "c"))
    ]
    found = {
        preset.name: [not _refuses(check_needs, preset, sources) for sources in asked]
        for preset in (BASE, NANO, BASE_TAUGHT)
    }
    assert found == {
        "base": [True] * 6,
        "nano": [False, True, True] * 2,
        "base_taught": [False] * 3 + [False, True, True],
    }


def _refuses(check: Callable[..., object], *given: object) -> bool:
    try:
        check(*given)
    except AnnotateError:
        return True
    return False


def _says(folder: Path, data: object, bins: int = 117) -> str:
    """Have a model say something of its data, and that it gives so many ages. Returns its folder
    as an option names it.
    """

    def say(info: dict[str, Any]) -> None:
        info["data"] = data
        info["heads"]["age"] = {"kind": "distribution", "bins": bins}

    edit(folder, say)
    return str(folder)


SPLIT = {"seed": 7, "test_share": 0.1, "validation_share": 0.1, "limit": None}
NAME = "UTKFace, aligned and cropped"


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"seed": 8}, "split of the images, seed 8, than this run's, seed 7: "),
        ({"test_share": 0.2}, "test_share 0.2, than this run's, test_share 0.1: "),
        ({"validation_share": 0.2}, "validation_share 0.2, than .* validation_share 0.1: "),
        ({"seed": "7\n8"}, r"seed '7\\x0a8', than this run's, seed 7: "),
    ],
)
def test_a_model_of_another_split_is_refused_as_start_and_as_teacher(
    changed: dict[str, object], said: str, copy: Path, tmp_path: Path
) -> None:
    silent = _says(Path(shutil.copytree(copy, tmp_path / "silent")), None)
    model = _says(copy, {"name": NAME, "split": SPLIT | changed})
    for given in ({"start": model}, {"teachers": (silent, model)}):
        with pytest.raises(AnnotateError, match=said) as caught:
            check_models(BASE, Sources(Path("nowhere"), **given), 7)  # type: ignore[arg-type]
        assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "data",
    [
        {"name": NAME, "split": SPLIT},
        # A rehearsal and a whole run put each image into the same part.
        {"name": NAME, "split": SPLIT | {"limit": 500}},
        {"name": "other faces", "split": SPLIT | {"seed": 8}},
        {"name": NAME, "split": None},
        {"name": NAME},
        {"name": NAME, "split": {"rule": "by hand"}},
        ["a list"],
    ],
)
def test_a_model_of_the_same_split_or_that_says_nothing_of_it_is_taken(
    data: object, copy: Path
) -> None:
    model = _says(copy, data)
    sources = Sources(Path("nowhere"), start=model, teachers=(model,))
    refused = [seed for seed in (7, 8) if _refuses(check_models, BASE, sources, seed)]
    # Another seed is another split, where the model says of these images by which it was made.
    says = isinstance(data, dict) and data["name"] == NAME and "seed" in (data.get("split") or ())
    assert refused == ([8] if says else [])


def test_the_share_of_the_preset_counts(copy: Path) -> None:
    model = _says(copy, {"name": NAME, "split": SPLIT})
    wider = dataclasses.replace(BASE, validation_share=0.2)
    with pytest.raises(AnnotateError, match=r"validation_share 0\.1, than .* 0\.2"):
        check_models(wider, Sources(Path("nowhere"), start=model), 7)


def test_a_teacher_of_other_ages_is_refused_and_a_start_is_left_to_its_layers(copy: Path) -> None:
    model = _says(copy, None, bins=101)
    sources = Sources(Path("nowhere"), teachers=(model,))
    for preset, said in (
        (NANO, "the teacher fake gives 101 values for age, preset nano learns 117"),
        (GRAY128, "gray128 learns one number for age, and has no use for the teacher fake"),
    ):
        with pytest.raises(AnnotateError, match=said):
            check_models(preset, sources, 7)
    check_models(NANO, Sources(Path("nowhere"), start=model), 7)
    check_models(dataclasses.replace(NANO, age_bins=101), sources, 7)


def test_a_model_that_is_not_there_is_found_missing(tmp_path: Path) -> None:
    for given in ({"start": "nowhere"}, {"teachers": ("nowhere",)}):
        with pytest.raises(AnnotateError, match="no model 'nowhere'"):
            check_models(BASE, Sources(tmp_path, **given), 7)  # type: ignore[arg-type]


@pytest.mark.skipif(not {"base", "nano"} <= set(bundled_models()), reason="no bundled models")
def test_the_bundled_models_are_of_the_split_that_is_the_default() -> None:
    for name in ("base", "nano"):
        sources = Sources(Path("nowhere"), start=name, teachers=(name,))
        check_models(BASE, sources, SEED)
        with pytest.raises(AnnotateError, match="seed 2026, than this run's, seed 7"):
            check_models(BASE, sources, 7)


@pytest.fixture
def start(copy: Path) -> Path:
    """A model folder with weights, which need not be any here, and a training that they are of."""
    (copy / "model.keras").write_bytes(b"weights")
    edit(copy, lambda info: info.update(training={"epochs": 3}))
    return copy


def test_a_run_records_the_weights_and_the_training_that_it_begins_with(start: Path) -> None:
    expected = {"start": {"epochs": 3}, "start_sha256": hashlib.sha256(b"weights").hexdigest()}
    assert begun_with(str(start)) == expected
    assert begun_with(None) == {}


def test_a_model_that_no_training_made_is_none_to_begin_with(start: Path) -> None:
    edit(start, lambda info: info.pop("training", None))
    with pytest.raises(AnnotateError, match="does not say how it was made: begin with one that"):
        begun_with(str(start))
    edit(start, lambda info: info.update(training=["a list"]))
    with pytest.raises(AnnotateError, match="does not say how it was made"):
        begun_with(str(start))
    (start / "model.keras").unlink()
    edit(start, lambda info: info.update(training={}))
    with pytest.raises(AnnotateError, match=r"has no model\.keras: begin with one that"):
        begun_with(str(start))


def test_weights_tell_which_model_a_run_began_with(start: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run_info = {"settings": {"start": str(start)}, **begun_with(str(start))}
    assert beginning(run, run_info, None) == str(start)
    # What is said of the same weights may change.
    edit(start, lambda info: info.update(training={"epochs": 4}))
    moved = str(start.rename(tmp_path / "moved"))
    assert beginning(run, run_info, moved) == moved
    with pytest.raises(AnnotateError, match=r"no model .*copy.*: say where that is by --start"):
        beginning(run, run_info, None)
    (tmp_path / "moved/model.keras").write_bytes(b"others")
    edit(tmp_path / "moved", lambda info: info.update(training={"epochs": 3}))
    with pytest.raises(AnnotateError, match=r"began with another model than .*moved"):
        beginning(run, run_info, moved)


def test_of_older_runs_the_training_tells_which_model_they_began_with(
    start: Path, fake_model_folder: Path, tmp_path: Path
) -> None:
    older = {"settings": {"start": str(start)}, "start": {"epochs": 3}}
    (start / "model.keras").write_bytes(b"others")
    edit(start)
    assert beginning(tmp_path, older, None) == str(start)
    for other in ({"start": {"epochs": 4}}, {"start": None}):
        with pytest.raises(AnnotateError, match="began with another model"):
            beginning(tmp_path, older | other, None)
    with pytest.raises(AnnotateError, match="began with another model"):
        beginning(tmp_path, older | {"start": None}, str(fake_model_folder))
    assert beginning(tmp_path, {"settings": {"preset": "base"}}, None) is None
