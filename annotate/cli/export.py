"""`annotate export`: hand the rows to other tools."""

from __future__ import annotations

import sys
import time
from pathlib import PurePath
from typing import Any

import click
from click.core import ParameterSource

from annotate.cli.options import complete_files
from annotate.cli.progress import SECONDS_PER_LINE, say
from annotate.errors import shown

FORMATS = ("label-studio", "coco", "xmp")

_ONLY_FOR = {
    "faces_only": ("label-studio", "coco"),
    "url_prefix": ("label-studio",),
    "naming": ("xmp",),
    "workers": ("xmp",),
}
"""Options that say something to some of the formats alone."""

_OPTIONS = {"naming": "--sidecar-name"}


@click.command("export")
@click.argument("out", shell_complete=complete_files)
@click.option(
    "--to",
    type=click.Choice(FORMATS),
    required=True,
    help="label-studio: tasks with predictions, to be corrected. coco: a data set of boxes. xmp:"
    " sidecars with face regions and keywords, for photo programs.",
)
@click.option(
    "-o",
    "--output",
    "target",
    required=True,
    metavar="TARGET",
    shell_complete=complete_files,
    help="A .json file; for xmp a folder, into which the tree of sidecars goes.",
)
@click.option(
    "--faces-only",
    is_flag=True,
    help="Leave out pictures in which no face was found. (Sidecars have none of those anyway.)",
)
@click.option(
    "--url-prefix",
    metavar="URL",
    help="What comes before the pictures' paths in Label Studio, such as https://host/photos/."
    "  [default: Label Studio serves the files itself]",
)
@click.option(
    "--sidecar-name",
    "naming",
    type=click.Choice(["full", "stem"]),
    default="full",
    show_default=True,
    help="full: photo.jpg.xmp, as digiKam and darktable name them. stem: photo.xmp, as Lightroom.",
)
@click.option(
    "--workers",
    type=click.IntRange(1, 256),
    help="Processes that read the originals, for xmp.  [default: one a core]",
)
@click.option(
    "--overwrite", is_flag=True, help="Replace TARGET, or sidecars that are in the tree already."
)
@click.option("--dry-run", is_flag=True, help="Say what would be written, and write nothing.")
@click.option("-q", "--quiet", is_flag=True, help="No progress and no counts on stderr.")
@click.pass_context
def export_command(
    context: click.Context,
    out: str,
    to: str,
    target: str,
    faces_only: bool,
    url_prefix: str | None,
    naming: str,
    workers: int | None,
    overwrite: bool,
    dry_run: bool,
    quiet: bool,
) -> None:
    """Hand the rows of OUT, an output of `annotate run`, to other tools.

    Inputs in archives, without a label, or with names that the format cannot hold are counted and
    left out. The originals are never changed. The exit code is 3 where something was to be exported
    and could not: a file that is gone or has changed since the run, for example.

    \b
    Examples:
      annotate export people.parquet --to label-studio -o tasks.json --faces-only
      annotate export people.parquet --to coco -o faces.json
      annotate export people.parquet --to xmp -o sidecars/ --dry-run
      annotate export people.parquet --to xmp -o sidecars/
    """
    _check_options(context, to)
    _check_suffix(to, target)

    from annotate.export.exporting import ExportConfig, run_export
    from annotate.export.sidecars import Naming

    config = ExportConfig(
        out=out,
        to=to,
        target=target,
        overwrite=overwrite,
        dry_run=dry_run,
        faces_only=faces_only,
        url_prefix=url_prefix,
        naming=Naming(naming),
        workers=workers,
    )
    with _Progress(quiet=quiet) as progress:
        exported = run_export(config, progress)
    if not quiet:
        say(exported.render())
    context.exit(exported.tally.exit_code)


def _check_options(context: click.Context, to: str) -> None:
    """Refuse options that would say nothing to the format."""
    for parameter, formats in _ONLY_FOR.items():
        is_given = context.get_parameter_source(parameter) is ParameterSource.COMMANDLINE
        if is_given and to not in formats:
            option = _OPTIONS.get(parameter, "--" + parameter.replace("_", "-"))
            raise click.UsageError(f"{option} is for --to {' and '.join(formats)}, not for {to}")


def _check_suffix(to: str, target: str) -> None:
    """Refuse a target whose name does not fit the format, before anything is read."""
    # Late: it brings PyArrow, which help and completion do without.
    from annotate.export.json_files import SUFFIX

    if to != "xmp" and PurePath(target).suffix.lower() != SUFFIX:
        name = shown(target, 300)
        raise click.UsageError(f"-o {name}: expected a file named *{SUFFIX} for --to {to}")


class _Progress:
    """Call it with how many inputs are done of how many. A bar on a terminal, else a line now and
    then. A context manager, so that the bar is closed.
    """

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._bar: Any = None
        self._next_line = time.monotonic() + SECONDS_PER_LINE

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def __call__(self, done: int, total: int) -> None:
        """Show how far the export is."""
        if self._quiet:
            return
        if sys.stderr.isatty():
            if self._bar is None:
                from tqdm import tqdm

                self._bar = tqdm(total=total, unit=" inputs", file=sys.stderr)
            self._bar.update(done - self._bar.n)
        elif time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + SECONDS_PER_LINE
            say(f"{done:,} of {total:,} inputs")
