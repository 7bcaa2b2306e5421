"""`annotate doctor`: what this machine can do, and what is wrong."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

import click

from annotate.cli.environment import look_at_variables
from annotate.cli.options import DEFAULT_MODEL, complete_files, complete_models
from annotate.doctor.findings import Finding, Verdict
from annotate.version import __version__

SCHEMA_VERSION = 1
"""Of what --json prints. Raised when a key changes its meaning."""

ANSWERED = "answered"
"""Faults that say what to do, among the counts of verdicts."""

COLOURS = {Verdict.OK: "green", Verdict.NOTE: "yellow", Verdict.FAULT: "red"}
MOST_COLUMNS = 100


@click.command("doctor")
@click.argument("folder", required=False, metavar="[SOURCE]", shell_complete=complete_files)
@click.option(
    "--faces",
    type=click.Choice(["detect", "crop"]),
    default="detect",
    show_default=True,
    help="How a run over SOURCE would read its pictures.",
)
@click.option(
    "--model",
    default=DEFAULT_MODEL,
    show_default=True,
    metavar="NAME|FOLDER",
    shell_complete=complete_models,
    help="The model that is run; a folder's files are checked too.",
)
@click.option(
    "--workers",
    type=click.IntRange(1, 256),
    help="Decoding processes of the speed test.  [default: one a core]",
)
@click.option(
    "--seconds",
    type=click.FloatRange(0, 600),
    default=5.0,
    show_default=True,
    help="About how long speed is measured; 0 for not at all.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout, for scripts.")
def doctor_command(
    folder: str | None,
    faces: str,
    model: str,
    workers: int | None,
    seconds: float,
    as_json: bool,
) -> None:
    """Say what works on this machine, and what to do where it does not.

    Looks at the machine, the packages, every picture format, the face detector, the models, the
    engines and their devices by really using them, and measures the speed of labelling. With a
    SOURCE, a folder say, it estimates how long a run over it takes. The exit code is 1 where
    something is at fault.

    \b
    Examples:
      annotate doctor
      annotate doctor ~/Pictures
      annotate doctor faces/ --faces crop --model nano
      annotate doctor --seconds 0 --json > doctor.json
    """
    from annotate.doctor.diagnosis import diagnose
    from annotate.doctor.isolation import Options
    from annotate.doctor.text import closing, render

    root = click.get_current_context().find_root().command
    options = Options(folder, faces, model, workers, seconds)
    counts: Counter[str] = Counter()
    found = _counted(chain(diagnose(options), look_at_variables(root)), counts)
    if as_json:
        findings = [_described(finding) for finding in found]
        click.echo(json.dumps(_document(findings, counts), indent=1))
    else:
        click.echo(f"annotate {__version__}")
        for line in render(found, _width(), _coloured):
            click.echo(line)
        click.echo(f"\n{closing(counts, counts[ANSWERED])}")
    if counts[Verdict.FAULT]:
        raise SystemExit(1)


def _counted(findings: Iterable[Finding], counts: Counter[str]) -> Iterator[Finding]:
    """The findings; their verdicts are counted as they pass, and the faults that can be mended."""
    for finding in findings:
        counts[str(finding.verdict)] += 1
        counts[ANSWERED] += finding.verdict is Verdict.FAULT and bool(finding.to_do)
        yield finding


def _described(finding: Finding) -> dict[str, Any]:
    described = finding.to_dict()
    del described["brief"]  # which is how the text lists it
    return described


def _document(findings: list[dict[str, Any]], counts: Counter[str]) -> dict[str, Any]:
    """What --json prints; docs/doctor.md describes it."""
    verdict = next((each for each in ("fault", "note") if counts[each]), "ok")
    return {
        "schema_version": SCHEMA_VERSION,
        "annotate_version": __version__,
        "verdict": verdict,
        "counts": {each: counts[each] for each in ("ok", "note", "fault")},
        "findings": findings,
    }


def _width() -> int:
    """Columns of the terminal; a file or a pipe gets whole lines of a readable length."""
    return min(shutil.get_terminal_size((MOST_COLUMNS, 24)).columns, MOST_COLUMNS)


def _coloured(mark: str, verdict: Verdict) -> str:
    # https://no-color.org; where stdout is no terminal, Click takes colours out.
    return mark if os.environ.get("NO_COLOR") else click.style(mark, fg=COLOURS[verdict])
