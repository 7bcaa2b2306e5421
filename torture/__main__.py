"""The command line of the long checks: options -> one call -> figures on stdout, an exit code."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import click
from tqdm import tqdm

from torture.herd import Figures, run_trials
from torture.kills import run_trials as kill_runs
from torture.mutations import mutated
from torture.seeds import SUFFIXES


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Check annotate for minutes or hours."""


@main.command()
@click.option("--count", default=200_000, show_default=True, help="Files to try.")
@click.option("--seed", default=0, show_default=True, help="The first file's; the next has seed+1.")
@click.option(
    "--processes", default=os.cpu_count() or 1, show_default="one a core",
    help="Processes to try them on.",
)  # fmt: skip
@click.option(
    "--keep", type=click.Path(file_okay=False, path_type=Path), help="Write faulty files here."
)
def mutations(count: int, seed: int, processes: int, keep: Path | None) -> None:
    """Damage files of every format, and read them: nothing may crash, hang or be raised.

    Exits with 1 where something did, and names the seed: `--seed N --count 1` tries it again.
    """
    with tqdm(total=count, unit=" files", disable=None) as bar:
        figures = run_trials(
            seed, count, processes=processes, progress=lambda done: bar.update(done - bar.n)
        )
    click.echo(table(figures))
    for fault in figures.faults:
        click.echo(f"\nseed {fault.seed} ({fault.kind}): {fault.text}")
        click.echo(f"again: python -m torture mutations --seed {fault.seed} --count 1")
        if keep is not None:
            keep.mkdir(parents=True, exist_ok=True)
            kind, data = mutated(fault.seed)
            (keep / f"{fault.seed}{SUFFIXES.get(kind, '.' + kind.lower())}").write_bytes(data)
    sys.exit(1 if figures.faults else 0)


@main.command()
@click.option("--count", default=150, show_default=True, help="Kills, at least.")
@click.option("--seed", default=0, show_default=True, help="Of the instants and the pictures.")
@click.option(
    "--model", default="nano", show_default=True, help="A bundled model or a model folder."
)
def kills(count: int, seed: int, model: str) -> None:
    """Kill runs with SIGKILL at random instants, and compare their rows with a whole run's.

    Exits with 1 where a row was lost, doubled or changed, or an output could not be read.
    """
    with tempfile.TemporaryDirectory() as folder, tqdm(total=count, unit=" kills") as bar:
        figures = kill_runs(
            Path(folder),
            model,
            kills=count,
            seed=seed,
            progress=lambda figures: bar.update(figures.kills - bar.n),
        )
    for stage, number in figures.stages.most_common():
        click.echo(f"{number:>6} kills {stage}")
    click.echo(
        f"{figures.kills:>6} kills of {figures.trials} outputs; {figures.resumed} runs found work"
        f" done; {figures.seconds:.0f} s; {len(figures.faults)} faults"
    )
    for fault in figures.faults:
        click.echo(f"\n{fault}\nagain: python -m torture kills --seed {seed}")
    sys.exit(1 if figures.faults else 0)


def table(figures: Figures) -> str:
    """A line for each format and one for all of them."""
    lines = [f"{'format':<10}{'files':>9}{'slowest ms':>12}  rows by status"]
    for name, kind in sorted(figures.kinds.items()):
        statuses = ", ".join(f"{status} {n}" for status, n in kind.statuses.most_common())
        lines.append(f"{name:<10}{kind.trials:>9}{kind.slowest_ms:>12.0f}  {statuses}")
    slowest = max((kind.slowest_ms for kind in figures.kinds.values()), default=0)
    lines.append(f"{'all':<10}{figures.trials:>9}{slowest:>12.0f}  {len(figures.faults)} faults")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
