"""`annotate compare`: what moved from one output to another."""

from __future__ import annotations

import click

from annotate.errors import shown


@click.command("compare")
@click.argument("a", type=click.Path())
@click.argument("b", type=click.Path())
@click.option(
    "--report",
    "report_dir",
    type=click.Path(file_okay=False),
    metavar="DIR",
    help="Write comparison.html, its plots, comparison.json and comparison.parquet to DIR.",
)
@click.option(
    "--thumbnails/--no-thumbnails",
    default=True,
    show_default=True,
    help="Whether comparison.html shows the faces that moved most, or names them only.",
)
@click.option("-q", "--quiet", is_flag=True, help="Do not say on stderr what was written.")
def compare_command(a: str, b: str, report_dir: str | None, thumbnails: bool, quiet: bool) -> None:
    """Compare two outputs of `annotate run` over the same images: what moved from A to B.

    A and B are Parquet, CSV or JSON lines files, or folders. Inputs are joined by their content,
    wherever they lie, and faces by their boxes. Prints inputs that are new or have vanished,
    statuses and genders that changed, and how far ages moved. The exit code is 0 whatever moved.

    \b
    Examples:
      annotate compare july.parquet august.parquet
      annotate compare base.parquet nano.parquet --report comparison/
    """
    from annotate.cli.progress import say
    from annotate.comparison import compare

    found = compare(a, b, report_dir=report_dir, thumbnails=thumbnails)
    click.echo(found.render())
    if report_dir is not None and not quiet:
        folder = shown(report_dir, 300, quote=False)
        say(f"wrote comparison.html, comparison.json and comparison.parquet to {folder}")
