"""A real browser for tests of pages: what it complains of, and what it asks for."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


@contextmanager
def browser() -> Iterator[Browser]:
    """The installed Chromium; the test is skipped where there is none."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip(f"no browser: looked for {', '.join(NAMES)}")
    with api.sync_playwright() as playwright:
        # Its sandbox wants rights that containers do not have.
        opened = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield opened
        opened.close()


@dataclass
class Seen:
    """What happened in a page. complaints: errors and warnings of the console, exceptions, and
    dialogs that something opened. requests: all addresses that were asked for, but for data.
    """

    page: Page
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


@contextmanager
def watched(opened: Browser, width: int = 1280, height: int = 900) -> Iterator[Seen]:
    """A page in a profile of its own, watched from the start."""
    context = opened.new_context(viewport={"width": width, "height": height})
    page = context.new_page()
    seen = Seen(page)

    def dialog(found: object) -> None:
        seen.complaints.append(f"dialog: {found}")

    page.on("console", lambda said: _note(seen, said.type, said.text))
    page.on("pageerror", lambda error: seen.complaints.append(str(error)))
    page.on("dialog", dialog)
    page.on("request", lambda asked: _asked(seen, asked.url))
    yield seen
    context.close()


def _note(seen: Seen, kind: str, text: str) -> None:
    if kind in ("error", "warning"):
        seen.complaints.append(f"{kind}: {text}")


def _asked(seen: Seen, address: str) -> None:
    if not address.startswith("data:"):
        seen.requests.append(address)


def check_report(seen: Seen, page: Path, images: int) -> None:
    """A page of a report holds so many pictures, all whole; it asks for nothing but itself, has no
    complaints, and is as wide as a window of 1280 and of 390 px.
    """
    found = seen.page.locator("img")
    assert found.count() == images
    for image in found.all():
        image.scroll_into_view_if_needed()
        image.evaluate("image => image.decode()")
        assert image.evaluate("image => image.naturalWidth") > 0
    assert seen.complaints == []
    assert seen.requests == [page.as_uri()]
    for width in (1280, 390):
        seen.page.set_viewport_size({"width": width, "height": 900})
        assert is_as_wide_as_its_window(seen.page)


def is_as_wide_as_its_window(page: Page) -> bool:
    """Whether nothing has to be moved sideways to be read."""
    return bool(
        page.evaluate(
            "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
        )
    )
