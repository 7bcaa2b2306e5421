"""`annotate models`: what is installed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from annotate.cli.options import DEFAULT_MODEL, complete_models
from annotate.errors import AnnotateError, shown

FAST_CROPS_PER_S = 1000
"""Crops a second on two cores from which on a model is called fast."""

_MOST_CARD_BYTES = 1_000_000

_MOST = 1e9
"""A figure in a stranger's model.json that is larger is none."""


@click.group(
    "models",
    invoke_without_command=True,
    short_help="List the bundled models, or show the card of one.",
)
@click.pass_context
def models_command(context: click.Context) -> None:
    """List the bundled models with their size, speed and figures, or show the card of one.

    \b
    Examples:
      annotate models
      annotate models show base
    """
    if context.invoked_subcommand is not None:
        return
    from annotate.model import bundled_models, model_folder, read_info

    names = sorted(bundled_models(), key=lambda name: (name != DEFAULT_MODEL, name))
    if not names:
        raise AnnotateError("no model is bundled with this installation: reinstall annotate")
    for name in names:
        folder = model_folder(name)
        click.echo("\n  ".join(_described(folder, read_info(folder)[0])))


@models_command.command("show")
@click.argument(
    "name", metavar="NAME|FOLDER", default=DEFAULT_MODEL, shell_complete=complete_models
)
def show_command(name: str) -> None:
    """Print the card of a model: its data, its figures, its limits.

    \b
    Examples:
      annotate models show
      annotate models show nano
    """
    text = _card(name).decode("utf-8", "replace")
    for line in text.splitlines():
        cells = (shown(cell, len(cell), quote=False) for cell in line.split("\t"))
        click.echo("\t".join(cells))


def _card(name: str) -> bytes:
    """The card that a model's model.json lists, or that lies beside it. Raises AnnotateError."""
    from annotate.model import model_folder, read_info
    from annotate.model_files import read_regular

    folder = model_folder(name)
    info, _ = read_info(folder)
    path = folder / "card.md"
    if os.path.dirname(os.path.realpath(path)) != os.path.realpath(folder):
        raise AnnotateError(f"{path} leads out of the model folder: refused")
    card = read_regular(path, _MOST_CARD_BYTES)
    found, expected = hashlib.sha256(card).hexdigest(), info["files"].get(path.name)
    if expected not in (None, found):
        raise AnnotateError(
            f"{path} is not the file that model.json lists: its sha256 is {found[:12]}…, expected"
            f" {expected[:12]}…; get the model folder again"
        )
    return card


def _described(folder: Path, info: dict[str, Any]) -> Iterator[str]:
    """Lines on a model: its name, what it takes, its size and speed, what it was accepted with.

    info: model.json, of which the figures may be anything; what is no number is left out.
    """
    yield shown(folder.name, quote=False) + " (default)" * (folder.name == DEFAULT_MODEL)
    size_px = info["input"]["size_px"]
    yield ", ".join([f"{size_px} x {size_px} px", *_file_sizes(folder)])
    if (speed := _number_at(info, "speed", "crops_per_s")) is not None:
        kind = "fast" if speed >= FAST_CROPS_PER_S else "accurate"
        yield f"{kind}: about {_two_digits(speed):,} crops/s on two cores"
    for title, figures in (
        ("UTKFace, test part", _test_figures(info)),
        ("APPA-REAL photographs", _age_mae(info, "appa_real")),
    ):
        if figures:
            yield f"{title}: {', '.join(figures)}"


def _file_sizes(folder: Path) -> Iterator[str]:
    """The sizes of the network files that are there."""
    from annotate.model import FILES

    for name in FILES.values():
        path = folder / name
        if path.is_file():
            yield f"{name} {os.path.getsize(path) / 1e6:.1f} MB"


def _test_figures(info: dict[str, Any]) -> list[str]:
    """The headline figures that model.json states, on images that the model was not trained on."""
    figures = _age_mae(info, "test")
    for text, path in (
        ("CS@5 {:.3f}", ("age", "cs5")),
        ("gender accuracy {:.3f}", ("gender", "accuracy")),
    ):
        if (value := _number_at(info, "figures", "test", *path, "value")) is not None:
            figures.append(text.format(value))
    return figures


def _age_mae(info: dict[str, Any], data: str) -> list[str]:
    value = _number_at(info, "figures", data, "age", "mae", "value")
    return [] if value is None else [f"age MAE {value:.2f} years"]


def _number_at(found: Any, *keys: str) -> float | None:
    """The number from 0 to _MOST at the end of a path of keys, or None."""
    for key in keys:
        found = found.get(key) if isinstance(found, dict) else None
    is_number = isinstance(found, int | float) and not isinstance(found, bool)
    return float(found) if is_number and 0 <= found <= _MOST else None


def _two_digits(number: float) -> int:
    """Rounded to two significant digits: what may be said of a speed."""
    return round(float(f"{number:.2g}"))
