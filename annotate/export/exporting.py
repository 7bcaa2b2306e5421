"""Exporting: what a user asks for in; the files of one format, and what there is to say, out."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from annotate import durable
from annotate.errors import AnnotateError, shown
from annotate.export.coco import write_coco
from annotate.export.json_files import check_free, check_target, pictures, whole_file
from annotate.export.label_studio import CONFIG, local_prefix, write_tasks
from annotate.export.labelled import Labelled
from annotate.export.sidecars import Naming, Sidecars, check_tree
from annotate.export.tally import Tally, count
from annotate.names import for_people
from annotate.targets import explained

FORMATS = ("label-studio", "coco", "xmp")

CONFIG_SUFFIX = ".config.xml"
"""What the labelling set-up is named, in the place of the tasks' suffix."""

Progress = Callable[[int, int], object]
"""Called with how many inputs are done, and how many there are."""


@dataclass(frozen=True, slots=True)
class ExportConfig:
    """What is exported, and how.

    out: an output of `annotate run`. to: one of FORMATS. target: a JSON file or, for xmp, a folder.
    overwrite: replace what is there. dry_run: write nothing. faces_only: leave out pictures without
    a face (xmp has none of those anyway). url_prefix: of the pictures' addresses in Label Studio;
    None where it serves the files itself. naming: of sidecars. workers: processes that read
    originals for xmp, None for one a usable core.
    """

    out: str
    to: str
    target: str
    overwrite: bool = False
    dry_run: bool = False
    faces_only: bool = False
    url_prefix: str | None = None
    naming: Naming = Naming.FULL
    workers: int | None = None


@dataclass(frozen=True)
class Exported:
    """What came of an export. examples: some of what was written, or would be. advice: lines on
    what to do with it.
    """

    config: ExportConfig
    tally: Tally
    examples: tuple[str, ...] = ()
    advice: tuple[str, ...] = ()

    def render(self) -> str:
        """The counts for a terminal, without a final newline."""
        done = "would write" if self.config.dry_run else "wrote"
        noun = "sidecar" if self.config.to == "xmp" else "picture"
        counts = f"{count(self.tally.inputs, noun)} with {count(self.tally.faces, 'face')}"
        lines = [f"{done} {counts} to {shown(self.config.target, 300, quote=False)}"]
        if self.config.dry_run:
            lines += [f"  {example}" for example in self.examples]
            if self.config.to == "xmp":
                lines.append("  (originals were not read: some may have changed since the run)")
        lines += [self.tally.render()] if self.tally.left_out else []
        lines += [] if self.config.dry_run else self.advice
        return "\n".join(lines)


def run_export(config: ExportConfig, progress: Progress = lambda done, total: None) -> Exported:
    """Export an output.

    Raises AnnotateError where it cannot be read, or the target cannot be written.
    """
    if config.to not in FORMATS:
        raise AnnotateError(f"cannot export to {shown(config.to)}: expected {', '.join(FORMATS)}")
    if config.to == "xmp":
        return _to_xmp(config, progress)
    path = check_target(config.target, overwrite=config.overwrite)
    if config.to == "label-studio":
        check_free(path.with_suffix(CONFIG_SUFFIX), overwrite=config.overwrite)
        _check_prefix(config.url_prefix)
    labelled = Labelled(config.out)
    if config.dry_run:
        return _described(config, labelled)
    return _WRITERS[config.to](config, labelled, path)


def _to_xmp(config: ExportConfig, progress: Progress) -> Exported:
    labelled = Labelled(config.out, with_duplicates=True)
    check_tree(config.target, labelled, config.out)
    sidecars = Sidecars(labelled, config.target, naming=config.naming, overwrite=config.overwrite)

    def show(done: int) -> None:
        progress(done, len(labelled))

    if config.dry_run:
        tally = sidecars.describe(show)
    else:
        tally = sidecars.write(show, workers=config.workers)
    folders = shlex.join([_for_rsync(config.target), _below(labelled.folder)])
    advice = f"to put them beside the originals: rsync -a --ignore-existing {folders}"
    return Exported(config, tally, tuple(sidecars.examples), (advice,))


def _to_coco(config: ExportConfig, labelled: Labelled, path: Path) -> Exported:
    with whole_file(path) as file:
        tally = write_coco(labelled, file, faces_only=config.faces_only)
    advice = f"file names in it are below {for_people(labelled.folder)}"
    return Exported(config, tally, advice=(advice,))


def _to_label_studio(config: ExportConfig, labelled: Labelled, path: Path) -> Exported:
    prefix = local_prefix(labelled) if config.url_prefix is None else config.url_prefix
    setup = path.with_suffix(CONFIG_SUFFIX)
    with explained(shown(str(setup), 300)):
        durable.write_whole(setup, CONFIG.encode("utf-8"))
    with whole_file(path) as file:
        tally = write_tasks(labelled, file, prefix=prefix, faces_only=config.faces_only)
    advice = [f"labelling set-up: {shown(str(setup), 300, quote=False)}"]
    if config.url_prefix is None:
        advice += [
            "Label Studio serves the pictures where it is started with"
            " LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED=true",
            "  LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT="
            + shlex.quote(for_people(os.path.dirname(labelled.folder))),
            f"  and the project has {for_people(labelled.folder)} as a source storage"
            " of local files",
        ]
    return Exported(config, tally, advice=tuple(advice))


def _check_prefix(prefix: str | None) -> None:
    """Raise AnnotateError where a prefix is no text."""
    try:
        (prefix or "").encode("utf-8")
    except UnicodeEncodeError as error:
        raise AnnotateError(f"the URL prefix {shown(prefix)} is not UTF-8") from error


_WRITERS = {"coco": _to_coco, "label-studio": _to_label_studio}


def _described(config: ExportConfig, labelled: Labelled) -> Exported:
    """What would be written into a JSON file."""
    tally = Tally()
    for _ in pictures(labelled, tally, faces_only=config.faces_only):
        pass
    return Exported(config, tally)


def _for_rsync(folder: str) -> str:
    """What is in a folder, as rsync takes it: `a:b/` would be b on the machine a, `-a/` options."""
    looks_foreign = ":" in folder or folder.startswith("-")
    here = os.curdir if looks_foreign and not os.path.isabs(folder) else ""
    return os.path.join(here, folder, "")


def _below(folder: bytes) -> str:
    return for_people(os.path.join(folder, b""))
