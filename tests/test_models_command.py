"""`annotate models`: the list, its figures, and cards."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.conftest import Invoke, one_line


def bundle(models: Path, fake_model_folder: Path, name: str, **said: object) -> Path:
    """Bundle the fake model under a name, with more in its model.json."""
    shutil.copytree(fake_model_folder, models / name)
    info = json.loads((models / name / "model.json").read_text()) | said
    (models / name / "model.json").write_text(json.dumps(info))
    return models / name


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder in the place of the bundled models."""
    import annotate.model

    monkeypatch.setattr(annotate.model, "MODELS", tmp_path / "models")
    return tmp_path / "models"


def test_models_lists_the_default_first_with_size_speed_and_figures(
    invoke: Invoke, fake_model_folder: Path, models: Path
) -> None:
    test = {
        "age": {"mae": {"value": 5.1234}, "cs5": {"value": 0.61447}},
        "gender": {"accuracy": {"value": 0.93456}},
    }
    photographs = {"age": {"mae": {"value": 6}}}
    figures = {"test": test, "appa_real": photographs}
    bundle(models, fake_model_folder, "aged", speed={"crops_per_s": 1963.2})
    base = bundle(models, fake_model_folder, "base", speed={"crops_per_s": 347}, figures=figures)
    (base / "model.keras").write_bytes(bytes(6_650_000))
    size = (base / "model.onnx").stat().st_size / 1e6
    code, out, err = invoke("models")
    assert (code, err) == (0, "")
    assert (
        out
        == f"""\
base (default)
  16 x 16 px, model.onnx {size:.1f} MB, model.keras 6.7 MB
  accurate: about 350 crops/s on two cores
  UTKFace, test part: age MAE 5.12 years, CS@5 0.614, gender accuracy 0.935
  APPA-REAL photographs: age MAE 6.00 years
aged
  16 x 16 px, model.onnx {size:.1f} MB
  fast: about 2,000 crops/s on two cores
"""
    )


NO_NUMBERS = (None, True, "9", [9], {"other": 9}, -1, float("nan"), float("inf"), 10**400)


@pytest.mark.parametrize("odd", NO_NUMBERS, ids=lambda odd: str(odd)[:9])
def test_models_leaves_out_what_is_no_number(
    invoke: Invoke, fake_model_folder: Path, models: Path, odd: object
) -> None:
    figures = {"test": {"age": {"mae": {"value": odd}, "cs5": odd}, "gender": odd}}
    bundle(models, fake_model_folder, "a", figures=figures, speed={"crops_per_s": odd})
    bundle(models, fake_model_folder, "b", figures=odd, speed=odd)
    bundle(models, fake_model_folder, "c")
    code, out, _ = invoke("models")
    assert code == 0
    shown = [line for line in out.splitlines() if not line.startswith("  16 x 16 px")]
    assert shown == ["a", "b", "c"]


def test_models_shows_the_card_of_one(
    invoke: Invoke, fake_model_folder: Path, models: Path, tmp_path: Path
) -> None:
    plain = bundle(models, fake_model_folder, "plain")
    assert invoke("models", "show", "plain") == (0, "# fake\n", "")
    assert invoke("models", "show", str(plain)) == (0, "# fake\n", "")
    # Models of others may have a card that model.json does not list.
    (plain / "card.md").write_text("# another\n")
    info = json.loads((plain / "model.json").read_text())
    del info["files"]["card.md"]
    (plain / "model.json").write_text(json.dumps(info))
    assert invoke("models", "show", "plain") == (0, "# another\n", "")


def _spoil(folder: Path, how: str) -> None:
    """Make a model folder's card one that cannot be believed."""
    if how == "changed":
        (folder / "card.md").write_text("# better\n")
    elif how == "gone":
        (folder / "card.md").unlink()
    elif how == "broken":
        (folder / "model.json").write_text("{")
    elif how == "no model":
        (folder / "model.json").unlink()
    else:
        # The same words, even.
        (folder / "card.md").rename(folder.parent / "card.md")
        (folder / "card.md").symlink_to(folder.parent / "card.md")


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("changed", "card.md is not the file that model.json lists: its sha256 is "),
        ("gone", "card.md: No such file"),
        ("broken", "model.json"),
        ("no model", "is no model folder: it has no model.json"),
        ("link", "card.md leads out of the model folder: refused"),
    ],
)
def test_a_card_that_is_not_the_models_own_is_not_shown(
    how: str, said: str, invoke: Invoke, copy: Path
) -> None:
    _spoil(copy, how)
    code, out, err = invoke("models", "show", str(copy))
    assert (code, out) == (1, "")
    assert said in one_line(err)


def test_without_any_model_the_list_says_so(invoke: Invoke, models: Path) -> None:
    code, out, err = invoke("models")
    assert (code, out) == (1, "")
    assert "reinstall annotate" in one_line(err)
