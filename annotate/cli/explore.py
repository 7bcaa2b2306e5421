"""`annotate explore`: what is in a labelled folder, before anything is trained on it."""

from __future__ import annotations

import click

from annotate.cli.options import MAX_TIMEOUT_S
from annotate.errors import shown


@click.command("explore")
@click.argument("folder", type=click.Path())
@click.option(
    "--report",
    "report_dir",
    type=click.Path(file_okay=False),
    metavar="DIR",
    help="Write exploration.html, its plots and exploration.json to DIR.",
)
@click.option(
    "--thumbnails/--no-thumbnails",
    default=True,
    show_default=True,
    help="Whether the report shows sample images: not for data sets whose images must not be"
    " passed on.",
)
@click.option(
    "--table",
    type=click.Path(dir_okay=False),
    metavar="OUT",
    help="Write the labels (path, age, gender, race) to a .parquet or .csv file, which"
    " `evaluate --labels` takes.",
)
@click.option("--overwrite", is_flag=True, help="Replace OUT where it exists.")
@click.option(
    "--labels",
    type=click.Path(),
    metavar="TABLE",
    help="CSV or Parquet with `path` relative to FOLDER and any of age, gender (female or male),"
    " race.  [default: UTKFace file names]",
)
@click.option(
    "--workers",
    type=click.IntRange(1, 256),
    help="Decoding processes.  [default: one a core]",
)
@click.option(
    "--timeout-s",
    type=click.FloatRange(0, MAX_TIMEOUT_S, min_open=True),
    default=120.0,
    show_default=True,
    metavar="SECONDS",
    help="An image that takes longer to decode becomes a `timeout`.",
)
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Only the first N images.")
@click.option(
    "--seed",
    type=click.IntRange(0, 2**32 - 1),
    default=0,
    show_default=True,
    help="Another number shows other sample images.",
)
@click.option("-q", "--quiet", is_flag=True, help="No progress on stderr.")
@click.pass_context
def explore_command(
    context: click.Context,
    folder: str,
    report_dir: str | None,
    thumbnails: bool,
    table: str | None,
    overwrite: bool,
    labels: str | None,
    workers: int | None,
    timeout_s: float,
    limit: int | None,
    seed: int,
    quiet: bool,
) -> None:
    """Look at the labelled images in FOLDER before anything is trained on them.

    Prints how many images there are and what is wrong with them, the distribution of ages, the
    shares of genders and races and how they cross, sizes, and byte-identical files. No model is
    loaded. The exit code is 3 where images could not be decoded, or labels could not be used.

    \b
    Examples:
      annotate explore UTKFace/ --report exploration/
      annotate explore UTKFace/ --table labels.parquet
      annotate explore faces/ --labels labels.csv --limit 1000
    """
    from annotate.cli.progress import Progress, say
    from annotate.exploration import explore

    with Progress() as progress:
        found = explore(
            folder,
            labels=labels,
            report_dir=report_dir,
            thumbnails=thumbnails,
            table=table,
            overwrite=overwrite,
            limit=limit,
            workers=workers,
            timeout_s=timeout_s,
            seed=seed,
            progress=None if quiet else progress,
        )
    click.echo(found.render())
    if not quiet:
        if report_dir is not None:
            where = shown(report_dir, 300, quote=False)
            say(f"wrote exploration.html, its plots and exploration.json to {where}")
        if table is not None:
            say(f"wrote {shown(table, 300, quote=False)}")
    context.exit(found.exit_code)
