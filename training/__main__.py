"""The training command line: options in, one call, an exit code out.

Heavy imports wait until a command runs, so that --help is quick and KERAS_BACKEND, which is the
user's, is read only by Keras.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from annotate.errors import AnnotateError
from training.presets import PRECISIONS, PRESETS
from training.splits import PARTS, SEED, SEEDS

FOLDER = click.Path(path_type=Path)
EXISTING = click.Path(path_type=Path, exists=True, file_okay=False)
SEED_TYPE = click.IntRange(0, SEEDS - 1)

data_option = click.option(
    "--data", type=EXISTING, required=True, help="Folder of images with UTKFace names."
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """Train, evaluate and export the models that annotate runs.

    KERAS_BACKEND chooses tensorflow (the default), jax or torch for training; export needs
    tensorflow.
    """


@cli.command()
def presets() -> None:
    """List the recipes that `fit --preset` knows."""
    for preset in PRESETS.values():
        click.echo(f"{preset.name}: {preset.about}")
        click.echo(f"  source    {preset.source}")
        click.echo(f"  cost      {preset.cost}")
        click.echo(f"  expected  {preset.expected}")
        click.echo(f"  command   {preset.command}")


@cli.command()
@click.option(
    "--preset",
    "name",
    type=click.Choice(list(PRESETS)),
    required=True,
    help="The recipe; `presets` describes them.",
)
@data_option
@click.option("--out", type=FOLDER, required=True, help="Folder of the run: made if missing.")
@click.option("--resume", is_flag=True, help="Continue the run in --out after its last epoch.")
@click.option(
    "--epochs", type=click.IntRange(1), help="Stop earlier than the preset, on its schedule."
)
@click.option(
    "--limit", type=click.IntRange(10), help="Use so many images only, evenly spaced: a rehearsal."
)
@click.option(
    "--seed", type=SEED_TYPE, default=SEED, show_default=True, help="Of split and training."
)
@click.option("--photographs", type=EXISTING, help="Folder of pictures to train on as well.")
@click.option(
    "--photograph-labels",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Table of those pictures: path, age, gender. Others in the folder are left out.",
)
@click.option(
    "--precision",
    type=click.Choice(PRECISIONS),
    default=PRECISIONS[0],
    show_default=True,
    help="Of the computations; bfloat16 is quicker where the processor has it.",
)
@click.option("--start", metavar="NAME|FOLDER", help="A model of the same network to begin with.")
@click.option(
    "--teacher",
    "teachers",
    metavar="NAME|FOLDER",
    multiple=True,
    help="A model from whose opinions to learn as well; of several, from their mean.",
)
def fit(
    name: str,
    data: Path,
    out: Path,
    resume: bool,
    epochs: int | None,
    limit: int | None,
    seed: int,
    photographs: Path | None,
    photograph_labels: Path | None,
    precision: str,
    start: str | None,
    teachers: tuple[str, ...],
) -> None:
    """Train a preset: checkpoints each epoch, history as CSV and PNG, best weights kept."""
    from training.fit import fit as run
    from training.material import Sources

    if PRESETS[name].photographs and photographs is None:
        click.echo(
            f"warning: preset {name} was made with --photographs; without, its figures are others",
            err=True,
        )
    try:
        best = run(
            PRESETS[name],
            Sources(data, photographs, photograph_labels, teachers, start),
            out,
            resume=resume,
            seed=seed,
            epochs=epochs,
            limit=limit,
            precision=precision,
            progress=sys.stderr.isatty(),
        )
    except KeyboardInterrupt:
        said = "interrupted: the same command with --resume continues"
        if not (out / "run.json").exists():
            said = "interrupted before anything was kept: the same command begins anew"
        click.echo(f"\n{said}", err=True)
        sys.exit(130)
    figures = ", ".join(f"{key} {value:.4g}" for key, value in best.items())
    click.echo(f"kept the weights of this epoch in {out}: {figures}")


@cli.command()
@click.option("--model", type=str, required=True, help="Bundled model, or model folder.")
@data_option
@click.option(
    "--part", type=click.Choice(PARTS), default="test", show_default=True, help="Part of the split."
)
@click.option("--report", type=FOLDER, required=True, help="Folder that takes the report.")
@click.option("--limit", type=click.IntRange(1), help="Score so many images only.")
def evaluate(model: str, data: Path, part: str, report: Path, limit: int | None) -> None:
    """Score a model on one part of its split, by `annotate evaluate`."""
    from training.scoring import evaluate_part

    found = evaluate_part(model, data, part, report_dir=report, limit=limit)
    click.echo(found.render())
    sys.exit(found.exit_code)


@cli.command()
@click.option("--model", type=str, required=True, help="Bundled model, or model folder.")
@data_option
@click.option(
    "--part", type=click.Choice(PARTS), default="test", show_default=True, help="Part of the split."
)
@click.option("--limit", type=click.IntRange(1), help="Use so many images only, evenly spaced.")
@click.option("--out", type=FOLDER, help="File that takes the figures as JSON.")
def robustness(model: str, data: Path, part: str, limit: int | None, out: Path | None) -> None:
    """Measure a model under blur, rotation, compression and other bad conditions.

    Prints a Markdown table; `of clean` is the age MAE over that of the unchanged images.
    """
    from training.history import check_file, write_text
    from training.robustness import robustness as measure
    from training.robustness import robustness_table

    if out is not None:
        check_file(out)
    found = measure(model, data, part, limit=limit)
    if out is not None:
        write_text(out, json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    click.echo(f"{found['n']:,} images of the {part} part, 95 % intervals\n")
    click.echo(robustness_table(found))


@cli.command()
@click.option("--run", "run", type=EXISTING, required=True, help="Folder that `fit` wrote.")
@data_option
@click.option("--out", type=FOLDER, required=True, help="Model folder to write.")
@click.option("--name", help="Name of the model; the preset's if not given.")
@click.option(
    "--start",
    metavar="NAME|FOLDER",
    help="Where the model is that the run began with, if no longer where it was.",
)
@click.option("--overwrite", is_flag=True, help="Replace the model folder that is there.")
@click.option("--machine", help="What it was trained on, if the run does not say.")
@click.option("--appa-real", type=EXISTING, help="Folder of APPA-REAL: measure it there, too.")
@click.option(
    "--appa-real-labels",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Table of the pictures to measure on: path, age. Others in the folder are left out.",
)
def export(
    run: Path,
    data: Path,
    out: Path,
    name: str | None,
    start: str | None,
    overwrite: bool,
    machine: str | None,
    appa_real: Path | None,
    appa_real_labels: Path | None,
) -> None:
    """Make a model folder of a run's best weights; it is checked before it appears.

    Writes model.onnx, model.keras, model.json, card.md and training_hashes.txt. Both engines
    must agree on real images, and the figures in the card are measured on the way.
    """
    from training.export import export as write

    folder = write(
        run,
        data,
        out,
        name=name,
        start=start,
        overwrite=overwrite,
        machine=machine,
        appa_real=appa_real,
        appa_real_labels=appa_real_labels,
    )
    click.echo(f"wrote {folder}")


@cli.command()
@data_option
@click.option("--out", type=FOLDER, required=True, help="Text file to write.")
@click.option(
    "--preset", "name", type=click.Choice(list(PRESETS)), default="base", show_default=True,
    help="Whose validation share to use; the test part is the same for all.",
)  # fmt: skip
@click.option("--seed", type=SEED_TYPE, default=SEED, show_default=True, help="Of the split.")
def split(data: Path, out: Path, name: str, seed: int) -> None:
    """Write which image is in which part, a line of hash and part for each distinct image."""
    from training.data import load_parts
    from training.history import check_file, write_text
    from training.splits import hash_lines

    check_file(out)
    faces = load_parts(data, PRESETS[name], seed=seed, parts=())
    lines = hash_lines(faces.hashes)
    write_text(out, "".join(f"{line}\n" for line in lines))
    click.echo(f"wrote {len(lines)} lines to {out}")


@cli.command()
@click.option("--model", required=True, help="Bundled model, or model folder.")
def speed(model: str) -> None:
    """Measure how many faces a second a model labels, inference alone."""
    from training.speed import measure_speed

    found = measure_speed(model)
    click.echo(f"{found['crops_per_s']:,} crops/s: {found['what']}, {found['machine']}")


def main() -> None:
    """Run the command line; what cannot be done is one line and exit code 1."""
    try:
        cli(prog_name="python -m training")
    except AnnotateError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
