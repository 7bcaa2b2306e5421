"""The command line: options in, one call, an exit code out. Imports Click and nothing heavy.

Exit codes: 0 all good, 1 the run could not be done, 2 usage, 3 done but some inputs failed,
130 interrupted.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import click

from annotate.cli.demo import demo_command
from annotate.cli.evaluate import evaluate_command
from annotate.cli.models import models_command
from annotate.cli.run import run_command
from annotate.errors import AnnotateError
from annotate.version import __version__


class ClosedPipe(Exception):
    """The reader of stdout has gone. Not an OSError, which Click would answer with exit code 1."""


class Commands(click.Group):
    """The group of commands, for which a closed pipe is no error."""

    def invoke(self, context: click.Context) -> Any:
        try:
            result = super().invoke(context)
            sys.stdout.flush()
        except BrokenPipeError as error:
            raise ClosedPipe from error
        return result


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="annotate")
def cli() -> None:
    """Label the faces of an image archive with age and gender.

    Results go to Parquet, CSV or JSON lines. Nothing leaves this machine.
    """


for command in (run_command, evaluate_command, models_command, demo_command):
    cli.add_command(command)


def main() -> None:
    """Run the command line; every expected failure is one line on stderr and an exit code."""
    try:
        code = cli.main(prog_name="annotate", standalone_mode=False)
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else "annotate"
        code = _complain(f"{error.format_message()} (see {path} --help)", 2)
    except click.ClickException as error:
        code = _complain(error.format_message(), 1)
    except AnnotateError as error:
        code = _complain(str(error), 1)
    except ClosedPipe:
        # The reader of our output has what it wanted. Its pipe is put away, or Python would
        # complain when it flushes stdout at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except (KeyboardInterrupt, click.Abort):
        code = _complain("interrupted", 130)
    sys.exit(code or 0)


def _complain(text: str, code: int) -> int:
    """Print one line for people on stderr, its control characters made visible."""
    line = " ".join(text.split("\n"))
    shown = "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in line)
    click.echo(f"annotate: {shown}", err=True)
    return code
