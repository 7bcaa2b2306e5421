"""Options that several commands share, in the same words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from annotate.face_options import (
    DETECT_SIZE_PX,
    MAX_DETECT_SIZE_PX,
    MIN_DETECT_SIZE_PX,
    MIN_FACE_PX,
    MIN_SCORE,
)

Command = TypeVar("Command", bound=Callable[..., Any])

DEFAULT_MODEL = "base"
ENGINES = ("auto", "onnx", "keras")
DEVICES = ("auto", "cpu", "gpu")
MAX_TIMEOUT_S = 86_400


def complete_files(_: click.Context, __: click.Parameter, typed: str) -> list[CompletionItem[str]]:
    """Have the shell complete the name of a file or folder."""
    return [CompletionItem(typed, type="file")]


def complete_models(_: click.Context, __: click.Parameter, typed: str) -> list[CompletionItem[str]]:
    """The bundled models, or, where none begins so, the folders that the shell knows."""
    from annotate.model import bundled_models

    names = [name for name in bundled_models() if name.startswith(typed)]
    return [CompletionItem(name) for name in names] or [CompletionItem(typed, type="dir")]


_INFERENCE = (
    click.option(
        "--model",
        default=DEFAULT_MODEL,
        show_default=True,
        metavar="NAME|FOLDER",
        shell_complete=complete_models,
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
        "--tta",
        is_flag=True,
        help="Average what the network says of each crop and of its mirror image: a little more"
        " accurate, for twice the time of inference.",
    ),
    click.option(
        "--workers",
        type=click.IntRange(1, 256),
        help="Decoding processes.  [default: one a core]",
    ),
    click.option(
        "--timeout-s",
        type=click.FloatRange(0, MAX_TIMEOUT_S, min_open=True),
        default=120.0,
        show_default=True,
        metavar="SECONDS",
        help="An input that takes longer to decode becomes a `timeout`.",
    ),
    click.option("--limit", type=click.IntRange(1), metavar="N", help="Only the first N inputs."),
)


def _detect_size(_: click.Context, __: click.Parameter, value: str) -> int | str:
    """Pixels, or the word auto."""
    if value == "auto":
        return value
    size = int(value) if value.isascii() and value.isdigit() else 0
    if not MIN_DETECT_SIZE_PX <= size <= MAX_DETECT_SIZE_PX:
        raise click.BadParameter(
            f"{value!r}: expected auto or {MIN_DETECT_SIZE_PX} to {MAX_DETECT_SIZE_PX} pixels"
        )
    return size


_DETECTION = (
    click.option(
        "--detect-size",
        callback=_detect_size,
        default=str(DETECT_SIZE_PX),
        show_default=True,
        metavar="PX|auto",
        help="Long side at which a photograph is searched; a face needs 20 px there. auto: as"
        " large as faces of --min-face-px take, for group pictures.",
    ),
    click.option(
        "--min-face-px",
        type=click.IntRange(1),
        default=MIN_FACE_PX,
        show_default=True,
        metavar="PX",
        help="Leave out faces whose shorter side has fewer pixels in the original.",
    ),
    click.option(
        "--min-score",
        type=click.FloatRange(0, 1),
        default=MIN_SCORE,
        show_default=True,
        metavar="SCORE",
        help="Leave out faces with a lower detection score.",
    ),
    click.option(
        "--max-faces",
        type=click.IntRange(1),
        metavar="N",
        help="Keep only the N largest faces of a photograph.",
    ),
)


def detection_options(command: Command) -> Command:
    """Add --detect-size, --min-face-px, --min-score and --max-faces."""
    for option in reversed(_DETECTION):
        command = option(command)
    return command


def inference_options(command: Command) -> Command:
    """Add --model, --engine, --device, --batch-size, --tta, --workers, --timeout-s and --limit."""
    for option in reversed(_INFERENCE):
        command = option(command)
    return command
