"""Labelling: a RunConfig and OUT in, a committed output out, whatever happens in between.

What is done is kept beside OUT (journal.py) until all is. The same command again goes on from
there; on a finished OUT it does nothing, or labels what `update` and `retry_failed` ask for.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np

from annotate import agreement, durable, plan_files
from annotate.arrow_files import count_rows
from annotate.errors import AnnotateError
from annotate.journal import PARTS, Journal, finish_left
from annotate.model import Model
from annotate.pipeline import Progress, Run, Taken, attributes, check, find_inputs, ready_model
from annotate.plan import Plan
from annotate.previous import Previous
from annotate.run_config import RunConfig
from annotate.scan import Scan, is_scanned
from annotate.steps import Steps, changes, expected_inputs, members_done, plan_of_failures
from annotate.summary import Summary
from annotate.targets import (
    check_crops_beside,
    check_is_not_read,
    explained,
    is_output,
    located,
    output_kind,
    standing,
)
from annotate.writers import write_batches

PART_CROPS = 2048
PART_PHOTOGRAPHS = 256
"""Inputs that are committed together: what a crash costs, about 5 s of crops or 30 s of
photographs. A batch of the model that is not full ends each of them."""


@dataclass(frozen=True)
class OutputOptions:
    """What may become of an output that is there.

    overwrite: it is replaced. update: inputs that are new or have changed are labelled; prune:
    and those whose file has vanished are dropped. retry_failed: inputs that failed are labelled
    again. part_size: inputs that are committed together, None for what suits them.
    """

    overwrite: bool = False
    update: bool = False
    prune: bool = False
    retry_failed: bool = False
    part_size: int | None = None

    def __post_init__(self) -> None:
        if self.overwrite and (self.update or self.retry_failed):
            raise AnnotateError("overwrite labels all again: it does not go with update or retry")
        if self.prune and not self.update:
            raise AnnotateError("prune is for update: pass both")
        if self.part_size is not None and self.part_size < 1:
            raise AnnotateError(f"part_size must be at least 1, got {self.part_size}")

    @property
    def mode(self) -> dict[str, bool]:
        """What a run that goes on must have been begun with."""
        return {name: value for name, value in asdict(self).items() if name != "part_size"}


class StoppedError(Exception):
    """A run was stopped before its end; what it did is kept. summary: what that is."""

    def __init__(self, summary: Summary) -> None:
        super().__init__(f"stopped after {summary.done:,} inputs")
        self.summary = summary


class Job:
    """A run into an output. A context manager, in which no other process has the output.

    run: what is left to do, None where nothing is. Raises AnnotateError where the run cannot be
    done, or does not go with what is there.
    """

    def __init__(
        self,
        config: RunConfig,
        target: str,
        options: OutputOptions | None = None,
        *,
        model: Model | None = None,
    ) -> None:
        self.config = config
        self.target = target
        self.options = options or OutputOptions()
        self.run: Run | None = None
        place = located(target)
        with explained(target):
            finish_left(place)
        self._kind = output_kind(target)
        if config.save_crops is not None:
            check_crops_beside(config.save_crops, place)
        if self.options.update or not self.options.retry_failed:
            check(config, model)
        self._check_kind()
        with explained(target):
            self._journal = Journal(place)
        try:
            with explained(target):
                self._journal.finish()
                self._model = ready_model(config, model)
                self._attributes = attributes(config, self._model)
                self.run = self._decide()
        except BaseException:
            self._journal.__exit__()
            raise

    def __enter__(self) -> Job:
        return self

    def __exit__(self, *_: object) -> None:
        if self.run is not None and self.run.taken.previous is not None:
            self.run.taken.previous.close()
        self._journal.__exit__()

    @property
    def committed(self) -> int:
        """Inputs whose rows are on disk, by this process or an earlier one."""
        return self._journal.tally.done

    def label(self, progress: Progress | None = None) -> Summary:
        """Do what is left, and have the output at its name.

        Raises StoppedError after `stop`, AnnotateError where it cannot be done.
        """
        run, journal = self.run, self._journal
        assert run is not None
        assert journal.header is not None
        check_is_not_read(journal.target, run.found.plan, self.config.table)
        try:
            for part in run.parts(journal.header["part_size"], progress):
                journal.commit(part, run.inputs.take_skipped(part.cursor.item))
            if run.is_stopped and not run.inputs.has_ended:
                raise StoppedError(run.summary)
            if not run.summary.done:
                journal.clear()  # there is nothing to go on with
            run.check_whole()
            self._publish(run)
        except OSError as error:
            said = f"cannot write {self.target}: {error.strerror or error}"
            raise AnnotateError(f"{said}; {self._what_is_kept()}") from error
        return run.summary

    def _what_is_kept(self) -> str:
        """What becomes of the work after a fault."""
        if not self._journal.is_publishing and not self._journal.is_there:
            return f"its work folder {self._journal.folder} has vanished: the run starts again"
        return f"{self.committed:,} inputs are done and kept, the same command goes on with them"

    def stop(self) -> None:
        """Finish what is in flight, and no more. For any thread, and for signals."""
        if self.run is not None:
            self.run.stop()

    def _publish(self, run: Run) -> None:
        """Make the output of the parts, and give it its name. Raises OSError."""
        journal = self._journal
        if self._kind != "folder":
            batches = (batch for table in journal.tables() for batch in table.to_batches())
            with durable.new_file(journal.made) as file:
                write_batches(self._kind, file, run.schema, batches)
            if self._kind == "parquet" and count_rows(journal.made) != run.summary.rows:
                raise AnnotateError(f"{journal.made} does not hold what was written to it")
        if run.taken.previous is not None:
            run.taken.previous.close()  # elsewhere than on POSIX, an open file is not replaced
        journal.publish(journal.made)

    def _check_kind(self) -> None:
        """Raise AnnotateError where an output of this kind cannot be gone on with."""
        is_asked = self.options.update or self.options.retry_failed
        if is_asked and self._kind not in ("parquet", "folder"):
            raise AnnotateError(
                f"{self.target}: only a Parquet output says what it was made with: update and"
                " retry-failed need one"
            )
        if self.options.prune and self.config.limit is not None:
            raise AnnotateError("prune would drop what lies behind the limit: pass one of them")

    def _decide(self) -> Run | None:
        """What is to be done, from what is there."""
        journal, options = self._journal, self.options
        if journal.header is not None and self._is_discarded(journal.header):
            journal.clear()
        if journal.header is not None:
            return self._resumed(journal.header)
        if is_output(self.target) and not options.overwrite:
            return self._after_finished()
        if options.retry_failed and not options.update:
            raise AnnotateError(f"nothing to retry: there is no output {self.target}")
        return self._begun(find_inputs(self.config))

    def _is_discarded(self, header: dict[str, Any]) -> bool:
        """Whether an unfinished run gives way to this one."""
        if not self._journal.parts:
            return True
        differs = self._other_run(header)
        return self.options.overwrite and bool(differs or not header["mode"]["overwrite"])

    def _other_run(self, header: dict[str, Any]) -> str:
        """In what an unfinished run differs from this one; empty where in nothing."""
        mode = agreement.other_mode(header["mode"], self.options.mode)
        made = agreement.differences(header["attributes"], self._attributes)
        asked = ""
        if not self.options.retry_failed or self.options.update:  # else nothing is scanned
            asked = agreement.other_request(header["request"], agreement.request(self.config))
        return ", ".join(filter(None, (mode, made, asked)))

    def _resumed(self, header: dict[str, Any]) -> Run:
        """The rest of an unfinished run. Raises AnnotateError where it is another one."""
        differs = self._other_run(header)
        if differs:
            raise AnnotateError(
                f"{self.target} is unfinished, and its run had {differs}: repeat that command to"
                " finish it, or pass --overwrite to start again"
            )
        if header["previous"] is None:
            self._journal.check_target()
        plan = self._journal.plan()
        if header["limit"] != self.config.limit and not self.options.retry_failed:
            plan = self._extended(header, plan)
        previous = None
        if header["previous"] is not None:
            if standing(self._journal.target) != header["previous"]:
                raise AnnotateError(
                    f"{self.target} is not the output that its unfinished update began with:"
                    " pass --overwrite to start again"
                )
            previous = Previous(self._journal.target)
        return self._run(Scan(plan, Counter(header["skipped"])), previous)

    def _extended(self, header: dict[str, Any], plan: Plan) -> Plan:
        """The plan of a higher limit, which begins with the plan of the lower one."""
        old, new = header["limit"], self.config.limit
        if old is None or (new is not None and new < old):
            raise AnnotateError(
                f"{self.target} is unfinished, and its run had"
                f" {'no limit' if old is None else f'the limit {old:,}'}: it cannot be lowered;"
                " pass --overwrite to start again"
            )
        found = find_inputs(self.config)
        if not agreement.begins_with(found.plan, len(plan), header["plan"]):
            raise AnnotateError(
                f"the inputs of the unfinished {self.target} have changed since: finish it with"
                f" the limit {old:,}, or pass --overwrite to start again"
            )
        again = header | {
            "limit": new,
            "inputs": agreement.inputs_of(found.plan, self.config.limit),
        }
        self._journal.replan(again | {"skipped": dict(found.skipped)}, found.plan)
        return found.plan

    def _after_finished(self) -> Run | None:
        """What is to be done where the output is finished: nothing, or some of it."""
        if self._kind not in ("parquet", "folder"):
            raise AnnotateError(
                f"{self.target} exists: pass --overwrite to replace it, or another -o"
            )
        previous = Previous(self._journal.target)
        try:
            run = self._on_from(previous)
        except BaseException:
            previous.close()
            raise
        if run is None:
            previous.close()
        return run

    def _on_from(self, previous: Previous) -> Run | None:
        """The run that goes on from a finished output, None where there is nothing to do."""
        made = previous.attributes
        differs = agreement.differences(made, self._attributes)
        if differs:
            raise AnnotateError(
                f"{self.target} exists, and was made with {differs}: pass --overwrite to label all"
                " again, or another -o"
            )
        if self.options.retry_failed and not self.options.update:
            plan = plan_of_failures(previous, self.config.scan_options)
            return self._begun(Scan(plan), previous, agreement.inputs_in(made)) if plan else None
        found = find_inputs(self.config)
        if self.options.update:
            return self._begun(found, previous)
        plan, old, limit = found.plan, agreement.inputs_in(made), self.config.limit
        if plan_files.digest(plan) == old["digest"] and old["limit"] == limit:
            return None
        is_more = agreement.is_lower(old["limit"], limit)
        if is_more and agreement.begins_with(plan, old["items"], old["digest"]):
            return self._begun(found, previous)
        since = changes(plan, previous)
        if limit is not None and not plan.archives and not since.new and not since.changed:
            return None  # a lower limit: all of it is there
        raise AnnotateError(
            f"{self.target} exists, and its inputs have changed ({since}): pass --update to label"
            " what is new, --overwrite to label all again, or another -o"
        )

    def _begun(
        self, found: Scan, previous: Previous | None = None, inputs: dict[str, Any] | None = None
    ) -> Run:
        """A run from its beginning. inputs: what the output says of them, if not this plan."""
        size = PART_CROPS if self.config.faces == "crop" else PART_PHOTOGRAPHS
        header = {
            "kind": self._kind,
            "mode": self.options.mode,
            "request": agreement.request(self.config),
            "limit": self.config.limit,
            "attributes": self._attributes,
            "inputs": inputs or agreement.inputs_of(found.plan, self.config.limit),
            "part_size": self.options.part_size or size,
            "skipped": dict(found.skipped),
            "previous": None if previous is None else standing(self._journal.target),
            "standing": standing(self._journal.target),
        }
        self._journal.begin(header, found.plan)
        if previous is not None:
            previous.save_known(self._journal.known)
        return self._run(found, previous)

    def _run(self, found: Scan, previous: Previous | None) -> Run:
        """What is left to do of a plan, by what the journal says."""
        journal = self._journal
        assert journal.header is not None
        taken = Taken(journal.cursor, journal.tally, previous=previous)
        done = Previous(journal.folder / PARTS) if journal.parts else None
        if previous is not None:
            taken.steps = self._steps(found.plan, previous, done)
            # Crops are saved of what is read; who asks for them wants those of copies, too.
            taken.known = journal.known if self.config.save_crops is None else None
        if done is not None:
            taken.members = members_done(found.plan, journal.cursor, done)
            taken.seen = done.labelled_contents if self.config.skip_duplicates else set()
            done.close()
        before = Scan(found.plan, found.skipped + journal.skipped)
        extra = {"inputs": journal.header["inputs"]}
        return Run(self.config, before, self._model, taken, extra_attributes=extra)

    def _steps(self, plan: Plan, previous: Previous, done: Previous | None) -> Steps:
        """What becomes of the inputs of a finished output. done: the parts so far."""
        is_listed = partial(
            is_scanned, sources=self.config.sources, options=self.config.scan_options
        )
        seen = np.zeros(len(previous), bool)
        if done is not None:
            done.mark_in(previous, seen)
        return Steps(
            plan,
            previous,
            expected_inputs(plan, previous),
            retry=self.options.retry_failed,
            prune=self.options.prune,
            start=self._journal.cursor,
            seen=seen,
            position=int(np.flatnonzero(seen)[-1]) + 1 if seen.any() else 0,
            # A retry scans the folders that could not be listed, and no others.
            is_listed=is_listed if self.options.update else os.path.isdir,
        )


def write(
    config: RunConfig,
    target: str,
    options: OutputOptions | None = None,
    *,
    progress: Progress | None = None,
    model: Model | None = None,
) -> Summary | None:
    """Label all inputs into OUT, or go on with it. Returns None where there was nothing to do.

    Raises AnnotateError.
    """
    with Job(config, target, options, model=model) as job:
        return None if job.run is None else job.label(progress)
