"""`annotate review`: look at the faces of an output, and correct them."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path

import click
from click.core import ParameterSource

from annotate.cli.options import complete_files


@click.command("review")
@click.argument("out", type=click.Path(), metavar="OUT")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    show_default="any that is free",
    help="Listen on this port of 127.0.0.1.",
)
@click.option("--no-browser", is_flag=True, help="Only print the address of the page.")
@click.option(
    "--apply",
    "applies",
    is_flag=True,
    help="Do not look: merge the corrections made so far into a new output, -o.",
)
@click.option(
    "-o",
    "--output",
    metavar="NEW",
    shell_complete=complete_files,
    help="With --apply: a .parquet, .csv or .jsonl file, a folder, or - for CSV on stdout.",
)
@click.option("--overwrite", is_flag=True, help="With --apply: replace NEW where it exists.")
@click.pass_context
def review_command(
    context: click.Context,
    out: str,
    port: int,
    no_browser: bool,
    applies: bool,
    output: str | None,
    overwrite: bool,
) -> None:
    """Look at the faces of OUT in a browser, the least certain first, and correct them.

    OUT is an output of `annotate run`. The page is for this machine alone. Corrections of gender,
    age and boxes are made with a key each, and are in OUT.corrections.jsonl as soon as they are
    seen; neither OUT nor a photograph is changed. Ctrl-C ends it. --apply writes a new output, in
    which `label_source` is `person` where a person spoke; `annotate evaluate --labels` takes it.

    \b
    Examples:
      annotate review people.parquet
      annotate review people.parquet --port 8765 --no-browser
      annotate review people.parquet --apply -o reviewed.parquet
      annotate evaluate photos/ --faces detect --labels reviewed.parquet
    """
    _check_options(context, applies=applies, output=output, overwrite=overwrite)
    if applies:
        assert output is not None
        _apply(out, output, overwrite=overwrite)
        return

    from annotate.cli.progress import say
    from annotate.review.journal import journal_path
    from annotate.review.server import review

    kinds = review(out, port=port, open_browser=not no_browser, tell=say)
    if not any(kinds.values()):
        say("nothing was corrected")
        return
    say(f"kept in {_shown(str(journal_path(out)))}: {_told(kinds)}")
    new = f"{Path(out).stem}-reviewed.parquet"
    say(f"to merge them: {shlex.join(['annotate', 'review', out, '--apply', '-o', new])}")


def _check_options(
    context: click.Context, *, applies: bool, output: str | None, overwrite: bool
) -> None:
    """Raise UsageError where options do not go together."""
    if not applies:
        for is_there, option in ((output is not None, "-o"), (overwrite, "--overwrite")):
            if is_there:
                raise click.UsageError(f"{option} is for --apply: pass both")
        return
    if output is None:
        raise click.UsageError("--apply writes a new output: pass -o reviewed.parquet")
    for name in ("port", "no_browser"):
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            option = "--" + name.replace("_", "-")
            raise click.UsageError(f"{option} is for the page, which --apply does not open")


def _apply(out: str, output: str, *, overwrite: bool) -> None:
    """Merge, and say what was merged."""
    from annotate.cli.progress import say
    from annotate.review.applying import apply_corrections
    from annotate.review.journal import journal_path
    from annotate.review.telling import remarks

    applied = apply_corrections(out, output, overwrite=overwrite)
    say(f"applied: {_told(applied.counts)}")
    for remark in remarks(journal_path(out), applied.unreadable, applied.gone):
        say(remark)
    if output != "-":
        say(f"wrote {_shown(output)}")


def _told(kinds: Mapping[str, int]) -> str:
    """Of how many faces what was said, in words."""
    return ", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in kinds.items())


def _shown(path: str) -> str:
    from annotate.errors import shown

    return shown(path, 300, quote=False)
