"""Kills: the real command, killed at random instants, gives the rows of a run that was not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from torture.kills import run_trials

KILLS = 2


@pytest.mark.skipif(os.name != "posix", reason="kills process groups")
def test_runs_that_are_killed_give_the_rows_of_one_that_is_not(
    tmp_path: Path, fake_model_folder: Path
) -> None:
    figures = run_trials(tmp_path, str(fake_model_folder), kills=KILLS, seed=5)
    assert figures.faults == []
    assert figures.kills >= KILLS
