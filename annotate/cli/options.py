"""Options that several commands share, in the same words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])

ENGINES = ("auto", "onnx", "keras")
DEVICES = ("auto", "cpu", "gpu")

_INFERENCE = (
    click.option(
        "--model",
        default="base",
        show_default=True,
        metavar="NAME|FOLDER",
        help="A bundled model, or a folder that `python -m training export` made.",
    ),
    click.option(
        "--engine",
        type=click.Choice(ENGINES),
        default="auto",
        show_default=True,
        help="auto: ONNX Runtime on a CPU, Keras on a GPU.",
    ),
    click.option(
        "--device",
        type=click.Choice(DEVICES),
        default="auto",
        show_default=True,
        help="gpu fails where no GPU is usable; it never falls back.",
    ),
    click.option(
        "--batch-size",
        type=click.IntRange(1, 4096),
        default=64,
        show_default=True,
        help="Faces that the model sees at a time.",
    ),
    click.option(
        "--workers",
        type=click.IntRange(1, 256),
        help="Decoding processes.  [default: one a core]",
    ),
    click.option("--limit", type=click.IntRange(1), metavar="N", help="Only the first N inputs."),
)


def inference_options(command: Command) -> Command:
    """Add --model, --engine, --device, --batch-size, --workers and --limit."""
    for option in reversed(_INFERENCE):
        command = option(command)
    return command
