"""`annotate run`: label images."""

from __future__ import annotations

import sys

import click

from annotate.cli.options import inference_options


@click.command("run")
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@click.option(
    "-o",
    "--output",
    metavar="OUT",
    help="A .parquet, .csv or .jsonl file, a folder (Parquet data set), or - for CSV on stdout."
    " Without it, CSV goes to stdout where that is not a terminal.",
)
@click.option(
    "--faces",
    type=click.Choice(["detect", "crop"]),
    default="detect",
    show_default=True,
    help="detect: whole photographs (not available yet). crop: each image is one aligned face.",
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
@click.option("--overwrite", is_flag=True, help="Replace OUT where it exists.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and how long it takes.")
@click.option("-q", "--quiet", is_flag=True, help="No progress and no summary on stderr.")
def run_command(
    sources: tuple[str, ...],
    output: str | None,
    faces: str,
    model: str,
    engine: str,
    device: str,
    batch_size: int,
    workers: int | None,
    limit: int | None,
    exclude: tuple[str, ...],
    no_default_excludes: bool,
    follow_links: bool,
    max_pixels: int | None,
    overwrite: bool,
    dry_run: bool,
    quiet: bool,
) -> None:
    """Label the faces of images with age and gender.

    SOURCE is a folder, a file or a quoted glob pattern. Every image gets at least one row, also
    one that cannot be read; the exit code is then 3.

    \b
    Examples:
      annotate run faces/ --faces crop -o people.parquet
      annotate run 'scans/**/*.jpg' --faces crop -o people.csv
      annotate run faces/ --faces crop | head
    """
    if faces == "detect":
        raise click.UsageError(
            "whole photographs cannot be read yet: pass --faces crop for images that are one"
            " aligned face each"
        )
    if output is None and not dry_run:
        if sys.stdout.isatty():
            raise click.UsageError("no output: pass -o people.parquet, or -o - for CSV on stdout")
        output = "-"

    from annotate import pipeline
    from annotate.images import MAX_PIXELS
    from annotate.writers import check_target

    if output is not None:
        check_target(output, overwrite=overwrite)
    config = pipeline.RunConfig(
        sources=sources,
        faces=faces,
        model=model,
        engine=engine,
        device=device,
        batch_size=batch_size,
        workers=workers,
        limit=limit,
        exclude=exclude,
        default_excludes=not no_default_excludes,
        follow_links=follow_links,
        max_pixels=max_pixels or MAX_PIXELS,
    )
    prepared = pipeline.prepare(config)
    if dry_run:
        from annotate.cli.progress import say
        from annotate.estimate import describe

        say(describe(prepared, output))
        return
    assert output is not None
    _label(prepared, output, overwrite=overwrite, quiet=quiet)


def _label(prepared: object, output: str, *, overwrite: bool, quiet: bool) -> None:
    """Do the run with its words on stderr, and leave with its exit code."""
    from annotate import pipeline
    from annotate.cli.progress import Progress, say

    assert isinstance(prepared, pipeline.Run)
    if quiet:
        summary = pipeline.write(prepared, output, overwrite=overwrite)
    else:
        model = prepared.model
        say(
            f"{len(prepared.found.plan):,} inputs, model {model.name}, engine {model.engine}"
            f" on {model.device_name}"
        )
        if model.remark is not None:
            say(model.remark)
        if output == "-":
            say("writing CSV to stdout: an interrupted run starts over")
        with Progress(len(prepared.found.plan)) as progress:
            summary = pipeline.write(prepared, output, overwrite=overwrite, progress=progress)
        say(summary.render())
        if output != "-":
            say(f"wrote {output}")
    if summary.exit_code:
        raise SystemExit(summary.exit_code)
