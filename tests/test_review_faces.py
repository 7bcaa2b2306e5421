"""Faces under review: order, filters, pages that stay, what is said and undone."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from annotate.errors import AnnotateError
from annotate.review.corrections import NOTHING, Said
from annotate.review.faces import Faces, open_faces
from annotate.review.filters import Filters, Listing, doubts
from annotate.review.session import PAGE_ROWS
from annotate.writers import write_parquet
from tests.hand_made import face_at, guess, no_face
from tests.reviews import (
    BOXES,
    made_table,
    make_output,
    many_faces,
    said_of,
    session_of,
)


def paths(table: pa.Table, **asked: Any) -> list[str]:
    """The paths that pass filters, in order."""
    faces = Faces(table)
    rows = Listing(faces).select(Filters(**asked), np.zeros(len(faces), np.int64))
    found: list[str] = table.column("path").take(pa.array(rows)).to_pylist()
    return found


def test_doubt_by_hand() -> None:
    table = made_table(
        guess("even odds", 30, 0.5, age_sd=1.0),
        guess("four to one", 30, 0.8, age_sd=1.0),
        guess("sure", 30, 1.0, age_sd=5.0),
        guess("endless age", 30, 1.0, age_sd=math.inf),
        guess("wide age", 30, 0.0, age_sd=30.0),
        guess("no age", 30, 0.9),
        guess("no gender", 30, None, age_sd=10.0),
        guess("nothing", None, None),
        guess("nonsense", 30, -7.0, age_sd=-3.0),
    )
    found = doubts(table).tolist()
    # 1 - |2 p - 1|, or the deviation over 25 years, whichever is more.
    assert found[:7] == pytest.approx([1.0, 0.4, 0.2, 0.0, 1.0, 0.2, 0.4], abs=1e-6)
    assert math.isnan(found[7])
    assert found[8] == 0


def test_the_flag_uncertain_is_a_doubt_over_two_fifths() -> None:
    table = many_faces(3000)
    is_flagged = [flags is not None for flags in table.column("flags").to_pylist()]
    assert (doubts(table) > 0.4).tolist() == is_flagged
    assert 0 < sum(is_flagged) < 3000


def test_least_certain_first_and_rows_without_a_face_last() -> None:
    table = made_table(
        no_face("n.jpg"),
        guess("sure.jpg", 30, 0.99),
        guess("unknown.jpg", None, None),
        guess("torn.jpg", 50, 0.5),
        guess("broken.jpg", None, None, status="decode_error", error="bad", face_index=None),
        guess("fair.jpg", 20, 0.7),
    )
    faces_first = ["torn.jpg", "fair.jpg", "sure.jpg", "unknown.jpg"]
    assert paths(table) == [*faces_first, "n.jpg", "broken.jpg"]
    assert paths(table, order="output") == table.column("path").to_pylist()
    assert paths(table, order="youngest")[:3] == ["fair.jpg", "sure.jpg", "torn.jpg"]
    assert paths(table, order="oldest")[:3] == ["torn.jpg", "sure.jpg", "fair.jpg"]


TABLE = made_table(
    guess("2019/may/a.jpg", 10, 0.9, flags="blurred;edge"),
    guess("2019/may/B.JPG", 20, 0.1, flags="uncertain"),
    guess("2019/c.jpg", 30.5, 0.8),
    guess("20190/d.jpg", 40, 0.2, flags="small_face"),
    guess("trip.zip!/in/e.jpg", 50, 0.3),
    guess("100%_[x].jpg", 60, 0.4),
    no_face("2019/f.jpg"),
)


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({"status": "no_face"}, "f"),
        ({"status": "ok"}, "aBcde1"),
        ({"flag": "edge"}, "a"),
        ({"flag": "small_face"}, "d"),
        ({"gender": "female"}, "ac"),
        ({"gender": "male"}, "Bde1"),
        ({"age_min": 20, "age_max": 30.5}, "Bc"),
        ({"age_max": 10}, "a"),
        ({"folder": "2019"}, "aBcf"),
        ({"folder": "2019/"}, "aBcf"),
        ({"folder": "2019/may"}, "aB"),
        ({"folder": "trip.zip!"}, "e"),
        ({"folder": "nowhere"}, ""),
        ({"search": "b.jp"}, "B"),
        ({"search": "2019/"}, "aBcf"),
        ({"search": "%_[x]"}, "1"),
        ({"search": ".*"}, ""),
        ({"folder": "2019", "gender": "male", "age_min": 0}, "B"),
    ],
)
def test_filters(asked: dict[str, Any], found: str) -> None:
    names = [path.rpartition("/")[2][0] for path in paths(TABLE, order="output", **asked)]
    assert "".join(names) == found


@pytest.mark.parametrize(
    "asked",
    [
        {"status": "<script>"},
        {"flag": ".*"},
        {"gender": "x"},
        {"state": "done"},
        {"order": ""},
        {"search": "x" * 1001},
    ],
)
def test_unknown_filters_are_refused(asked: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"expected|over 1000"):
        Filters(**asked)


def test_filters_come_from_the_words_of_an_address() -> None:
    words = {"age_min": "18", "age_max": "", "search": "x", "order": "", "page": "3"}
    assert Filters.of(words) == Filters(age_min=18, search="x")
    for age in ("x", "nan", "inf"):
        with pytest.raises(ValueError, match="expected years"):
            Filters.of({"age_min": age})


def test_folders_are_counted_with_what_lies_below() -> None:
    listing = Listing(Faces(TABLE))
    counts = {"2019": 4, "2019/may": 2, "20190": 1, "trip.zip!": 1, "trip.zip!/in": 1}
    assert dict(listing.folders) == counts
    two = made_table(guess("a/x.jpg", 1, 0.5, source="/p"), guess("y.jpg", 1, 0.5, source="/q"))
    assert dict(Listing(Faces(two)).folders) == {"/p": 1, "/p/a": 1, "/q": 1}


def test_what_is_said_is_seen_kept_and_undone(tmp_path: Path) -> None:
    out = tmp_path / "p.parquet"
    table = make_output(tmp_path / "photos", {"a.png": 3, "b.png": 0, "c.png": 1}, out)
    session = session_of(table, out)
    assert session.undo() is None
    session.say(0, {"gender": "male"})
    session.say(0, {"age": 44})
    session.say(2, {"verdict": "not_a_face"})
    outcome = session.say(4, {"verdict": "skip"})
    assert outcome["rows"][0]["said"]["verdict"] == "skip"
    assert {name: outcome[name] for name in ("open", "corrected", "skipped")} == {
        "open": 1,
        "corrected": 2,
        "skipped": 1,
    }
    again = session_of(table, out)  # as after a crash
    assert again.tally() == session.tally()
    assert said_of(again, 0) == Said("male", 44.0)
    lines = len(again.journal.lines)
    again.say(0, {"gender": "male"})
    assert len(again.journal.lines) == lines  # nothing new was said
    undone = again.undo()
    assert undone is not None
    assert (undone["row"], undone["before"]["verdict"]) == (4, "skip")
    again.undo()
    again.undo()
    assert said_of(again, 0) == Said("male")
    third = session_of(table, out)
    assert [said_of(third, row) for row in (0, 2, 4)] == [Said("male"), NOTHING, NOTHING]
    third.undo()
    assert third.undo() is None
    assert not any(third.kinds().values())


def test_nothing_can_be_said_where_there_is_no_face(tmp_path: Path) -> None:
    out = tmp_path / "p.parquet"
    table = make_output(tmp_path / "photos", {"a.png": 0, "b.png": 1}, out)
    session = session_of(table, out)
    with pytest.raises(ValueError, match="no face"):
        session.say(0, {"gender": "male"})
    assert not session.journal.path.exists()


def test_copies_of_a_file_share_what_is_said(tmp_path: Path) -> None:
    rows = [
        face_at(path, i, BOXES[i], sha256="ab" * 32) for path in ("x.jpg", "y.jpg") for i in (0, 1)
    ]
    other = face_at("z.jpg", 0, BOXES[0], sha256="cd" * 32)
    session = session_of(made_table(*rows, other), tmp_path / "p.parquet")
    outcome = session.say(3, {"gender": "male"})
    assert [row["row"] for row in outcome["rows"]] == [3, 1]
    assert [said_of(session, row).gender for row in range(5)] == [None, "male", None, "male", None]
    assert (outcome["corrected"], outcome["open"]) == (2, 3)
    assert len(session.journal.lines) == 1


def test_pages_stay_as_they_are_while_a_list_is_worked_on(tmp_path: Path) -> None:
    table = many_faces(3 * PAGE_ROWS - 10)
    session = session_of(table, tmp_path / "p.parquet")
    to_do = Filters(state="open")
    first = session.page(to_do)
    assert (first["pages"], len(first["rows"])) == (3, PAGE_ROWS)
    for row in first["rows"]:
        session.say(row["row"], {"verdict": "skip"})
    second = session.page(to_do, 1, first["view"])
    seen = {row["row"] for row in first["rows"]} | {row["row"] for row in second["rows"]}
    assert len(seen) == 2 * PAGE_ROWS
    assert session.page(to_do)["found"] == 2 * PAGE_ROWS - 10  # asked anew
    assert session.page(to_do, 99, first["view"])["page"] == 2
    # A number of another list is not believed.
    assert session.page(Filters(state="skipped"), 0, first["view"])["found"] == PAGE_ROWS


def test_every_row_is_on_one_page(tmp_path: Path) -> None:
    session = session_of(many_faces(500), tmp_path / "p.parquet")
    pages = [session.page(Filters(), page) for page in range(9)]
    rows = [row["row"] for page in pages for row in page["rows"]]
    assert sorted(rows) == list(range(500))


def test_views_are_bounded(tmp_path: Path) -> None:
    session = session_of(many_faces(10), tmp_path / "p.parquet")
    for age in range(100):
        session.page(Filters(age_min=age))
    assert len(session._views) <= 16


def hostile() -> pa.Table:
    """What a stranger may write into a column of the right type."""
    nan, huge = math.nan, 3e38
    return made_table(
        guess("</script><img src=x onerror=alert(1)>\u202e\x1b[31m.jpg", nan, nan, age_sd=nan),
        guess("huge.jpg", huge, huge, age_sd=huge, x_min=-huge, x_max=huge, y_min=nan),
        guess("endless.jpg", math.inf, -math.inf, x_max=math.inf, sha256="../../etc/passwd"),
        guess("flags.jpg", 30, 0.5, flags=";;<b>;uncertain", width=-5, height=0),
        guess("null.jpg", None, None, sha256=None, gender="female", face_index=None),
        guess("index.jpg", 30, 0.5, face_index=-32768, face_count=32767),
        {"path": None, "source": None, "status": None},
    )


def test_hostile_rows_are_described_in_plain_json(tmp_path: Path) -> None:
    session = session_of(hostile(), tmp_path / "p.parquet")
    page = session.page(Filters())
    text = json.dumps(page, allow_nan=False)
    assert "\u202e" not in json.loads(text)["rows"][0]["path"]
    by_path = {row["path"]: row for row in page["rows"]}
    assert [by_path[name]["is_correctable"] for name in ("endless.jpg", "null.jpg")] == [False] * 2
    assert by_path["huge.jpg"]["box"] is None
    assert len(page["rows"]) == 7
    for row in page["rows"]:
        session.faces.beside(row["row"])
        if row["is_correctable"]:
            session.say(row["row"], {"verdict": "wrong_box"})
    again = session_of(hostile(), tmp_path / "p.parquet")
    assert again.tally() == session.tally()
    assert again.tally()["corrected"] > 0


def test_a_time_that_python_does_not_have(tmp_path: Path) -> None:
    table = made_table(guess("a.jpg", 30, 0.5))
    place = table.schema.get_field_index("captured_at")
    late = pa.array([2**62], pa.int64()).cast(pa.timestamp("ms"))
    table = table.set_column(place, table.schema.field(place), late)
    assert isinstance(Faces(table).described([0])[0]["captured_at"], str)


def test_faces_beside_one_another_from_left_to_right(tmp_path: Path) -> None:
    rows = [face_at("a.jpg", i, BOXES[i]) for i in (2, 0, 1)]
    same_path = face_at("a.jpg", 0, BOXES[0], source="/elsewhere")
    faces = Faces(made_table(*rows, same_path, no_face("b.jpg")))
    assert faces.beside(0) == [1, 2, 0]
    assert faces.beside(3) == [3]
    assert faces.beside(4) == [4]


def test_an_empty_or_foreign_table_is_refused(tmp_path: Path) -> None:
    empty = tmp_path / "empty.parquet"
    write_parquet(made_table(guess("a", 1, 0.5)).slice(0, 0), empty)
    with pytest.raises(AnnotateError, match="has no rows"):
        open_faces(empty)
    write_parquet(pa.table({"path": ["a"]}), tmp_path / "foreign.parquet")
    with pytest.raises(AnnotateError, match="not an output"):
        open_faces(tmp_path / "foreign.parquet")
    with pytest.raises(AnnotateError, match="no output at"):
        open_faces(tmp_path / "none.parquet")


def test_columns_of_others_stay_and_review_columns_must_be_text(tmp_path: Path) -> None:
    table = made_table(guess("a", 1, 0.5))
    write_parquet(table.append_column("mine", pa.array([7])), tmp_path / "a.parquet")
    assert open_faces(tmp_path / "a.parquet").table["mine"].to_pylist() == [7]
    nested = table.append_column("label_source", pa.array([["x"]]))
    write_parquet(nested, tmp_path / "b.parquet")
    with pytest.raises(AnnotateError, match="expected an output of annotate"):
        open_faces(tmp_path / "b.parquet")
