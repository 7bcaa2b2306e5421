"""`annotate models`: what is installed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from annotate.errors import AnnotateError


@click.group("models", invoke_without_command=True)
@click.pass_context
def models_command(context: click.Context) -> None:
    """List the bundled models, or show the card of one.

    \b
    Examples:
      annotate models
      annotate models show base
    """
    if context.invoked_subcommand is not None:
        return
    from annotate.model import bundled_models, model_folder, read_info

    names = bundled_models()
    if not names:
        raise AnnotateError("no model is bundled with this installation: reinstall annotate")
    for name in names:
        folder = model_folder(name)
        click.echo(_described(folder, read_info(folder)[0]))


@models_command.command("show")
@click.argument("name", metavar="NAME|FOLDER", default="base")
def show_command(name: str) -> None:
    """Print the card of a model: its data, its figures, its limits."""
    from annotate.model import model_folder

    path = model_folder(name) / "card.md"
    try:
        text = path.read_text("utf-8", "replace")
    except OSError as error:
        raise AnnotateError(f"cannot read {path}: {error.strerror}") from error
    click.echo(text, nl=False)


def _described(folder: Path, info: dict[str, Any]) -> str:
    """One line on a model: its name, what it takes, its size and what it was accepted with."""
    size_px = info["input"]["size_px"]
    size = sum(entry.stat().st_size for entry in os.scandir(folder)) / 1e6
    parts = [f"{folder.name:<12} {size_px} x {size_px} px", f"{size:.1f} MB", *_figures(info)]
    return ", ".join(parts)


def _figures(info: dict[str, Any]) -> list[str]:
    """The headline figures that model.json states, measured on images it was not trained on."""
    shown = (
        ("age MAE {:.2f} years", ("age", "mae")),
        ("gender accuracy {:.3f}", ("gender", "accuracy")),
    )
    values = [(text, _at(info, "figures", "test", *path, "value")) for text, path in shown]
    return [text.format(value) for text, value in values if isinstance(value, int | float)]


def _at(found: Any, *keys: str) -> Any:
    """What lies at the end of a path of keys, or None."""
    for key in keys:
        found = found.get(key) if isinstance(found, dict) else None
    return found
