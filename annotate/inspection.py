"""Inspection: a plan in; content, size and health of each of its inputs out.

What worker processes do is what they do for a run on crops; only that no model sees the pixels.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import cast

from annotate.decoding import DecodeOptions, crashed, decode_source, load_decoders, timed_out
from annotate.engines import usable_cpus
from annotate.parts import count
from annotate.plan import Plan
from annotate.records import Sample, Source
from annotate.summary import Summary, Tally
from annotate.workers import OrderedMap

SIZE_PX = 16
"""JPEGs are decoded as small as this allows: whether a file is whole shows at any size."""

_WINDOW, _CHUNK = 256, 16

Progress = Callable[[Summary], None]


def inspected(
    plan: Plan,
    *,
    workers: int | None = None,
    timeout_s: float | None = None,
    progress: Progress | None = None,
) -> Iterator[Sample]:
    """Read, hash and decode the inputs of a plan, in its order; what is wrong is their failure.

    workers: processes, None for one a usable core. timeout_s: how long one input may take.
    progress: called with a summary now and then.
    """
    options = DecodeOptions(SIZE_PX, timeout_s=timeout_s)
    summary = Summary(inputs=len(plan))
    clock = time.monotonic()
    with OrderedMap[Source, Sample](
        partial(decode_source, options=options),
        plan,
        on_crash=lambda source: cast(Sample, crashed(source, options)),
        timeout_s=timeout_s,
        on_timeout=lambda source: cast(Sample, timed_out(source, options)),
        prepare=partial(load_decoders, options),
        workers=workers or usable_cpus(),
        window=_WINDOW,
        chunk=_CHUNK,
    ) as samples:
        for number, sample in enumerate(samples, 1):
            tally = Tally()
            count([sample], tally)
            summary.add(tally)
            summary.seconds = time.monotonic() - clock
            if progress is not None and (number % _CHUNK == 0 or number == len(plan)):
                progress(summary)
            yield sample
