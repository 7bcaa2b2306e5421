"""`annotate run`: label images."""

from __future__ import annotations

import contextlib
import shlex
import sys
from typing import TYPE_CHECKING

import click

from annotate.cli.interrupts import InterruptedRunError
from annotate.cli.options import complete_files, detection_options, inference_options
from annotate.errors import shown

if TYPE_CHECKING:
    from annotate.labelling import OutputOptions
    from annotate.pipeline import Run
    from annotate.run_config import RunConfig
    from annotate.summary import Summary


@click.command("run")
@click.argument("sources", nargs=-1, metavar="[SOURCE]...", shell_complete=complete_files)
@click.option(
    "--from",
    "table",
    metavar="TABLE",
    shell_complete=complete_files,
    help="Label what a CSV, Parquet or JSON lines table lists, after all SOURCEs.",
)
@click.option(
    "--column",
    default="path",
    show_default=True,
    metavar="NAME",
    help="The column of TABLE that holds the paths.",
)
@click.option(
    "-0",
    "--null",
    "null_separated",
    is_flag=True,
    help="The list on stdin has a NUL after each path, as `find -print0` writes it.",
)
@click.option(
    "-o",
    "--output",
    metavar="OUT",
    shell_complete=complete_files,
    help="A .parquet, .csv or .jsonl file, a folder (Parquet data set), or - for CSV on stdout."
    " Without it, CSV goes to stdout where that is not a terminal.",
)
@click.option(
    "--faces",
    type=click.Choice(["detect", "crop"]),
    default="detect",
    show_default=True,
    help="detect: whole photographs, any number of faces. crop: each image is one aligned face.",
)
@detection_options
@click.option(
    "--save-crops",
    metavar="DIR",
    shell_complete=complete_files,
    help="Save the aligned face crops there, as SHA256_INDEX.jpg of 200 x 200 pixels.",
)
@inference_options
@click.option(
    "--exclude",
    multiple=True,
    metavar="PATTERN",
    help="Pass over what matches, e.g. '*.png' or 'backup'. Repeatable.",
)
@click.option(
    "--no-default-excludes",
    is_flag=True,
    help="Read the thumbnail and system folders of NAS and photo programs too.",
)
@click.option("--follow-links", is_flag=True, help="Walk linked folders too, each once.")
@click.option("--max-pixels", type=click.IntRange(1), help="Larger pictures become `too_large`.")
@click.option(
    "--skip-duplicates",
    is_flag=True,
    help="Label identical files once; the others become `duplicate` rows.",
)
@click.option("--overwrite", is_flag=True, help="Replace OUT where it exists.")
@click.option(
    "--update",
    is_flag=True,
    help="Label only what is new or has changed since OUT (Parquet) was made, and keep the rest.",
)
@click.option("--prune", is_flag=True, help="With --update: drop the rows of files that are gone.")
@click.option(
    "--retry-failed", is_flag=True, help="Label again the inputs of OUT (Parquet) that failed."
)
@click.option(
    "--part-size",
    type=click.IntRange(1),
    metavar="N",
    help="Inputs that are committed together: what a crash costs.  [default: 2048 crops, 256"
    " photographs]",
)
@click.option("--dry-run", is_flag=True, help="Say what would be done, and how long it takes.")
@click.option("-q", "--quiet", is_flag=True, help="No progress, no summary and no hints on stderr.")
def run_command(
    sources: tuple[str, ...],
    table: str | None,
    column: str,
    null_separated: bool,
    output: str | None,
    faces: str,
    detect_size: int | str,
    min_face_px: int,
    min_score: float,
    max_faces: int | None,
    save_crops: str | None,
    model: str,
    engine: str,
    device: str,
    batch_size: int,
    tta: bool,
    workers: int | None,
    timeout_s: float,
    limit: int | None,
    exclude: tuple[str, ...],
    no_default_excludes: bool,
    follow_links: bool,
    max_pixels: int | None,
    skip_duplicates: bool,
    overwrite: bool,
    update: bool,
    prune: bool,
    retry_failed: bool,
    part_size: int | None,
    dry_run: bool,
    quiet: bool,
) -> None:
    """Label the faces of images with age and gender.

    SOURCE is a folder, a file, a quoted glob pattern, a .zip, .tar, .tar.gz or .tgz archive, or
    - for a list of paths on stdin. Every image gets at least one row, also one that cannot be
    read; the exit code is then 3.

    \b
    Examples:
      annotate run ~/Pictures -o people.parquet
      annotate run 'scans/**/*.jpg' --detect-size auto -o people.csv
      annotate run faces/ --faces crop | head
      find . -name '*.jpg' -print0 | annotate run -0 - -o people.csv
    """
    if not retry_failed or update:
        _check_lists(sources, table, null_separated=null_separated)
    if faces == "crop" and save_crops is not None:
        raise click.UsageError("--save-crops is for --faces detect: here the images are the crops")
    if output is None and not dry_run:
        if sys.stdout.isatty():
            raise click.UsageError("no output: pass -o people.parquet, or -o - for CSV on stdout")
        output = "-"
    _check_output(output, overwrite=overwrite, update=update, prune=prune, retry=retry_failed)

    from annotate.images import MAX_PIXELS
    from annotate.run_config import RunConfig

    config = RunConfig(
        sources=sources,
        table=table,
        column=column,
        null_separated=null_separated,
        faces=faces,
        model=model,
        engine=engine,
        device=device,
        batch_size=batch_size,
        tta=tta,
        workers=workers,
        timeout_s=timeout_s,
        limit=limit,
        exclude=exclude,
        default_excludes=not no_default_excludes,
        follow_links=follow_links,
        max_pixels=max_pixels or MAX_PIXELS,
        detect_size=detect_size,
        min_face_px=min_face_px,
        min_score=min_score,
        max_faces=max_faces,
        save_crops=save_crops,
        skip_duplicates=skip_duplicates,
    )
    if dry_run:
        _describe(config, output)
        return
    assert output is not None
    if output == "-":
        _stream(config, quiet=quiet)
        return

    from annotate.labelling import OutputOptions

    options = OutputOptions(overwrite, update, prune, retry_failed, part_size)
    _label(config, output, options, quiet=quiet)


