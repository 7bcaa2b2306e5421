"""`annotate models`: what is installed."""

from __future__ import annotations

import click


@click.group("models", invoke_without_command=True)
@click.pass_context
def models_command(context: click.Context) -> None:
    """List the bundled models, or show the card of one.

    \b
    Examples:
      annotate models
      annotate models show base
    """
    if context.invoked_subcommand is not None:
        return
    from annotate.model import bundled_models, describe_model

    for name in bundled_models():
        click.echo(describe_model(name))


@models_command.command("show")
@click.argument("name", metavar="NAME|FOLDER", default="base")
def show_command(name: str) -> None:
    """Print the card of a model: its data, its figures, its limits."""
    from annotate.model import model_folder

    click.echo((model_folder(name) / "card.md").read_text("utf-8"), nl=False)
