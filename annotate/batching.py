"""Batching: decoded inputs in, the same inputs with their predictions out, in order.

The model sees full batches of faces, however these fall on inputs. Rows that are known already
pass by in their place.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np

from annotate.images import Pixels
from annotate.model import Model
from annotate.records import Predictions, Sample

WAITING_BATCHES = 4
"""So many batches of inputs wait at most for a batch of faces to become full."""

Item = TypeVar("Item")


class Ready(NamedTuple):
    """Items whose faces are all predicted, in order, and the predictions of all their faces."""

    items: list[Any]
    predictions: Predictions | None


class Batcher(Generic[Item]):
    """Collects the faces of items and runs a model over them in full batches.

    Items are samples, or anything else, which has no faces and keeps its place among them.
    """

    def __init__(self, model: Model) -> None:
        self._model = model
        self._waiting: deque[tuple[Item, int]] = deque()
        self._pixels: list[Pixels] = []
        self._pending = 0
        self._known: list[Predictions] = []

    def add(self, item: Item) -> Ready | None:
        """Take the next item. Returns those that are ready by now, if there was work to do."""
        faces = 0
        if isinstance(item, Sample):
            faces = len(item.faces)
            self._pixels.append(item.pixels)
        self._waiting.append((item, faces))
        self._pending += faces
        is_long = len(self._waiting) >= WAITING_BATCHES * self._model.batch_size
        if self._pending < self._model.batch_size and not is_long:
            return None
        self._predict(self._pending - self._pending % self._model.batch_size or self._pending)
        return self._ready()

    def flush(self) -> Ready | None:
        """Predict what is left, in a batch that need not be full, and return all that waits."""
        self._predict(self._pending)
        return self._ready() if self._waiting else None

    def _predict(self, count: int) -> None:
        """Run the model over the first so many of the pending faces."""
        if not count:
            self._pixels = self._pixels if self._pending else []
            return
        faces = np.concatenate(self._pixels)
        self._known.append(self._model.predict(faces[:count]))
        # A copy, so that the batch's pixels are not kept alive by its rest.
        self._pixels, self._pending = [faces[count:].copy()], self._pending - count

    def _ready(self) -> Ready:
        """Take the items whose faces are all predicted off the front."""
        known = sum(len(part) for part in self._known)
        items: list[Item] = []
        used = 0
        while self._waiting and used + self._waiting[0][1] <= known:
            item, faces = self._waiting.popleft()
            used += faces
            items.append(item)
        if not self._known:
            return Ready(items, None)
        together = Predictions.concatenate(self._known)
        self._known = [together.part(used, known)] if used < known else []
        return Ready(items, together.part(0, used) if used else None)


def predict_in_batches(items: Iterable[Any], model: Model) -> Generator[Ready, None, None]:
    """Run the model over the faces of all items, and give them back as they become ready."""
    batcher: Batcher[Any] = Batcher(model)
    for item in items:
        if (ready := batcher.add(item)) is not None:
            yield ready
    if (ready := batcher.flush()) is not None:
        yield ready
