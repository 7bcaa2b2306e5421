"""`annotate evaluate`: predictions against labels."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from annotate.cli.options import detection_options, inference_options

if TYPE_CHECKING:
    from annotate.summary import Summary


@click.command("evaluate")
@click.argument("folder", type=click.Path())
@click.option(
    "--report",
    "report_dir",
    type=click.Path(file_okay=False),
    metavar="DIR",
    help="Write metrics.json and predictions.parquet to DIR.",
)
@click.option(
    "--labels",
    type=click.Path(),
    metavar="TABLE",
    help="CSV or Parquet with `path` relative to FOLDER and any of age, gender (female or male),"
    " race.  [default: UTKFace file names]",
)
@click.option(
    "--predictions",
    type=click.Path(),
    metavar="OUT",
    help="Score an output of `annotate run` instead of running the model; images are found in it"
    " by SHA-256, then by path. Its faces are taken as they are.",
)
@click.option(
    "--faces",
    type=click.Choice(["crop", "detect"]),
    default="crop",
    show_default=True,
    help="crop: each image is one aligned face. detect: whole photographs; the face nearest the"
    " centre of each is scored, and pictures without a face are counted.",
)
@detection_options
@inference_options
@click.option(
    "--bootstrap",
    type=click.IntRange(0, 100_000),
    default=1000,
    show_default=True,
    metavar="B",
    help="Resamples behind the 95 % intervals; 0 for none.",
)
@click.pass_context
def evaluate_command(
    context: click.Context,
    folder: str,
    report_dir: str | None,
    labels: str | None,
    predictions: str | None,
    faces: str,
    detect_size: int | str,
    min_face_px: int,
    min_score: float,
    max_faces: int | None,
    model: str,
    engine: str,
    device: str,
    batch_size: int,
    tta: bool,
    workers: int | None,
    timeout_s: float,
    limit: int | None,
    bootstrap: int,
) -> None:
    """Compare predictions with the labels of the images in FOLDER.

    Prints age and gender figures with intervals, by age band, gender and race, and every fault
    of the labels. The exit code is 3 where names are malformed or images failed.

    \b
    Examples:
      annotate evaluate UTKFace/ --report report/
      annotate evaluate faces/ --labels labels.csv --report report/
      annotate evaluate photographs/ --labels labels.csv --faces detect
      annotate evaluate photographs/ --labels labels.csv --predictions people.parquet
    """
    _check_detection(context, faces, predictions)
    if tta and predictions is not None:
        raise click.UsageError("--tta runs the model, but --predictions has its rows: pass one")

    from annotate.evaluation import evaluate

    with contextlib.ExitStack() as stack:
        report = evaluate(
            folder,
            report_dir=report_dir,
            labels=labels,
            predictions=predictions,
            model=model,
            engine=engine,
            device=device,
            faces=faces,
            detect_size=detect_size,
            min_face_px=min_face_px,
            min_score=min_score,
            max_faces=max_faces,
            batch_size=batch_size,
            tta=tta,
            workers=workers,
            timeout_s=timeout_s,
            limit=limit,
            bootstrap=bootstrap,
            progress=_progress(stack),
        )
    click.echo(report.render())
    if report_dir is not None:
        click.echo(f"wrote metrics.json and predictions.parquet to {report_dir}", err=True)
    context.exit(report.exit_code)


def _check_detection(context: click.Context, faces: str, predictions: str | None) -> None:
    """Refuse options that would say nothing: a figure must not seem to rest on them."""
    if faces == "detect" and predictions is None:
        return
    for parameter in ("detect_size", "min_face_px", "min_score", "max_faces"):
        if context.get_parameter_source(parameter) is not ParameterSource.DEFAULT:
            option = "--" + parameter.replace("_", "-")
            if predictions is None:
                raise click.UsageError(f"{option} is for photographs: pass --faces detect too")
            raise click.UsageError(f"{option} finds faces, but --predictions has them: pass one")


def _progress(stack: contextlib.ExitStack) -> Callable[[Summary], None]:
    """What shows progress from the first batch on, when the number of inputs is known."""
    from annotate.cli.progress import Progress

    started: list[Progress] = []

    def show(summary: Summary) -> None:
        if not started:
            started.append(stack.enter_context(Progress(summary.inputs)))
        started[0](summary)

    return show
