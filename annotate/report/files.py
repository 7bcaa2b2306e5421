"""Report files: an EvaluationReport in, the files of its folder out.

`metrics.json`, `predictions.parquet` and the plots depend on the inputs and options alone; the
pages for people also say when and where they were made.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from annotate.engines import usable_cpus
from annotate.evaluation_report import EvaluationReport
from annotate.report.evaluation_page import Sheet, evaluation_page, mistake_sheets
from annotate.report.evaluation_plots import NAMES, evaluation_plots
from annotate.report.folder import json_text, write_files
from annotate.report.markdown import evaluation_markdown
from annotate.report.paired_plots import paired_plots
from annotate.report.paired_section import PAIRED_FILES, paired_files
from annotate.report.thumbnails import NEEDED
from annotate.report.thumbnails import thumbnails as make_thumbnails
from annotate.writers import write_parquet

PAGE_FILE = "report.html"
METRICS_FILE = "metrics.json"
MARKDOWN_FILE = "metrics.md"
PREDICTIONS_FILE = "predictions.parquet"


def write_report(report: EvaluationReport, folder: Path, *, thumbnails: bool = True) -> None:
    """Write the files of a report, each complete or not at all, into a folder that is there.

    thumbnails: whether the page shows the faces of the largest errors. Plots of an earlier report
    that this one does not have are removed. Raises AnnotateError.
    """
    write_parquet(report.scores.table, folder / PREDICTIONS_FILE)
    plots = evaluation_plots(report.scores) | paired_plots(report.compared)
    sheets = mistake_sheets(report)
    if thumbnails:
        sheets = _with_pictures(report, sheets)
    write_files(
        folder,
        paired_files(report.compared)
        | {METRICS_FILE: json_text(report.to_dict())}
        | {f"{plot.name}.png": plot.png for plot in plots.values()}
        | {MARKDOWN_FILE: evaluation_markdown(report)}
        | {PAGE_FILE: evaluation_page(report, plots, sheets)},
        stale=(*PAIRED_FILES, *(f"{name}.png" for name in NAMES)),
    )


def _with_pictures(report: EvaluationReport, sheets: Mapping[str, Sheet]) -> dict[str, Sheet]:
    """The sheets with a thumbnail of each face, where its file is still there; each made once."""
    places = sorted({mistake.row for sheet in sheets.values() for mistake in sheet.mistakes})
    rows = report.scores.table.select(NEEDED).take(pa.array(places, pa.int64())).to_pylist()
    pictures = dict(zip(places, make_thumbnails(rows, workers=usable_cpus()), strict=True))
    return {
        name: replace(sheet, pictures=[pictures[mistake.row] for mistake in sheet.mistakes])
        for name, sheet in sheets.items()
    }
