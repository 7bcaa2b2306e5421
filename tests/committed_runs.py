"""Runs into an output in small parts, broken off and gone on with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from annotate import Model, labelling
from annotate.labelling import Job, OutputOptions
from annotate.readers import read_table
from annotate.run_config import RunConfig
from annotate.summary import Summary

SMALL = OutputOptions(part_size=5)


def config(*sources: Path | str, **options: Any) -> RunConfig:
    return RunConfig(tuple(map(str, sources)), faces="crop", workers=1, **options)


def write(
    config: RunConfig, target: Path, model: Model, options: OutputOptions = SMALL, **ways: bool
) -> Summary | None:
    chosen = OutputOptions(**{**vars(options), **ways})
    return labelling.write(config, str(target), chosen, model=model)


def break_off(config: RunConfig, target: Path, model: Model, inputs: int, **ways: bool) -> int:
    """Break a run off once so many inputs have rows. Returns how many of them are kept."""
    chosen = OutputOptions(**{**vars(SMALL), **ways})

    def look(summary: Summary) -> None:
        if summary.done >= inputs:
            raise KeyboardInterrupt

    with Job(config, str(target), chosen, model=model) as job:
        with pytest.raises(KeyboardInterrupt):
            job.label(look)
        assert not target.exists() or ways
        return job.committed


def rows(target: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = read_table(target).to_pylist()
    return found


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def count_predictions(monkeypatch: pytest.MonkeyPatch, model: Model) -> Any:
    """How many faces the model has seen from now on."""
    seen: list[int] = []
    real = type(model).predict

    def predict(self: Model, faces: Any) -> Any:
        seen.append(len(faces))
        return real(self, faces)

    monkeypatch.setattr(type(model), "predict", predict)
    return lambda: sum(seen)