def _inputs(known: int, archives: int) -> str:
    """What a run is about to read."""
    if not archives:
        return f"{known:,} input{'' if known == 1 else 's'}"
    also = f"what is in {archives:,} archive{'s' if archives > 1 else ''}"
    return f"{_inputs(known, 0)} and {also}" if known else also


def _check_lists(sources: tuple[str, ...], table: str | None, *, null_separated: bool) -> None:
    """Raise UsageError where there is nothing to read, or no list where one was said to be."""
    if not sources and table is None:
        raise click.UsageError(
            "Missing SOURCE: name folders, files, archives or patterns, - for a list on stdin, or"
            " --from TABLE"
        )
    if null_separated and "-" not in sources:
        raise click.UsageError("-0 is about the list on stdin: name it as the SOURCE -")
    if "-" in sources and sys.stdin is not None and sys.stdin.isatty():
        raise click.UsageError("- reads a list of paths from stdin, which is a terminal: pipe one")


def _check_output(
    output: str | None, *, overwrite: bool, update: bool, prune: bool, retry: bool
) -> None:
    """Raise UsageError where options about an output do not go together."""
    if overwrite and (update or retry):
        raise click.UsageError(
            "--overwrite labels all again: it does not go with --update or --retry-failed"
        )
    if prune and not update:
        raise click.UsageError("--prune is for --update: pass both")
    if output == "-" and (update or retry):
        raise click.UsageError("--update and --retry-failed are for a Parquet output: pass -o OUT")


def _describe(config: RunConfig, output: str | None) -> None:
    """Say what would be done."""
    from annotate.cli.progress import say
    from annotate.estimate import describe
    from annotate.pipeline import prepare
    from annotate.targets import output_kind

    if output is not None:
        output_kind(output)
    say(describe(prepare(config), output))


def _announce(run: Run) -> None:
    """Say what is about to be done, and on what."""
    from annotate.cli.progress import say

    model, plan = run.model, run.found.plan
    mirrored = ", crops and their mirror images" * model.tta
    say(
        f"{_inputs(plan.files, plan.archives)}, model {model.name}, engine {model.engine} on"
        f" {model.device_name}{mirrored}"
    )
    for remark in model.remarks:
        say(remark)


def _stream(config: RunConfig, *, quiet: bool) -> None:
    """Label to stdout, and leave with the exit code that the rows call for."""
    from annotate.cli.progress import Progress, say
    from annotate.pipeline import prepare
    from annotate.writers import open_output

    run = prepare(config)
    if quiet:
        progress = None
    else:
        _announce(run)
        say("writing CSV to stdout: an interrupted run starts over")
        progress = Progress(run.summary.inputs, len(run.model.remarks))
    with (
        progress or contextlib.nullcontext(),
        open_output("-", run.schema) as writer,
        contextlib.closing(run.batches(progress)) as batches,
    ):
        for batch in batches:
            writer.write(batch)
    _end(run.summary, config, quiet=quiet)


def _label(config: RunConfig, output: str, options: OutputOptions, *, quiet: bool) -> None:
    """Label into a file or folder, and leave with the exit code that the rows call for."""
    from annotate.cli.interrupts import stopping
    from annotate.cli.progress import Progress, say
    from annotate.labelling import Job, StoppedError

    with Job(config, output, options) as job:
        run = job.run
        if run is None:
            if not quiet:
                say(f"nothing to do: {shown(output, len(output), quote=False)} is finished")
            return
        progress = None
        if not quiet:
            _announce(run)
            if job.committed:
                say(f"going on: {job.committed:,} inputs were done before")
            progress = Progress(run.summary.inputs, len(run.model.remarks), job.committed)
        try:
            with stopping(job.stop), progress or contextlib.nullcontext():
                summary = job.label(progress)
        except StoppedError as stopped:
            again = shlex.join(["annotate", *sys.argv[1:]])
            raise InterruptedRunError(
                f"interrupted: {stopped.summary.done:,} inputs are done and kept; to go on: {again}"
            ) from stopped
    _end(summary, config, quiet=quiet, output=output)


def _end(summary: Summary, config: RunConfig, *, quiet: bool, output: str | None = None) -> None:
    """Say what came of a run, and leave with its exit code."""
    from annotate.cli.progress import say
    from annotate.hints import hints

    if not quiet:
        say(summary.render())
        if output is not None:
            say(f"wrote {shown(output, len(output), quote=False)}")
        for hint in hints(summary, config.faces):
            say(f"hint: {hint}")
    if summary.exit_code:
        raise SystemExit(summary.exit_code)
