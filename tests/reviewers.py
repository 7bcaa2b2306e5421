"""Somebody who reviews an output in a browser, and the outputs for that."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from annotate.review.faces import open_faces
from annotate.review.journal import Journal, journal_path
from annotate.review.pictures import Pictures
from annotate.review.server import _listening, _make_server
from annotate.review.session import Session
from tests.browsers import Seen
from tests.reviews import make_output

pytest.importorskip("flask")
api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
expect = api.expect

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

expect.set_options(timeout=30_000)


@dataclass
class Person:
    """Somebody who reviews an output. seen: of the browser."""

    out: Path
    seen: Seen
    address: str

    @property
    def page(self) -> Page:
        return self.seen.page

    @property
    def cards(self) -> Locator:
        return self.page.locator("#faces .face")

    @property
    def chosen(self) -> Locator:
        return self.page.locator('#faces .face[aria-current="true"]')

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def lines(self) -> list[dict[str, Any]]:
        """What lies on disk: path, gender, age and verdict of each line."""
        return [
            {
                "path": line.face.path,
                **{
                    k: v
                    for k, v in zip(
                        ("gender", "age", "verdict"),
                        (line.said.gender, line.said.age, line.said.verdict),
                        strict=True,
                    )
                    if v is not None
                },
            }
            for line in Journal(journal_path(self.out)).lines
        ]

    def check(self) -> None:
        """Nothing went wrong in the browser, and nothing left this machine."""
        assert self.seen.complaints == []
        origin = urlsplit(self.address)
        for asked in self.seen.requests:
            assert asked.startswith(f"http://127.0.0.1:{origin.port}{origin.path}")


@contextmanager
def reviewing(out: Path, seen: Seen, cards: int) -> Iterator[Person]:
    with served(out) as address:
        person = Person(out, seen, address)
        person.page.goto(address)
        expect(person.cards).to_have_count(cards)
        yield person
        person.check()


_PICTURES = Pictures()


@pytest.fixture(scope="module", autouse=True)
def end_of_pictures() -> Iterator[None]:
    yield
    _PICTURES.close()


@contextmanager
def served(out: Path) -> Iterator[str]:
    """As `review` serves it, in a thread of this process: a new process takes seconds."""
    from annotate.review.app import make_app
    from annotate.review.guard import Guard

    with _listening(0) as listener:
        guard = Guard(listener.getsockname()[1])
        session = Session(open_faces(out), Journal(journal_path(out)))
        server = _make_server(make_app(session, _PICTURES, guard, out.name), listener)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield guard.address
        finally:
            server.shutdown()
            thread.join(60)
            server.server_close()


NAMES = {"2019/a.png": 3, "2019/b.png": 1, "2020/c.png": 2, "2020/none.png": 0}


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Six faces in three photographs, and a photograph without one; all of one certainty."""
    made = tmp_path / "people.parquet"
    make_output(tmp_path / "photos", NAMES, made)
    return made
