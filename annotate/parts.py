"""Parts: what was decoded, or is known, in; tables of complete inputs, ready to be committed, out.

A batch of the model never spans two parts: a run that is taken up behind a part forms the batches
that it would have formed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

import pyarrow as pa

from annotate import rows
from annotate.batching import Batcher, Ready
from annotate.digests import content_digest
from annotate.hints import shape_of
from annotate.model import Model
from annotate.previous import Copied, Previous
from annotate.records import Cursor, Failure, Kept, Sample, Status
from annotate.summary import Tally

Item = Sample | Kept | Copied


@dataclass(frozen=True)
class Part:
    """The rows of inputs that follow each other, and the place in the plan behind them."""

    table: pa.Table
    tally: Tally
    cursor: Cursor


class PartMaker:
    """Collects inputs, in order, into the rows of one part. previous: where known rows are."""

    def __init__(self, model: Model, described: pa.Schema, previous: Previous | None) -> None:
        self._batcher: Batcher[Item] = Batcher(model)
        self._schema = described
        self._previous = previous
        self._batches: list[pa.RecordBatch] = []
        self._cursor = Cursor()
        self.count = 0
        """Inputs that it was given."""

    def add(self, item: Item) -> Tally | None:
        """Take the next inputs. Returns what has its rows since it was last said."""
        self.count += item.inputs if isinstance(item, Kept) else 1
        self._cursor = item.source.cursor if isinstance(item, Sample) else item.cursor
        ready = self._batcher.add(item)
        return None if ready is None else self._rows(ready)

    def flush(self) -> Tally:
        """Make the rows that are missing. Returns what had none so far."""
        ready = self._batcher.flush()
        return Tally() if ready is None else self._rows(ready)

    def part(self, tally: Tally) -> Part:
        """The part, once it is flushed. tally: of all that `add` and `flush` have returned."""
        table = pa.Table.from_batches(self._batches, self._schema).unify_dictionaries()
        return Part(table, tally, self._cursor)

    def _rows(self, ready: Ready) -> Tally:
        """Make rows of inputs that are ready."""
        tally = Tally()
        before = sum(batch.num_rows for batch in self._batches)
        used = 0
        for is_sample, together in groupby(ready.items, lambda item: isinstance(item, Sample)):
            items = list(together)
            if not is_sample:
                for item in items:
                    self._batches += self._known_rows(item, tally)
                continue
            faces = sum(len(sample.faces) for sample in items)
            found = ready.predictions.part(used, used + faces) if ready.predictions else None
            used += faces
            self._batches.append(
                rows.to_record_batch(items, found if faces else None, self._schema)
            )
            count(items, tally)
        tally.rows = sum(batch.num_rows for batch in self._batches) - before
        return tally

    def _known_rows(self, item: Kept | Copied, tally: Tally) -> list[pa.RecordBatch]:
        """The rows of the previous output that an item stands for."""
        assert self._previous is not None
        if isinstance(item, Kept):
            tally.by_status += self._previous.statuses(item.start, item.stop)
            tally.of_plan += 0 if item.is_beside else item.inputs
            return self._previous.rows(item.start, item.stop)
        tally.by_status[str(self._previous.status(item.ordinal))] += 1
        tally.of_plan += not item.is_beside
        return [self._previous.copy(item)]


def count(samples: list[Sample], tally: Tally) -> None:
    """Add inputs to a tally; their rows are counted elsewhere."""
    tally.of_plan += len(samples)
    for sample in samples:
        status = sample.failure.status if sample.failure is not None else None
        tally.by_status[str(status or (Status.OK if sample.faces else Status.NO_FACE))] += 1
        if status is Status.UNSUPPORTED:
            tally.unsupported[os.path.splitext(sample.source.path)[1].lower()] += 1
        if sample.facts.width and sample.facts.height:
            tally.shapes[shape_of(sample.facts.width, sample.facts.height)] += 1


class Contents:
    """What is known of contents: labels in the previous output, and what this output has already.

    skip_duplicates: an input with the bytes of an earlier one becomes a `duplicate`. seen: digests
    of the contents that have their labels in this output.
    """

    def __init__(
        self, previous: Previous | None, *, skip_duplicates: bool, seen: set[bytes] | None = None
    ) -> None:
        self._previous = previous
        self._skips = skip_duplicates
        self._seen = set() if seen is None else seen

    def settle(self, item: Sample | Kept) -> Iterator[Item]:
        """What becomes of an item: itself, the labels of its content, or a duplicate."""
        if isinstance(item, Kept):
            yield from self._kept(item) if self._skips else (item,)
            return
        is_decoded = item.failure is None
        digest = content_digest(item.facts.sha256) if item.facts.sha256 and is_decoded else None
        if digest is None:
            yield item
        elif self._is_repeated(digest):
            yield _duplicate(item)
        elif item.is_known:
            assert self._previous is not None
            ordinal = self._previous.labelled(digest)
            assert ordinal is not None
            yield Copied.of(item, ordinal)
        else:
            yield item

    def _is_repeated(self, digest: bytes) -> bool:
        """Whether an input with these bytes is a duplicate. From now on others will be."""
        if not self._skips:
            return False
        is_repeated = digest in self._seen
        self._seen.add(digest)
        return is_repeated

    def _kept(self, kept: Kept) -> Iterator[Item]:
        """Rows that are kept; of a duplicate whose first one is not there any more, the labels."""
        previous = self._previous
        assert previous is not None
        start = kept.start
        for ordinal in range(kept.start, kept.stop):
            digest, status = previous.content(ordinal), previous.status(ordinal)
            if digest is None or status not in (Status.OK, Status.NO_FACE, Status.DUPLICATE):
                continue
            first = None
            if status is Status.DUPLICATE and digest not in self._seen:
                first = previous.labelled(digest)
            self._seen.add(digest)
            if first is not None:
                if start < ordinal:
                    yield kept._replace(start=start, stop=ordinal)
                yield previous.renamed(first, ordinal, kept)
                start = ordinal + 1
        if start < kept.stop:
            yield kept._replace(start=start)


def _duplicate(sample: Sample) -> Sample:
    """A sample whose bytes were labelled before."""
    return Sample(sample.source, sample.facts, (), sample.pixels[:0], Failure(Status.DUPLICATE, ""))
