"""The schema of metrics.json: what is written is what is documented, name by name."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from annotate import EvaluationReport
from annotate.evaluation_report import METRICS_VERSION
from tests.conftest import ROOT
from tests.hand_made import face_at, guess, no_face
from tests.labelled_folders import Row, forty, scored

jsonschema = pytest.importorskip("jsonschema")

SCHEMA = json.loads((ROOT / "docs" / "metrics.schema.json").read_text("utf-8"))
PAGE = (ROOT / "docs" / "metrics-schema.md").read_text("utf-8")

Line = tuple[str, str, str]
"""Name, type, meaning."""


def rows_of(schema: dict[str, Any], above: str = "") -> list[Line]:
    """What the page says of the names of an object, those inside it too."""
    rows: list[Line] = []
    for name, found in schema.get("properties", {}).items():
        rows += described(f"{above}{name}", found)
    return rows


def described(name: str, found: dict[str, Any]) -> Iterator[Line]:
    options = [option for option in found.get("oneOf", [found]) if option != {"type": "null"}]
    (one,) = options
    kind = kind_of(one) + (" or null" if "oneOf" in found else "")
    yield name, kind, one.get("description", f"see {kind}")
    yield from rows_of(one, f"{name}.")
    if "items" in one:
        yield from rows_of(one["items"], f"{name}[].")


def kind_of(found: dict[str, Any]) -> str:
    if "$ref" in found:
        name = found["$ref"].rpartition("/")[2]
        return f"[{name}](#{name})"
    if "const" in found or "enum" in found:
        values = found.get("enum", [found.get("const")])
        return " or ".join("null" if value is None else f"`{value}`" for value in values)
    if found["type"] == "array":
        item = found["items"]
        return f"list of {kind_of(item)}"
    if "additionalProperties" in found and found["additionalProperties"] is not False:
        return f"object of {kind_of(found['additionalProperties'])}"
    kinds = found["type"]
    if isinstance(kinds, str):
        return kinds
    return " or ".join((", ".join(kinds[:-1]), kinds[-1]))


def test_the_page_says_of_every_name_what_the_schema_says() -> None:
    lines = PAGE.splitlines()
    documented = {line for line in lines if line.startswith("| `")}
    rows = rows_of(SCHEMA)
    for definition in SCHEMA["$defs"].values():
        rows += rows_of(definition)
    expected = {f"| `{name}` | {kind} | {meaning} |" for name, kind, meaning in rows}
    assert documented == expected
    for name in SCHEMA["$defs"]:
        assert f"### {name}" in lines


def test_the_schema_says_which_version_it_is_of() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["properties"]["schema_version"]["const"] == METRICS_VERSION
    assert f"`schema_version` is {METRICS_VERSION}." in PAGE


def check(report: EvaluationReport) -> dict[str, Any]:
    """What is written, after a look at every name and type of it."""
    found: dict[str, Any] = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    faults = jsonschema.Draft202012Validator(SCHEMA).iter_errors(found)
    assert [f"{fault.json_path}: {fault.message[:200]}" for fault in faults] == []
    return found


def unfolded(found: dict[str, Any]) -> dict[str, Any]:
    """The object behind a reference, a list or what may be null."""
    while "properties" not in found:
        if "oneOf" in found:
            found = found["oneOf"][0]
        elif "items" in found:
            found = found["items"]
        else:
            found = SCHEMA["$defs"][found["$ref"].rpartition("/")[2]]
    return found


def test_every_name_that_is_defined_in_words_is_written(tmp_path: Path) -> None:
    names = [name for name in check(scored(tmp_path, forty()))["definitions"] if "." in name]
    assert "thresholds.rules.teens_passing" in names
    for name in names:
        found = SCHEMA
        for step in name.split("."):
            found = unfolded(found)["properties"][step]


def one() -> list[Row]:
    return [guess("30_1_0_1.jpg", 33, 0.9)]


def women() -> list[Row]:
    return [guess(f"{20 + i}_1_0_{i}.jpg", 20, 0.4) for i in range(3)]


def photographs() -> list[Row]:
    return [face_at("30_1_0_1.jpg", 0, (0, 0, 9, 9)), no_face("40_0_0_2.jpg"), malformed()]


def malformed() -> Row:
    return guess("nameless.jpg", 30, 0.5)


@pytest.mark.parametrize("rows", [forty, one, women, photographs])
def test_what_is_written_is_what_is_documented(
    tmp_path: Path, rows: Callable[[], list[Row]]
) -> None:
    found = check(scored(tmp_path, rows()))
    assert found["inputs"]["scored"] + sum(found["inputs"]["not_scored"].values()) == len(rows())


@pytest.mark.parametrize("column", ["age", "gender"])
def test_labels_of_one_kind_are_documented_too(tmp_path: Path, column: str) -> None:
    rows = [guess("a.jpg", 33, 0.9), guess("b.jpg", 40, 0.2)]
    table = tmp_path / "labels.csv"
    said = {"age": ("30", "41"), "gender": ("female", "male")}[column]
    table.write_text(f"path,{column}\na.jpg,{said[0]}\nb.jpg,{said[1]}\n", "utf-8")
    found = check(scored(tmp_path, rows, labels=table))
    other = {"age": "gender", "gender": "age"}[column]
    assert found["curves"][other] is None
    assert found["curves"][column] is not None
    assert (found["thresholds"] is None) == (column == "gender")
