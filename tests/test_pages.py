"""Pages: what a browser makes of them, and what becomes of strangers' words."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from annotate.errors import AnnotateError
from annotate.report.folder import write_files
from annotate.report.pages import count, data_uri, number, percent, render_page
from tests.browsers import Seen

HOSTILE = "<img src=x onerror=alert(1)>.jpg</script><script>alert(2)</script>\u202e\x1b[31m"


def test_a_page_runs_nothing_loads_nothing_and_shows_names_as_they_are(
    seen: Seen, tmp_path: Path
) -> None:
    page = tmp_path / "page.html"
    name = HOSTILE.partition("\x1b")[0]
    page.write_text(render_page("base.html", title=name), "utf-8")
    seen.page.goto(page.as_uri())
    assert seen.page.title() == name
    assert seen.page.locator("img, script").count() == 0
    body = seen.page.locator("body")
    assert body.evaluate("e => getComputedStyle(e).color") == "rgb(20, 22, 26)"
    assert seen.complaints == []
    assert seen.requests == [page.as_uri()]


@pytest.mark.parametrize("run", ["<script>document.title = 'ran'</script>", "<img src=x.png>"])
def test_the_policy_stops_what_would_get_into_a_page(seen: Seen, tmp_path: Path, run: str) -> None:
    page = tmp_path / "page.html"
    page.write_text(render_page("base.html", title="t").replace("<main>", f"<main>{run}"), "utf-8")
    seen.page.goto(page.as_uri())
    assert seen.page.title() == "t"
    assert any("Content Security Policy" in said for said in seen.complaints)


def test_strangers_words_have_no_invisible_characters(seen: Seen) -> None:
    from annotate.report.pages import _environment

    text = _environment().from_string("{{ name | shown(200) }}").render(name=HOSTILE)
    assert "\u202e" not in text
    assert "\x1b" not in text
    assert "<" not in text


@pytest.mark.parametrize(
    ("value", "digits", "said"),
    [(1.005, 1, "1.0"), (-0.25, 2, "−0.25"), (None, 2, "–"), (float("nan"), 1, "–")],
)
def test_numbers_are_said_in_words_of_one_kind(value: Any, digits: int, said: str) -> None:
    assert number(value, digits) == said


def test_shares_are_said_in_per_cent() -> None:
    assert [percent(0.6384), percent(1.0, 0), percent(None), percent(-0.004)] == [
        *("63.8", "100", "–", "−0.4")
    ]


def test_counts_have_their_thousands_apart() -> None:
    assert count(1234567) == "1,234,567"


def test_pictures_say_what_they_are() -> None:
    for kind in ("png", "jpeg"):
        data = io.BytesIO()
        Image.new("RGB", (2, 2)).save(data, kind)
        assert data_uri(data.getvalue()).startswith(f"data:image/{kind};base64,")


def test_files_that_cannot_be_written_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(AnnotateError, match="cannot write") as caught:
        write_files(tmp_path / "no", {"page.html": "x"})
    assert str(caught.value).isprintable()


def test_files_are_written_whole_and_those_of_an_earlier_report_go(tmp_path: Path) -> None:
    for name in ("old.png", "page.html", "mine.txt"):
        (tmp_path / name).write_text("old", "utf-8")
    files = {"page.html": "straße \ud800", "new.png": b"\x89PNG"}
    write_files(tmp_path, files, stale=("old.png", "page.html", "never.png"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.txt", "new.png", "page.html"]
    assert (tmp_path / "page.html").read_bytes() == "straße ?".encode()
