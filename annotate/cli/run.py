"""`annotate run`: label images."""

from __future__ import annotations

import sys

import click

from annotate.cli.options import detection_options, inference_options


@click.command("run")
@click.argument("sources", nargs=-1, metavar="[SOURCE]...")
@click.option(
    "--from",
    "table",
    metavar="TABLE",
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
@click.option("--overwrite", is_flag=True, help="Replace OUT where it exists.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and how long it takes.")
@click.option("-q", "--quiet", is_flag=True, help="No progress and no summary on stderr.")
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
    _check_lists(sources, table, null_separated=null_separated)
    if faces == "crop" and save_crops is not None:
        raise click.UsageError("--save-crops is for --faces detect: here the images are the crops")
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
    )
    prepared = pipeline.prepare(config)
    if dry_run:
        from annotate.cli.progress import say
        from annotate.estimate import describe

        say(describe(prepared, output))
        return
    assert output is not None
    _label(prepared, output, overwrite=overwrite, quiet=quiet)


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


def _label(prepared: object, output: str, *, overwrite: bool, quiet: bool) -> None:
    """Do the run with its words on stderr, and leave with its exit code."""
    from annotate import pipeline
    from annotate.cli.progress import Progress, say

    assert isinstance(prepared, pipeline.Run)
    if quiet:
        summary = pipeline.write(prepared, output, overwrite=overwrite)
    else:
        model = prepared.model
        inputs = _inputs(prepared.summary.inputs, prepared.found.plan.archives)
        mirrored = ", crops and their mirror images" * model.tta
        say(f"{inputs}, model {model.name}, engine {model.engine} on {model.device_name}{mirrored}")
        if model.remark is not None:
            say(model.remark)
        if output == "-":
            say("writing CSV to stdout: an interrupted run starts over")
        with Progress(prepared.summary.inputs) as progress:
            summary = pipeline.write(prepared, output, overwrite=overwrite, progress=progress)
        say(summary.render())
        if output != "-":
            say(f"wrote {output}")
    if summary.exit_code:
        raise SystemExit(summary.exit_code)
