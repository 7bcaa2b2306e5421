"""The command of a review: its address, its end, and what it tells."""

from __future__ import annotations

import http.client
import json
import re
import shlex
import socket
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from annotate.cli import cli
from annotate.errors import AnnotateError
from annotate.matching import MIN_IOU
from annotate.review.corrections import Said
from annotate.review.filters import FULL_DOUBT_AGE_SD
from annotate.review.journal import Journal, journal_path, locked_journal
from annotate.review.placing import SAME_BOX_IOU
from annotate.review.server import _tell_all, review
from tests.conftest import ROOT, Invoke, one_line
from tests.hand_made import face_at
from tests.reviews import (
    BOXES,
    interrupt,
    made_table,
    make_output,
    serving,
    session_of,
)
from training.__main__ import cli as training_cli

flask = pytest.importorskip("flask")

from annotate.review.guard import HEADER  # noqa: E402

NAMES = {"a.png": 3, "b/c.png": 1, "b/none.png": 0}


def fetch(address: str, path: str = "", **headers: str) -> http.client.HTTPResponse:
    parts = urlsplit(address)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=300)
    connection.request("GET", parts.path + path, headers=headers)
    return connection.getresponse()


def post(address: str, path: str, body: Any) -> Any:
    """As the page does it."""
    page = fetch(address)
    cookie = (page.getheader("Set-Cookie") or "").partition(";")[0]
    word = re.search(r'data-word="([^"]+)"', page.read().decode())
    assert word is not None
    parts = urlsplit(address)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=300)
    headers = {HEADER: word[1], "Origin": f"http://{parts.netloc}", "Cookie": cookie}
    headers["Content-Type"] = "application/json"
    connection.request("POST", parts.path + path, json.dumps(body), headers)
    return json.loads(connection.getresponse().read())


def test_a_review_from_start_to_ctrl_c(tmp_path: Path) -> None:
    out = tmp_path / "people.parquet"
    make_output(tmp_path / "photos", NAMES, out)
    with serving(out) as (process, address):
        assert address.startswith("http://127.0.0.1:")
        assert fetch(address).status == 200
        assert fetch(address, Host="localhost:1").status == 403
        post(address, "api/say/0", {"gender": "male", "age": 44})
        post(address, "api/say/3", {"verdict": "skip"})
        # What it holds is nobody else's meanwhile.
        with pytest.raises(AnnotateError, match="being reviewed"), locked_journal(out):
            pass
        code, err = interrupt(process)
    assert code == 0
    assert "Traceback" not in err
    assert "gender 1, age 1, not a face 0, wrong box 0, skip 1" in err
    assert f"annotate review {out} --apply -o people-reviewed.parquet" in err
    said = [line.said for line in Journal(journal_path(out)).lines]
    assert said == [Said("male", 44.0), Said(verdict="skip")]
    left = {"people.parquet", "people.parquet.corrections.jsonl", "photos"}
    assert {path.name for path in tmp_path.iterdir()} == left


def test_kill_9_loses_nothing_that_was_seen(tmp_path: Path) -> None:
    out = tmp_path / "people.parquet"
    make_output(tmp_path / "photos", NAMES, out)
    with serving(out) as (process, address):
        shown = post(address, "api/say/1", {"age": 12})
        process.kill()
    assert shown["rows"][0]["said"]["age"] == 12
    with serving(out) as (process, address):
        page = fetch(address)
        cookie = (page.getheader("Set-Cookie") or "").partition(";")[0]
        rows = json.loads(fetch(address, "api/rows?order=output", Cookie=cookie).read())["rows"]
        assert rows[1]["said"]["age"] == 12
        code, err = interrupt(process)
    assert (code, "Traceback" in err) == (0, False)


def test_what_is_gone_or_unreadable_is_told(tmp_path: Path) -> None:
    out = tmp_path / "people.parquet"
    table = make_output(tmp_path / "photos", NAMES, out)
    foreign = made_table(face_at("<b>gone\n.jpg", 0, BOXES[0], sha256="ef" * 32))
    session_of(foreign, out).say(0, {"gender": "male"})
    session_of(table, out).say(0, {"gender": "male"})
    with journal_path(out).open("ab") as file:
        file.write(b"torn")
    told: list[str] = []
    _tell_all(session_of(table, out), "http://here", "people.parquet", told.append)
    assert told[:3] == [
        "reviewing 4 faces of people.parquet, 1 of them seen before: http://here",
        f"1 line of '{journal_path(out)}' cannot be read and is passed over",
        "corrected, but not in this output any more: a face of '<b>gone\\x0a.jpg'",
    ]


