"""`annotate demo`: label two public-domain photographs and show what comes out."""

from __future__ import annotations

import click


@click.command("demo", short_help="Label two real photographs, and show what comes out.")
@click.option(
    "--out",
    "folder",
    default="annotate-demo",
    show_default=True,
    type=click.Path(file_okay=False),
    help="Folder for the photographs, the outputs and the annotated picture, which are replaced.",
)
def demo_command(folder: str) -> None:
    """Label two real photographs that ship with installed packages, and print the table.

    Grace Hopper's portrait comes with matplotlib, Eileen Collins's with scikit-image (without
    it, there is one); both are in the public domain. `annotated.jpg` shows faces and labels.

    \b
    Examples:
      annotate demo
      annotate demo --out /tmp/demo
    """
    from annotate.demo import run_demo

    click.echo(run_demo(folder), nl=False)
