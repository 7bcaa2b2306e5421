"""Agreement: how an output was made and how a run would make it in; in what they differ, out.

What differs is said in the words of the command line. All values are JSON types.
"""

from __future__ import annotations

from typing import Any

from annotate import plan_files
from annotate.errors import shown
from annotate.names import absolute
from annotate.plan import Plan
from annotate.run_config import RunConfig

_NOT_COMPARED = ("annotate_version", "model", "inputs")
"""Attributes that may differ: the model is told by its SHA-256."""


def differences(made: dict[str, Any], wanted: dict[str, Any]) -> str:
    """In what the attributes of an output differ from those of a run; empty where in nothing."""
    if "model_sha256" not in made:
        return "something else than this annotate"
    if made["model_sha256"] != wanted["model_sha256"]:
        return f"{_model_in(made)} instead of {_model_in(wanted)}"
    return _told(
        {
            name: (made.get(name), wanted.get(name))
            for name in sorted(set(made) | set(wanted))
            if name not in _NOT_COMPARED
        }
    )


def request(config: RunConfig) -> dict[str, Any]:
    """What decides which files are the inputs of a run, but for the limit."""
    return {
        "sources": [s if s == "-" else absolute(s) for s in config.sources],
        "from": None if config.table is None else absolute(config.table),
        "column": config.column,
        "exclude": list(config.exclude),
        "default_excludes": config.default_excludes,
        "follow_links": config.follow_links,
    }


def other_request(asked: dict[str, Any], wanted: dict[str, Any]) -> str:
    """In what two requests differ; empty where in nothing."""
    return _told({name: (asked.get(name), value) for name, value in wanted.items()})


def other_mode(asked: dict[str, bool], wanted: dict[str, bool]) -> str:
    """In what the ways of dealing with an old output differ; empty where in nothing."""
    return "" if asked == wanted else f"{_options(asked)} instead of {_options(wanted)}"


def inputs_of(plan: Plan, limit: int | None) -> dict[str, Any]:
    """What an output says of its inputs, to know them again."""
    return {"items": len(plan), "digest": plan_files.digest(plan), "limit": limit}


def inputs_in(made: dict[str, Any]) -> dict[str, Any]:
    """What the attributes of an output say of its inputs; nothing that is not as `inputs_of`."""
    said = made.get("inputs")
    found = said if isinstance(said, dict) else {}
    items, digest, limit = found.get("items"), found.get("digest"), found.get("limit")
    return {
        "items": items if isinstance(items, int) and items >= 0 else 0,
        "digest": digest if isinstance(digest, str) else "",
        "limit": limit if isinstance(limit, int) else None,
    }


def begins_with(plan: Plan, items: int, digest: str) -> bool:
    """Whether the first items of a plan are those of another one, told by its digest."""
    return len(plan) >= items and plan_files.digest(plan, items) == digest


def is_lower(old: int | None, new: int | None) -> bool:
    """Whether one limit is lower than another. None is none."""
    return old is not None and (new is None or new > old)


def _told(pairs: dict[str, tuple[Any, Any]]) -> str:
    return ", ".join(
        f"{name} {shown(was, quote=False)} instead of {shown(now, quote=False)}"
        for name, (was, now) in pairs.items()
        if was != now
    )


def _model_in(made: dict[str, Any]) -> str:
    sha256 = shown(made["model_sha256"], 13, quote=False)
    return f"model {shown(made.get('model'), quote=False)} ({sha256})"


def _options(mode: dict[str, bool]) -> str:
    """A mode as options."""
    given = [f"--{name.replace('_', '-')}" for name, is_on in mode.items() if is_on]
    return " ".join(given) or "no such option"
