"""annotate: label the faces of an image archive with age and gender.

The public names are loaded when they are first used, so that importing the package is quick.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

from annotate.errors import AnnotateError
from annotate.version import __version__

if TYPE_CHECKING:
    from annotate.api import iter_rows, run
    from annotate.archives import open_input
    from annotate.comparison import Comparison, compare
    from annotate.evaluation import evaluate
    from annotate.evaluation_report import EvaluationReport
    from annotate.exploration import Exploration, explore
    from annotate.frames import age_bands
    from annotate.model import Model, load_model
    from annotate.names import resolve
    from annotate.readers import read
    from annotate.records import Predictions

# ONNX Runtime 1.29 and newer keeps a record of its use below the home folder and sends it to its
# maker, unless this is set before it is imported. Worker processes inherit it.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

__all__ = [
    "AnnotateError",
    "Comparison",
    "EvaluationReport",
    "Exploration",
    "Model",
    "Predictions",
    "__version__",
    "age_bands",
    "compare",
    "evaluate",
    "explore",
    "iter_rows",
    "load_model",
    "open_input",
    "read",
    "resolve",
    "run",
]

_HOMES = {
    "Comparison": "annotate.comparison",
    "EvaluationReport": "annotate.evaluation_report",
    "Exploration": "annotate.exploration",
    "Model": "annotate.model",
    "Predictions": "annotate.records",
    "age_bands": "annotate.frames",
    "compare": "annotate.comparison",
    "evaluate": "annotate.evaluation",
    "explore": "annotate.exploration",
    "iter_rows": "annotate.api",
    "load_model": "annotate.model",
    "open_input": "annotate.archives",
    "read": "annotate.readers",
    "resolve": "annotate.names",
    "run": "annotate.api",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'annotate' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
