"""The server of a review: who is let in, what is given out, and how it ends."""

from __future__ import annotations

import io
import os
import re
import signal
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from annotate.errors import AnnotateError
from annotate.review.journal import journal_path
from annotate.review.pictures import Pictures
from annotate.review.server import _listening
from annotate.writers import write_parquet
from tests.reviews import (
    draw_photograph,
    made_table,
    make_output,
    rows_of,
    session_of,
    sha256_of,
)

flask = pytest.importorskip("flask")

from annotate.review.app import make_app  # noqa: E402
from annotate.review.guard import COOKIE, HEADER, Guard  # noqa: E402

NAMES = {"a.png": 3, "b/c.png": 1, "b/none.png": 0}
HOST = "127.0.0.1:4321"


class Visitor:
    """A browser that has opened the page of a review, or not: what it asks for, as it asks."""

    def __init__(self, out: Path, pictures: Pictures) -> None:
        self.out = out
        self.table = make_output(out.parent / "photos", NAMES, out)
        self.session = session_of(self.table, out)
        self.guard = Guard(4321)
        self.app = make_app(self.session, pictures, self.guard, out.name)
        self.client = self.app.test_client()

    def ask(self, path: str = "", method: str = "GET", **options: Any) -> Any:
        headers = {"Host": HOST} | options.pop("headers", {})
        headers = {name: value for name, value in headers.items() if value is not None}
        return self.client.open(
            f"/{self.guard.token}/{path}", method=method, headers=headers, **options
        )

    def say(self, row: int, change: Any, **headers: str | None) -> Any:
        usual: dict[str, str | None] = {"Origin": f"http://{HOST}", HEADER: self.guard.word}
        return self.ask(f"api/say/{row}", "POST", json=change, headers=usual | headers)


@pytest.fixture(scope="module")
def pictures() -> Iterator[Pictures]:
    made = Pictures()
    yield made
    made.close()


@pytest.fixture
def visitor(tmp_path: Path, pictures: Pictures) -> Visitor:
    made = Visitor(tmp_path / "people.parquet", pictures)
    assert made.ask().status_code == 200
    return made


EVERYTHING = [
    ("GET", ""),
    ("GET", "static/review.js"),
    ("GET", "static/review.css"),
    ("GET", "api/rows"),
    ("GET", "api/picture/0"),
    ("GET", "face/0.jpg"),
    ("GET", "photograph/0.jpg"),
    ("POST", "api/say/0"),
    ("POST", "api/undo"),
]


def test_there_is_nothing_else(visitor: Visitor) -> None:
    rules = {
        (method, re.sub(r"<.*>", "0", rule.rule).removeprefix(f"/{visitor.guard.token}/"))
        for rule in visitor.app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    expected = {(method, re.sub(r"review\.(js|css)", "0", path)) for method, path in EVERYTHING}
    assert rules == expected


@pytest.mark.parametrize(("method", "path"), EVERYTHING)
@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"Host": "evil.example:4321"}, 403),
        ({"Host": "127.0.0.1:9999"}, 403),
        ({"Host": "127.0.0.1"}, 403),
        ({"Host": "127.0.0.1.evil.example:4321"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://127.0.0.1:9999"}, 403),
        ({"Origin": f"https://{HOST}"}, 403),
    ],
)
def test_other_hosts_and_origins_are_refused(
    visitor: Visitor, method: str, path: str, headers: Mapping[str, str], code: int
) -> None:
    usual = {HEADER: visitor.guard.word, "Origin": f"http://{HOST}"}
    answer = visitor.ask(path, method, json={"gender": "male"}, headers=usual | dict(headers))
    assert answer.status_code == code
    assert not journal_path(visitor.out).exists()


@pytest.mark.parametrize(("method", "path"), EVERYTHING)
def test_another_token_is_no_address(visitor: Visitor, method: str, path: str) -> None:
    usual = {"Host": HOST, HEADER: visitor.guard.word, "Origin": f"http://{HOST}"}
    for token in ("x" * 32, visitor.guard.token[:-1], visitor.guard.token + "x", "", "ü"):
        answer = visitor.client.open(f"/{token}/{path}", method=method, headers=usual, json={})
        assert answer.status_code == 404
        assert b"the address that the terminal shows" in answer.data


