"""Diagnosis: Options in, findings out, one at a time: all that is looked at, in its order."""

from __future__ import annotations

from collections.abc import Iterator

from annotate.doctor.findings import Finding, again
from annotate.doctor.isolation import Check, Options, examine
from annotate.doctor.packages import package_checks
from annotate.doctor.pictures import NEW_ONNX_RUNTIME, format_checks

MACHINE = "Machine"
PACKAGES = "Packages"
FORMATS = "Picture formats"
DETECTOR = "Face detector"
MODELS = "Models"
ENGINES = "Engines and devices"
SPEED = "Speed"
TIME = "Time for a folder"
"""Headings, in their order."""

KERAS_S = 180.0
"""A backend of Keras may take so long to be imported, from a network folder say."""

SPEED_S = 300.0
FOLDER_S = 3600.0
"""A folder on a slow disk takes its time to be read; Ctrl-C ends what takes too long."""

_KERAS = again("keras", "tensorflow")


def diagnose(options: Options) -> Iterator[Finding]:
    """Look at everything; findings come as they are made. Never raises for what is broken."""
    return examine(list(_checks(options)), options)


def _checks(options: Options) -> Iterator[Check]:
    yield Check(MACHINE, "system", "annotate.doctor.packages:system")
    yield Check(MACHINE, "Python", "annotate.doctor.packages:python")
    yield Check(MACHINE, "cores", "annotate.doctor.machine:cores")
    yield Check(MACHINE, "memory", "annotate.doctor.machine:memory")
    yield Check(MACHINE, "disk", "annotate.doctor.machine:disk", "here")
    yield Check(MACHINE, "temporary files", "annotate.doctor.machine:disk", "temporary")
    yield Check(MACHINE, "shared memory", "annotate.doctor.machine:shared_memory")
    yield Check(
        MACHINE,
        "worker processes",
        "annotate.doctor.machine:workers",
        to_do="free some memory, or end programs",
    )
    yield from package_checks(PACKAGES)
    yield from format_checks(FORMATS)
    yield Check(DETECTOR, "networks", "annotate.doctor.pictures:detector", to_do=NEW_ONNX_RUNTIME)
    yield Check(MODELS, "bundled", "annotate.doctor.engines:models")
    yield Check(
        ENGINES, "onnx", "annotate.doctor.engines:onnx", to_do=NEW_ONNX_RUNTIME, is_last=True
    )
    # A child of their own: a backend of Keras takes half a gigabyte.
    yield Check(ENGINES, "keras", "annotate.doctor.engines:keras", limit_s=KERAS_S, to_do=_KERAS)
    yield Check(
        ENGINES,
        "gpu",
        "annotate.doctor.engines:gpu",
        limit_s=KERAS_S,
        to_do="use --device cpu",
        is_last=True,
    )
    if options.seconds:
        limit_s = SPEED_S + options.seconds
        yield Check(SPEED, "crops", "annotate.doctor.speed:crops", limit_s=limit_s)
        yield Check(SPEED, "photographs", "annotate.doctor.speed:photographs", limit_s=limit_s)
    if options.folder is not None:
        yield Check(TIME, "folder", "annotate.doctor.speed:folder", limit_s=FOLDER_S)
