"""Options from the environment: ANNOTATE_RUN_MODEL=nano is --model nano for `annotate run`.

Click reads the variables. Here they get their names, all by one rule, and are found again: for
errors, and for `annotate doctor`.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator

import click
from click.core import ParameterSource

from annotate.doctor.findings import Finding, fault, note, ok
from annotate.errors import one_line, shown

PREFIX = "ANNOTATE"
AREA = "Variables"


CLOSE = 0.85
"""How alike two names are, 0 to 1, for one to be taken for a slip of the other: RUN_MODLE for
RUN_MODEL, not RUN_FOO for RUN_FROM. What all names begin with does not count."""


def name_variables(command: click.Command, prefix: str = PREFIX) -> None:
    """Have each option of a command, and of those below it, read from the environment as well.

    The variable is the command and the long name of the option: `run --batch-size` is
    ANNOTATE_RUN_BATCH_SIZE. Click's own rule takes the name inside the program, which users do not
    know, and has ANNOTATE_VERSION and ANNOTATE_HELP do what nobody expects of them.
    """
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            name_variables(inner, f"{prefix}_{name.replace('-', '_').upper()}")
        return
    for option in _options(command):
        option.envvar = f"{prefix}_{_long_name(option).upper()}"


def variables_behind(error: click.UsageError) -> list[str]:
    """The variables that set the option which an error is about, or those of its command."""
    context = error.ctx
    if context is None:
        return []
    blamed = getattr(error, "param", None)
    options = _options(context.command) if blamed is None else [blamed]
    return [
        str(option.envvar)
        for option in options
        if context.get_parameter_source(option.name or "") is ParameterSource.ENVIRONMENT
    ]


def look_at_variables(root: click.Command) -> Iterator[Finding]:
    """What each ANNOTATE variable of the environment does. root: the group of all commands."""
    known = dict(_variables(root, PREFIX.lower()))
    for name in sorted(os.environ):
        if not name.startswith(f"{PREFIX}_"):
            continue
        finding = _variable(name, *known[name]) if name in known else _unknown(name, list(known))
        title = shown(name, 60, quote=False)
        yield Finding(finding.verdict, finding.said, finding.to_do, name=title, area=AREA)


def _variable(name: str, path: str, command: click.Command, option: click.Option) -> Finding:
    value = shown(os.environ[name], 60)
    said = f"sets {option.opts[-1]} of {path} to {value}"
    if not os.environ[name]:
        return note(f"is empty, and so does not set {option.opts[-1]} of {path}")
    try:
        with click.Context(command, info_name=path) as context:
            option.process_value(context, option.value_from_envvar(context))
    except click.UsageError as error:
        return fault(f"{said}: {one_line(error.format_message())}", f"unset {name}, or mend it")
    return ok(said)


def _unknown(name: str, known: list[str]) -> Finding:
    rests = [each.removeprefix(f"{PREFIX}_") for each in known]
    near = difflib.get_close_matches(name.removeprefix(f"{PREFIX}_"), rests, n=1, cutoff=CLOSE)
    return note(
        "is no option of annotate: no command reads it", f"{PREFIX}_{near[0]}?" if near else ""
    )


def _variables(
    command: click.Command, path: str
) -> Iterator[tuple[str, tuple[str, click.Command, click.Option]]]:
    """Each variable, with the command as it is typed, the command and the option."""
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from _variables(inner, f"{path} {name}")
        return
    for option in _options(command):
        yield str(option.envvar), (path, command, option)


def _options(command: click.Command) -> list[click.Option]:
    return [parameter for parameter in command.params if isinstance(parameter, click.Option)]


def _long_name(option: click.Option) -> str:
    """`batch_size` of --batch-size."""
    return max(option.opts, key=len).lstrip("-").replace("-", "_")
