"""`annotate evaluate`: predictions against labels."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from annotate.cli.options import detection_options, inference_options
from annotate.errors import shown

if TYPE_CHECKING:
    from annotate.summary import Summary


@click.command("evaluate")
@click.argument("folder", type=click.Path())
@click.option(
    "--report",
    "report_dir",
    type=click.Path(file_okay=False),
    metavar="DIR",
    help="Write report.html, its plots as PNG, metrics.json, metrics.md and predictions.parquet to"
    " DIR, which must lie outside FOLDER.",
)
@click.option(
    "--thumbnails/--no-thumbnails",
    default=True,
    show_default=True,
    help="Whether report.html shows the faces of the largest errors, or names them only: for data"
    " sets whose images must not be passed on.",
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
@click.option(
    "--compare",
    type=click.Path(file_okay=False),
    metavar="OTHER_REPORT_DIR",
    help="Set this evaluation beside another one of the same images, which `--report` wrote there:"
    " images are joined by SHA-256, differences have paired bootstrap intervals.",
)
@click.option("-q", "--quiet", is_flag=True, help="No progress and no hints on stderr.")
@click.pass_context
def evaluate_command(
    context: click.Context,
    folder: str,
    report_dir: str | None,
    thumbnails: bool,
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
    compare: str | None,
    quiet: bool,
) -> None:
    """Compare predictions with the labels of the images in FOLDER.

    Prints age and gender figures with intervals, by age band, gender and race, and every fault
    of the labels. --report writes a page with plots, tables and the largest errors, which opens in
    any browser and loads nothing. The exit code is 3 where names are malformed or images failed.

    \b
    Examples:
      annotate evaluate UTKFace/ --report report/
      annotate evaluate faces/ --labels labels.csv --report report/ --no-thumbnails
      annotate evaluate photographs/ --labels labels.csv --faces detect
      annotate evaluate photographs/ --labels labels.csv --predictions people.parquet
      annotate evaluate UTKFace/ --model nano --report nano/ --compare base/
    """
    _check_detection(context, faces, predictions)
    if tta and predictions is not None:
        raise click.UsageError("--tta runs the model, but --predictions has its rows: pass one")

    from annotate.cli.progress import Progress, say
    from annotate.evaluation import evaluate
    from annotate.report.files import PAGE_FILE

    with Progress() as progress:
        report = evaluate(
            folder,
            report_dir=report_dir,
            thumbnails=thumbnails,
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
            compare=compare,
            progress=None if quiet else progress,
        )
    click.echo(report.render())
    if report_dir is not None and not quiet:
        say(f"wrote the report: {shown(os.path.join(report_dir, PAGE_FILE), 300, quote=False)}")
    _say_hints(progress.summary, faces)
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


def _say_hints(summary: Summary | None, faces: str) -> None:
    """summary: of the run; None where predictions were given, or nobody wants to hear."""
    from annotate.cli.progress import say
    from annotate.hints import hints

    for hint in hints(summary, faces) if summary is not None else ():
        say(f"hint: {hint}")