@pytest.mark.parametrize(("method", "path"), EVERYTHING[1:])
def test_without_the_cookie_nothing_is_given(visitor: Visitor, method: str, path: str) -> None:
    visitor.client.delete_cookie(COOKIE, path=f"/{visitor.guard.token}/", domain="127.0.0.1")
    stranger = visitor.app.test_client()
    usual = {"Host": HOST, HEADER: visitor.guard.word, "Origin": f"http://{HOST}"}
    for cookie in (None, "x", visitor.guard.word, visitor.guard.token):
        if cookie is not None:
            stranger.set_cookie(COOKIE, cookie, path="/", domain="127.0.0.1")
        answer = stranger.open(
            f"/{visitor.guard.token}/{path}", method=method, headers=usual, json={"gender": "male"}
        )
        assert answer.status_code == 403
    assert not journal_path(visitor.out).exists()


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_pictures_are_in_no_other_page(visitor: Visitor, site: str) -> None:
    """Such as one that another server on this machine shows."""
    assert visitor.ask("face/0.jpg", headers={"Sec-Fetch-Site": site}).status_code == 403
    assert visitor.ask("face/0.jpg", headers={"Sec-Fetch-Site": "same-origin"}).status_code == 200
    assert visitor.ask("", headers={"Sec-Fetch-Site": site}).status_code == 200  # a link to it


@pytest.mark.parametrize(
    "headers",
    [{HEADER: None}, {HEADER: "x"}, {"Origin": None}, {"Content-Type": "text/plain"}],
)
def test_a_change_carries_the_word_of_the_page(
    visitor: Visitor, headers: dict[str, str | None]
) -> None:
    answer = visitor.say(0, {"gender": "male"}, **headers)
    assert answer.status_code in (403, 415)
    assert not journal_path(visitor.out).exists()
    assert visitor.say(0, {"gender": "male"}).status_code == 200
    assert visitor.ask("api/say/0").status_code == 405


def test_the_cookie_is_for_this_page_alone(visitor: Visitor) -> None:
    cookie = visitor.ask().headers["Set-Cookie"]
    assert f"Path=/{visitor.guard.token}/" in cookie
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    value = cookie.partition("=")[2].partition(";")[0]
    assert value not in visitor.ask().get_data(as_text=True)
    assert Guard(4321).token != visitor.guard.token


@pytest.mark.parametrize(("method", "path"), EVERYTHING)
def test_every_answer_is_guarded(visitor: Visitor, method: str, path: str) -> None:
    for answer in (visitor.ask(path, method), visitor.client.get("/")):
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert "Access-Control-Allow-Origin" not in answer.headers


@pytest.mark.parametrize(
    "path",
    [
        "face/5.jpg",
        "face/-1.jpg",
        "face/a.png",
        "face/../../people.parquet",
        "face/%2e%2e/%2e%2e/etc/passwd",
        "photograph/99999999999999999999.jpg",
        "static/../app.py",
        "static/%2e%2e/app.py",
        "static//etc/passwd",
        "api/picture/5",
        "people.parquet",
    ],
)
def test_rows_are_the_only_names(visitor: Visitor, path: str) -> None:
    assert len(visitor.table) == 5
    assert visitor.ask(path).status_code == 404


def test_what_is_nonsense_is_refused_in_words(visitor: Visitor) -> None:
    for change in ({}, [], "x", {"age": 131}, {"age": "x"}, {"gender": {}}, {"path": "/etc"}):
        answer = visitor.say(0, change)
        assert answer.status_code == 400, change
        assert answer.get_json()["error"]
    assert visitor.say(4, {"gender": "male"}).get_json()["error"] == "there is no face here"
    assert visitor.ask("api/rows?age_min=x").status_code == 400
    assert visitor.ask("api/rows?page=-3&view=zzz").get_json()["page"] == 0
    long = visitor.say(0, {"gender": "m" * 20_000})
    assert long.status_code == 413
    assert not journal_path(visitor.out).exists()


def test_what_cannot_be_kept_is_told(visitor: Visitor) -> None:
    journal_path(visitor.out).mkdir()
    answer = visitor.say(0, {"gender": "male"})
    assert answer.status_code == 507
    assert "cannot write the corrections" in answer.get_json()["error"]
    assert visitor.session.tally()["corrected"] == 0


