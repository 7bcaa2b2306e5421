"""`annotate demo`: label two public-domain portraits and show what comes out."""

from __future__ import annotations

import click


@click.command("demo")
@click.option(
    "--out",
    "folder",
    default="annotate-demo",
    show_default=True,
    type=click.Path(file_okay=False),
    help="Folder for the face crops and the outputs; written anew each time.",
)
def demo_command(folder: str) -> None:
    """Label real faces that ship with installed packages, and print the table.

    Grace Hopper's portrait comes with matplotlib, Eileen Collins's with scikit-image; both are in
    the public domain.
    """
    from annotate.demo import run_demo

    click.echo(run_demo(folder))
