"""Presets: what their sizes and commands mean, and that what they name is there."""

from __future__ import annotations

import dataclasses
import shlex
from pathlib import Path

import pytest

from training.__main__ import cli
from training.presets import BASE, PRESETS, RGB200, Preset

any_preset = pytest.mark.parametrize("preset", PRESETS.values(), ids=list(PRESETS))


def test_the_size_rises_at_the_epoch_that_the_preset_names() -> None:
    rising = dataclasses.replace(BASE, size_px=96, sizes=((1, 64), (8, 96)))
    assert [rising.size_at(epoch) for epoch in (1, 7, 8, 20)] == [64, 64, 96, 96]
    assert RGB200.size_at(1) == 200


@any_preset
def test_the_last_epoch_is_trained_at_the_size_that_is_used(preset: Preset) -> None:
    last = preset.size_at(preset.epochs)
    # An average is used where both of its halves are good.
    assert last >= preset.size_px if preset.start_share else last == preset.size_px
    assert list(preset.sizes) == sorted(preset.sizes)
    assert max([side for _, side in preset.sizes], default=0) <= preset.source_px
    assert preset.source_px >= preset.size_px


@any_preset
def test_the_command_is_what_the_command_line_takes(preset: Preset, tmp_path: Path) -> None:
    """Parsed, and checked as far as the parser does, but not run."""
    (tmp_path / "utkface").mkdir()
    (tmp_path / "appa_real").mkdir()
    (tmp_path / "appa_train.csv").write_text("path,age\n")
    command = (
        preset.command.replace("$UTKFACE", str(tmp_path / "utkface"))
        .replace("$APPA_REAL", str(tmp_path / "appa_real"))
        .replace("appa_train.csv", str(tmp_path / "appa_train.csv"))
    )
    program, dash_m, module, name, *arguments = shlex.split(command)
    assert (program, dash_m, module) == ("python", "-m", "training")
    with cli.commands[name].make_context(name, arguments) as context:
        said = context.params
    assert (name, said["name"]) == ("fit", preset.name)
    assert (said["data"], said["out"]) == (tmp_path / "utkface", Path("runs") / preset.name)
    assert (said["teachers"], said["start"]) == (preset.teachers, preset.start)
    named = said["photographs"], said["photograph_labels"]
    both = tmp_path / "appa_real", tmp_path / "appa_train.csv"
    assert named == (both if preset.photographs else (None, None))


@any_preset
def test_a_teacher_is_another_preset_and_the_labels_keep_a_share(preset: Preset) -> None:
    if not preset.teachers:
        assert preset.teacher_share == 0
        return
    assert 0 < preset.teacher_share < 1
    for name in preset.teachers:
        assert PRESETS[name] is not preset
        assert PRESETS[name].age_bins == preset.age_bins
        # Nothing is enlarged for a teacher.
        assert PRESETS[name].size_px <= preset.source_px


@any_preset
def test_a_preset_begins_with_a_model_of_its_own_network_or_with_published_weights(
    preset: Preset,
) -> None:
    if preset.start is not None:
        assert PRESETS[preset.start].architecture == preset.architecture
        assert PRESETS[preset.start].size_px == preset.size_px
        assert preset.pretrained is None