def test_pictures_are_drawn_anew_and_upright(tmp_path: Path, pictures: Pictures) -> None:
    """A picture that lies on its side, with a comment that must not get out."""
    folder = tmp_path / "photos"
    folder.mkdir()
    lying = Image.new("RGB", (60, 3000), "red")
    lying.paste("blue", (0, 0, 60, 1500))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise: what is its top is on the right then
    exif[0x010E] = "<script>secret()</script>"
    lying.save(folder / "x.jpg", exif=exif, comment=b"secret()", quality=95)
    row = {"source": str(folder), "path": "x.jpg", "sha256": sha256_of(folder / "x.jpg")}
    row |= {"width": 3000, "height": 60}
    row |= dict(
        zip(("x_min", "y_min", "x_max", "y_max"), (2800.0, 10.0, 2840.0, 50.0), strict=True)
    )
    whole, face = pictures.photograph(row), pictures.face(row)
    assert whole is not None
    assert face is not None
    for data in (whole, face):
        assert b"secret" not in data
        assert b"Exif" not in data
    with Image.open(io.BytesIO(whole)) as image:
        assert image.size == (1600, 32)
        left, right = (
            image.convert("RGB").getpixel((100, 16)),
            image.convert("RGB").getpixel((1500, 16)),
        )
    assert isinstance(left, tuple)
    assert isinstance(right, tuple)
    assert left[0] > 200 > 60 > left[2]
    assert right[2] > 200 > 60 > right[0]
    with Image.open(io.BytesIO(face)) as image:
        assert image.size == (192, 192)
        middle = image.convert("RGB").getpixel((96, 96))
    assert isinstance(middle, tuple)
    assert middle[2] > 200


def test_a_picture_that_is_gone_or_another_one_is_not_shown(visitor: Visitor) -> None:
    shown = visitor.ask("face/3.jpg").data
    photographs = visitor.out.parent / "photos"
    draw_photograph(photographs / "a.png", 3, tint=77)
    changed = visitor.ask("face/0.jpg")
    for name in NAMES:
        (photographs / name).unlink()
    gone = visitor.ask("face/4.jpg")
    assert shown != changed.data
    assert changed.data == gone.data
    assert gone.mimetype == "image/jpeg"
    assert visitor.ask("api/picture/0").get_json()["is_there"] is False
    assert visitor.ask("face/3.jpg").data == shown  # as it was seen


def test_a_row_that_was_never_decoded_is_not_opened(tmp_path: Path, pictures: Pictures) -> None:
    """Whatever a stranger's table names: here a pipe, which would be waited for."""
    out = tmp_path / "people.parquet"
    folder = tmp_path / "photos"
    draw_photograph(folder / "a.png")
    rows = [
        row | {"status": status, "face_index": None}
        for row, status in zip(
            rows_of(folder, "a.png", 3), ("unsupported", "crashed", "timeout"), strict=True
        )
    ]
    write_parquet(made_table(*rows), out)
    session = session_of(made_table(*rows), out)
    client = make_app(session, pictures, guard := Guard(4321), "x").test_client()
    client.get(f"/{guard.token}/", headers={"Host": HOST})
    placeholders = {
        client.get(f"/{guard.token}/face/{row}.jpg", headers={"Host": HOST}).data
        for row in range(3)
    }
    assert len(placeholders) == 1


def hang(pipe: Any) -> None:
    pipe.recv()
    signal.pause()


def crash(pipe: Any) -> None:
    pipe.recv()
    os._exit(1)


@pytest.mark.parametrize("serve", [hang, crash])
def test_a_picture_that_hangs_or_crashes_its_process_costs_that_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, serve: Callable[[Any], None]
) -> None:
    folder = tmp_path / "photos"
    draw_photograph(folder / "a.png")
    (row, *_) = rows_of(folder, "a.png", 3)
    made = Pictures(timeout_s=1.0)
    with monkeypatch.context() as patch:
        patch.setattr("annotate.review.pictures.serve", serve)
        assert made.face(row) is None
    patient = Pictures()
    assert patient.face(row) is not None
    for pictures in (made, patient):
        pictures.close()


def test_a_picture_that_was_away_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not at once: a broken one is not decoded each time that its card is seen."""
    folder = tmp_path / "photos"
    draw_photograph(folder / "a.png")
    (row, *_) = rows_of(folder, "a.png", 3)
    made = Pictures()
    folder.rename(tmp_path / "away")
    assert made.face(row) is None
    (tmp_path / "away").rename(folder)
    assert made.face(row) is None
    monkeypatch.setattr("annotate.review.pictures.RETRY_S", 0.0)
    assert made.face(row) is not None
    folder.rename(tmp_path / "away")
    assert made.face(row) is not None
    made.close()


def test_no_more_is_kept_in_memory_than_is_allowed() -> None:
    made = Pictures(cache_bytes=1000)
    for number in range(50):
        made._cache.put(("face", number), bytes(300))
    made._cache.put(("face", 49), bytes(200))
    assert sorted(key[1] for key in made._cache._found) == [47, 48, 49]
    assert made._cache._size == 800
    made._cache.put(("face", 50), bytes(5000))
    assert made._cache._size == 0


def test_only_this_machine_is_listened_to() -> None:
    with _listening(0) as listener:
        assert listener.getsockname()[0] == "127.0.0.1"
        taken = listener.getsockname()[1]
        with pytest.raises(AnnotateError, match=f"cannot listen on port {taken} of 127.0.0.1"):
            _listening(taken)
