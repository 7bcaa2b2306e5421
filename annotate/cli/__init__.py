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

from annotate.cli.compare import compare_command
from annotate.cli.demo import demo_command
from annotate.cli.doctor import doctor_command
from annotate.cli.environment import name_variables, variables_behind
from annotate.cli.evaluate import evaluate_command
from annotate.cli.explore import explore_command
from annotate.cli.export import export_command
from annotate.cli.interrupts import InterruptedRunError
from annotate.cli.models import models_command
from annotate.cli.progress import say
from annotate.cli.review import review_command
from annotate.cli.run import run_command
from annotate.errors import AnnotateError, shown
from annotate.signals import end_from_now_on, was_interrupted
from annotate.version import __version__

SECTIONS = {
    "Label": ("run", "demo"),
    "Judge": ("explore", "evaluate", "compare"),
    "Use": ("review", "export"),
    "This installation": ("models", "doctor"),
}
"""The commands as help lists them; one that stands in no section comes last."""

_WHOLE_SENTENCE = 200
"""Characters of a command's first sentence; what does not fit into the line goes on below it."""

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
    """The group of commands, which knows faults of the output, and lists itself in sections."""

    def make_context(self, *arguments: Any, **options: Any) -> click.Context:
        with _output_faults():  # help is printed here
            return super().make_context(*arguments, **options)

    def invoke(self, context: click.Context) -> Any:
        with _output_faults():
            return super().invoke(context)

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        in_sections = {name for names in SECTIONS.values() for name in names}
        others = tuple(name for name in self.commands if name not in in_sections)
        width = max(map(len, self.commands))
        for title, names in (*SECTIONS.items(), ("Other commands", others)):
            rows = [
                (name.ljust(width), self.commands[name].get_short_help_str(_WHOLE_SENTENCE))
                for name in names
                if name in self.commands
            ]
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)


@click.group(
    cls=Commands,
    no_args_is_help=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="annotate")
def cli() -> None:
    """Label the faces of an image archive with age and gender.

    Results go to Parquet, CSV or JSON lines. Nothing leaves this machine.

    \b
    Examples:
      annotate demo
      annotate run ~/Pictures -o people.parquet
      annotate run faces/ --faces crop -o faces.csv
      annotate evaluate labelled/ --report report/
      annotate run --help

    Each option can come from a variable too: ANNOTATE_RUN_MODEL=nano is `run --model nano`.
    docs/shell.md has these, completion for bash, zsh and fish, and the exit codes.
    """


for command in (
    run_command,
    evaluate_command,
    compare_command,
    explore_command,
    models_command,
    demo_command,
    doctor_command,
    export_command,
    review_command,
):
    cli.add_command(command)
name_variables(cli)


def main() -> None:
    """Run the command line; every expected failure is one line on stderr and an exit code."""
    _open_closed_streams()
    try:
        code = cli.main(prog_name="annotate", standalone_mode=False)
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else "annotate"
        said = error.format_message().rstrip(".")
        if variables := variables_behind(error):
            said += f", with {', '.join(variables)} set in the environment"
        code = _complain(f"{said} (see {path} --help)", 2)
    except click.ClickException as error:
        code = _complain(error.format_message(), 1)
    except AnnotateError as error:
        code = _complain(*(("interrupted", 130) if was_interrupted() else (str(error), 1)))
    except ClosedPipeError:  # the reader of our output has what it wanted
        code = 0
    except InterruptedRunError as error:
        code = _complain(str(error), 130, limit=None)
    except (KeyboardInterrupt, click.Abort):
        code = _complain("interrupted", 130)
    except Exception:
        if not was_interrupted():
            raise
        code = _complain("interrupted", 130)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            # What is left cannot be written. Python would try again at its end, and complain.
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    end_from_now_on(130 if was_interrupted() else code or 0)
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


def _complain(text: str, code: int, limit: int | None = 2000) -> int:
    """Print one line for people on stderr, its control characters made visible.

    limit: characters that are shown; None for all, as of a command to be repeated.
    """
    line = " ".join(text.split("\n"))
    say(f"annotate: {shown(line, len(line) if limit is None else limit, quote=False)}")
    return code
