"""The command line: options in, one call, an exit code out. Imports Click and nothing heavy.

Exit codes: 0 all good, 1 the run could not be done, 2 usage, 3 done but some inputs failed,
130 interrupted.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from typing import Any

import click

from annotate.cli.demo import demo_command
from annotate.cli.evaluate import evaluate_command
from annotate.cli.interrupts import InterruptedRunError
from annotate.cli.models import models_command
from annotate.cli.progress import say
from annotate.cli.run import run_command
from annotate.errors import AnnotateError, shown
from annotate.version import __version__

_FULL = (errno.ENOSPC, errno.EFBIG, errno.EIO)


class ClosedPipeError(Exception):
    """The reader of stdout has gone. Not an OSError, which Click would answer with exit code 1."""


@contextlib.contextmanager
def _output_faults() -> Iterator[None]:
    """Tell faults of where the output goes from bugs: a closed pipe, a full disk."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError as error:
        raise ClosedPipeError from error
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise AnnotateError(f"cannot write: {error.strerror}") from error


class Commands(click.Group):
    """The group of commands, which knows faults of the output."""

    def make_context(self, *arguments: Any, **options: Any) -> click.Context:
        with _output_faults():  # help is printed here
            return super().make_context(*arguments, **options)

    def invoke(self, context: click.Context) -> Any:
        with _output_faults():
            return super().invoke(context)


@click.group(
    cls=Commands,
    no_args_is_help=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="annotate")
def cli() -> None:
    """Label the faces of an image archive with age and gender.

    Results go to Parquet, CSV or JSON lines. Nothing leaves this machine.
    """


for command in (run_command, evaluate_command, models_command, demo_command):
    cli.add_command(command)


def main() -> None:
    """Run the command line; every expected failure is one line on stderr and an exit code."""
    _open_closed_streams()
    try:
        code = cli.main(prog_name="annotate", standalone_mode=False)
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else "annotate"
        code = _complain(f"{error.format_message().rstrip('.')} (see {path} --help)", 2)
    except click.ClickException as error:
        code = _complain(error.format_message(), 1)
    except AnnotateError as error:
        code = _complain(str(error), 1)
    except ClosedPipeError:  # the reader of our output has what it wanted
        code = 0
    except InterruptedRunError as error:
        code = _complain(str(error), 130)
    except (KeyboardInterrupt, click.Abort):
        code = _complain("interrupted", 130)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            # What is left cannot be written. Python would try again at its end, and complain.
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    sys.exit(code or 0)


def _open_closed_streams() -> None:
    """Give stdout and stderr a place to go where whoever started us closed them.

    Else the next file to be opened takes their number, and worker processes do not start.
    """
    for number, name in ((1, "stdout"), (2, "stderr")):
        if getattr(sys, name) is None:
            os.dup2(os.open(os.devnull, os.O_WRONLY), number)
            os.set_inheritable(number, True)
            setattr(sys, name, os.fdopen(number, "w", encoding="utf-8"))


def _complain(text: str, code: int) -> int:
    """Print one line for people on stderr, its control characters made visible."""
    say(f"annotate: {shown(' '.join(text.split(chr(10))), 2000, quote=False)}")
    return code
