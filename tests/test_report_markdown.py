"""metrics.md: figures by hand, and strangers' words that have no effect in a pull request."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotate.report.evaluation_tables import Table
from annotate.report.markdown import code, evaluation_markdown, markdown_table, plain
from tests.labelled_folders import drawn, forty, scored

markdown_it = pytest.importorskip("markdown_it")

TEXTS = st.text(
    st.one_of(st.sampled_from("`*_[]<>()|~&@#!\\:./-+=w"), st.characters(codec="utf-8")),
    max_size=60,
)


def parsed(text: str) -> list[Any]:
    """The tokens of a text as forges read it: CommonMark with tables."""
    return list(markdown_it.MarkdownIt("gfm-like", {"linkify": False}).parse(text))


def plain_text(token: Any) -> str:
    return "".join(child.content for child in token.children)


def inline(text: str) -> list[Any]:
    return [child for token in parsed(text) for child in token.children or ()]


@given(TEXTS)
def test_a_code_span_shows_what_it_was_given(text: str) -> None:
    (span,) = inline(f"before {code(text)} after")[1:2]
    assert span.type == "code_inline"
    printable = "".join(c for c in span.content if c.isprintable())
    assert printable == span.content


@given(TEXTS)
def test_plain_text_has_no_markup(text: str) -> None:
    printable = "".join(char for char in text if char.isprintable()).strip()
    kinds = {token.type for token in inline(f"x {plain(printable)}")}
    assert kinds <= {"text", "text_special", "code_inline"}
    if "code_inline" not in kinds:
        shown = "".join(token.content for token in inline(f"x{plain(printable)}"))
        assert shown == f"x{printable}"


@pytest.mark.parametrize(
    "text", ["@everyone", "see @team", "http://evil.example", "www.evil.example", "ftp://x"]
)
def test_mentions_and_addresses_stand_in_code(text: str) -> None:
    assert [token.type for token in inline(plain(text))] == ["code_inline"]


def test_cs_at_5_is_no_mention() -> None:
    assert plain("within 5 years (CS@5), %") == "within 5 years (CS@5), %"


def test_a_table_has_its_cells() -> None:
    text = markdown_table(Table(("who", "n"), [("a|b", "1"), ("<b>", "−2")], "By name; * few"))
    tokens = parsed(text)
    contents = [token.content for token in tokens if token.type == "inline"]
    assert contents[0] == "**By name**; \\* few"
    assert [plain_text(token) for token in tokens if token.type == "inline"][1:] == [
        *("who", "n"),
        *("a|b", "1"),
        *("<b>", "−2"),
    ]
    assert "| --- | ---: |" in text


def test_the_report_has_the_figures_worked_out_by_hand(tmp_path: Path) -> None:
    text = evaluation_markdown(scored(tmp_path, forty()))
    # All estimates are 3 years too old; 39 of 40 genders are right.
    assert "| mean absolute error, years | 3.00 | 3.00 to 3.00 | 40 |" in text
    assert re.search(r"\| accuracy, % \| 97\.5 \| [\d.]+ to 100\.0 \| 40 \|", text)
    assert "### Likely wrong gender labels: 1" in text
    assert "- `15_0_0_0.jpg` label: 15, male, model: 18 ± 4, female 99.5 %" in text
    assert text.endswith("\n")
    assert "\n\n\n" not in text


def test_strangers_words_have_no_effect(tmp_path: Path) -> None:
    names = ["![x](http://evil.example/x.png).jpg".replace("/", "\N{FRACTION SLASH}"), "`a`|b.png"]
    names += ["<!-- x -->.png", "@everyone.png", "a](x) [b.png"]
    table = tmp_path / "labels.csv"
    with table.open("w", encoding="utf-8", newline="") as file:
        rows = [(name, 80, "male", race) for name, race in zip(names, RACES, strict=True)]
        csv.writer(file).writerows([("path", "age", "gender", "race"), *rows])
    report = scored(tmp_path, [drawn(name, 20, 0.99, age_sd=2.0) for name in names], labels=table)
    text = evaluation_markdown(report)
    kinds = {token.type for token in inline(text)}
    assert kinds <= {
        "text",
        "text_special",
        "softbreak",
        "strong_open",
        "strong_close",
        "code_inline",
    }
    assert not {"html_block", "code_block", "fence"} & {token.type for token in parsed(text)}
    rows = [token for token in parsed(text) if token.type == "tr_open"]
    assert len(rows) > 20
    assert "everyone" in text


RACES = ("<img src=x onerror=alert(1)>", "a|b", "@everyone", "# head", "[x](javascript:alert(1))")