def test_a_port_that_is_taken_leaves_no_lock(tmp_path: Path) -> None:
    out = tmp_path / "people.parquet"
    make_output(tmp_path / "photos", NAMES, out)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(AnnotateError, match="cannot listen"):
            review(out, port=port, open_browser=False, tell=print)
    assert {path.name for path in tmp_path.iterdir()} == {"people.parquet", "photos"}


def test_usage(invoke: Invoke, tmp_path: Path) -> None:
    out = str(tmp_path / "people.parquet")
    for words, said in (
        (["-o", "new.parquet"], "-o is for --apply"),
        (["--overwrite"], "--overwrite is for --apply"),
        (["--apply"], "--apply writes a new output"),
        (["--apply", "-o", "x.csv", "--port", "3"], "--port is for the page"),
        (["--apply", "-o", "x.csv", "--no-browser"], "--no-browser is for the page"),
    ):
        code, _, err = invoke("review", out, *words)
        assert code == 2
        assert said in one_line(err)
    code, _, err = invoke("review", out, "--no-browser")
    assert code == 1
    assert "no output at" in one_line(err)


def test_applying_from_the_command_line(invoke: Invoke, tmp_path: Path) -> None:
    out = tmp_path / "people.parquet"
    table = make_output(tmp_path / "photos", NAMES, out)
    session = session_of(table, out)
    session.say(0, {"gender": "male"})
    foreign = made_table(face_at("<b>gone\n.jpg", 0, BOXES[0], sha256="ef" * 32))
    session_of(foreign, out).say(0, {"gender": "male"})
    code, text, err = invoke("review", str(out), "--apply", "-o", str(tmp_path / "new.csv"))
    assert (code, text) == (0, "")
    assert "applied: gender 1, age 0, not a face 0, wrong box 0" in err
    assert "not in this output any more: a face of '<b>gone\\x0a.jpg'" in err
    code, text, err = invoke("review", str(out), "--apply", "-o", "-")
    assert code == 0
    assert text == (tmp_path / "new.csv").read_text("utf-8")
    assert text.splitlines()[0].endswith(",flags,label_source,labelled")


def test_without_flask_the_extra_is_named(
    invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "people.parquet"
    table = make_output(tmp_path / "photos", NAMES, out)
    monkeypatch.setitem(sys.modules, "flask", None)
    code, _, err = invoke("review", str(out), "--no-browser")
    assert code == 1
    assert "pip install 'annotate[review]'" in one_line(err)
    # Merging does not need it.
    session_of(table, out).say(0, {"gender": "male"})
    assert invoke("review", str(out), "--apply", "-o", str(tmp_path / "new.csv"))[0] == 0


def test_the_page_of_the_documents(invoke: Invoke, tmp_path: Path) -> None:
    """Every command of docs/review.md parses, merging is done, and every key is named."""
    text = (ROOT / "docs" / "review.md").read_text("utf-8")
    lines = [
        line
        for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
        for line in block.splitlines()
    ]
    assert len(lines) == 4
    out = tmp_path / "people.parquet"
    table = make_output(tmp_path / "photos", NAMES, out)
    session_of(table, out).say(1, {"gender": "male", "age": 44})
    for line in lines:
        words = shlex.split(line.replace("$UTKFACE", str(tmp_path)))
        named = [
            str(tmp_path / word) if re.match(r"(people|reviewed|photos|report)\b", word) else word
            for word in words
        ]
        if "--apply" in named:
            assert invoke(*named[1:])[0] == 0
        elif words[0] == "annotate":
            command = cli.commands[named[1]]
            command.make_context(named[1], named[2:])
        else:
            command = training_cli.commands[named[3]]
            command.make_context(named[3], named[4:])
    assert (tmp_path / "reviewed.parquet").is_file()
    page = (ROOT / "annotate" / "review" / "templates" / "review.html").read_text("utf-8")
    for key in re.findall(r'aria-keyshortcuts="([A-Za-z?])"', page):
        assert f"`{key.upper()}`" in text
    assert f"`age_sd` / {FULL_DOUBT_AGE_SD:g} years" in text
    assert f"by {MIN_IOU:g} or more" in text
    assert f"overlaps by {SAME_BOX_IOU:g}" in text
