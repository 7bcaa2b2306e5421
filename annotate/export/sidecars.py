"""Sidecars: the inputs of an output in, a tree of XMP files apart from the originals out.

The tree mirrors the folders of the originals below the one that holds them all.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum

from annotate.engines import usable_cpus
from annotate.errors import AnnotateError, shown
from annotate.export.labelled import Input, Labelled, LeftOut
from annotate.export.originals import Original, look_at, look_from_afar, unreadable
from annotate.export.tally import Reason, Tally
from annotate.export.tree import Tree
from annotate.export.xmp import keywords, packet
from annotate.images import load_parsers
from annotate.names import for_people
from annotate.targets import explained
from annotate.workers import OrderedMap

TIMEOUT_S = 120.0
"""An original whose orientation takes longer to read is left out."""

WINDOW_PER_WORKER, CHUNK = 16, 2
"""Originals that are read ahead, and that a worker takes at a time."""

EXAMPLES = 5
"""Sidecars that are described."""

Progress = Callable[[int], object]
"""Called with how many inputs are done."""


class Naming(StrEnum):
    """How a sidecar is named after its picture. FULL: `a.jpg.xmp`; STEM: `a.xmp`."""

    FULL = "full"
    STEM = "stem"

    def sidecar(self, picture: bytes) -> bytes:
        """The name of the sidecar. picture: its path."""
        return (picture if self is Naming.FULL else os.path.splitext(picture)[0]) + b".xmp"


def check_tree(target: str, labelled: Labelled, out: str) -> None:
    """Raise AnnotateError where the target cannot be the root of a tree of its own."""
    name = shown(target, 300)
    with explained(name):
        if os.path.lexists(target) and not os.path.isdir(target):
            raise AnnotateError(f"cannot write {name}: expected a folder for the tree of sidecars")
        parent = os.path.dirname(os.path.abspath(target))
        if not os.path.isdir(parent):
            raise AnnotateError(f"cannot write {name}: there is no folder {shown(parent, 300)}")
        root = os.path.realpath(os.fsencode(target))
        if root == os.path.realpath(labelled.folder):
            raise AnnotateError(
                f"cannot write {name}: the sidecars would lie among the originals; name a folder of"
                " their own, and copy them from there"
            )
        if root == os.path.realpath(os.fsencode(out)):
            raise AnnotateError(f"cannot write {name}: it is the output that is exported")


class Sidecars:
    """The sidecars of an output. `examples`: the first ones, in words."""

    def __init__(self, labelled: Labelled, target: str, *, naming: Naming, overwrite: bool) -> None:
        self._labelled = labelled
        self._naming = naming
        self._tree = Tree(target, overwrite=overwrite)
        self.examples: list[str] = []

    def describe(self, progress: Progress) -> Tally:
        """What `write` would do, as far as that can be said without reading the originals.

        Raises AnnotateError.
        """
        found = (look_from_afar(item) for item in self._wanted())
        return self._done(found, progress, put=self._pretend)

    def write(self, progress: Progress, *, workers: int | None = None) -> Tally:
        """Write them. workers: processes that read originals, None for one a usable core.

        Raises AnnotateError.
        """
        processes = workers or usable_cpus()
        self._tree.begin()
        with OrderedMap(
            look_at,
            self._wanted(),
            on_crash=unreadable,
            timeout_s=TIMEOUT_S,
            prepare=load_parsers,
            workers=processes,
            window=WINDOW_PER_WORKER * processes,
            chunk=CHUNK,
        ) as originals:
            tally = self._done(originals, progress, put=self._tree.put)
        self._tree.finish()
        return tally

    def _wanted(self) -> Iterator[Input | LeftOut]:
        """The inputs that get a sidecar, if their files still are what they were."""
        for item in self._labelled:
            if isinstance(item, LeftOut):
                yield item
                continue
            reason = self._tree.why_not(self._name(item)) if item.faces else Reason.NO_FACE
            yield item if reason is None else LeftOut(reason, item.path)

    def _done(
        self,
        originals: Iterable[Original | LeftOut],
        progress: Progress,
        put: Callable[[bytes, bytes], Reason | None],
    ) -> Tally:
        """Put the sidecars of originals, and count."""
        tally = Tally()
        for found in originals:
            if isinstance(found, LeftOut):
                tally.leave_out(*found)
            elif reason := self._put(found, put):
                tally.leave_out(reason, found.item.path)
            else:
                tally.inputs += 1
                tally.faces += len(found.item.faces)
            progress(tally.seen)
        return tally

    def _put(self, found: Original, put: Callable[[bytes, bytes], Reason | None]) -> Reason | None:
        if isinstance(found.orientation, Reason):
            return found.orientation
        name = self._name(found.item)
        reason = put(name, packet(found.item, found.orientation))
        if reason is None and len(self.examples) < EXAMPLES:
            words = ", ".join("/".join(path) for path in keywords(found.item.faces))
            self.examples.append(f"{for_people(name)}: {words}")
        return reason

    def _pretend(self, name: bytes, _: bytes) -> Reason | None:
        """What `put` would answer."""
        reason = self._tree.why_not(name)
        if reason is None:
            self._tree.take(name)
        return reason

    def _name(self, item: Input) -> bytes:
        return self._naming.sidecar(item.relative)
