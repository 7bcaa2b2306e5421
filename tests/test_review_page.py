"""The page of a review in a real browser: keys, filters, photographs, and strangers' names."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from PIL import Image

import annotate
from annotate.review.faces import open_faces
from annotate.review.journal import Journal, journal_path
from annotate.review.pictures import Pictures
from annotate.review.server import _listening, _make_server
from annotate.review.session import PAGE_ROWS, Session
from annotate.writers import write_parquet
from tests.browsers import Seen, is_as_wide_as_its_window, watched
from tests.conftest import Invoke
from tests.hand_made import face_at
from tests.reviews import interrupt, made_table, make_output, many_faces, serving, sha256_of

pytest.importorskip("flask")
api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
expect = api.expect

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page, Route

expect.set_options(timeout=30_000)

HOSTILE = [
    "<img src=x onerror=alert(1)>.png",
    "<script>.png",
    "a&amp;\"'`${x}.png",
    "<b>b</b>/</script><script>alert(2)</script>.png",
    "\u202egnp.exe.png",
]
if sys.platform == "linux":
    HOSTILE.append("\\xff\\xfe.png")  # two bytes that are not UTF-8


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
    with _served(out) as address:
        person = Person(out, seen, address)
        person.page.goto(address)
        expect(person.cards).to_have_count(cards)
        yield person
        person.check()


_PICTURES = Pictures()


@pytest.fixture(scope="module", autouse=True)
def _end_of_pictures() -> Iterator[None]:
    yield
    _PICTURES.close()


@contextmanager
def _served(out: Path) -> Iterator[str]:
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


def test_keys_correct_and_undo_and_each_is_on_disk_when_it_is_seen(out: Path, seen: Seen) -> None:
    with reviewing(out, seen, 7) as person:
        expect(person.page.locator("#tally")).to_have_text("0 corrected · 0 skipped · 6 to do")
        person.press("m")
        expect(person.cards.nth(0).locator(".badge")).to_have_text("male")
        expect(person.cards.nth(0).locator(".guess")).to_have_text("30 female male")
        expect(person.cards.nth(1)).to_be_focused()
        assert person.lines() == [{"path": "2019/a.png", "gender": "male"}]
        person.press("3", "4", "f")
        expect(person.cards.nth(1).locator(".badge")).to_have_text(["34 years", "female"])
        expect(person.cards.nth(2)).to_be_focused()
        person.press("7", ".", "5", "Enter")
        expect(person.cards.nth(2).locator(".badge")).to_have_text("7.5 years")
        person.press("x")
        expect(person.cards.nth(3).locator(".badge")).to_have_text("not a face")
        person.press("b")
        expect(person.cards.nth(4).locator(".badge")).to_have_text("wrong box")
        person.press("s")
        expect(person.cards.nth(5).locator(".badge")).to_have_text("skipped")
        expect(person.page.locator("#tally")).to_have_text("5 corrected · 1 skipped · 0 to do")
        assert person.lines()[1:] == [
            {"path": "2019/a.png", "gender": "female", "age": 34},
            {"path": "2019/a.png", "age": 7.5},
            {"path": "2019/b.png", "verdict": "not_a_face"},
            {"path": "2020/c.png", "verdict": "wrong_box"},
            {"path": "2020/c.png", "verdict": "skip"},
        ]
        person.press("u", "u")
        expect(person.cards.nth(4).locator(".badge")).to_have_count(0)
        expect(person.cards.nth(4)).to_be_focused()
        expect(person.page.locator("#said")).to_have_text(
            "undone: wrong box – 2020/c.png (face 1 of 2)"
        )
        assert [line.undoes for line in Journal(journal_path(out)).lines[-2:]] == [6, 5]
        person.press("Home", "Delete")
        expect(person.cards.nth(0).locator(".badge")).to_have_count(0)
        assert person.lines()[-1] == {"path": "2019/a.png"}


def test_a_row_without_a_face_takes_no_correction(out: Path, seen: Seen) -> None:
    with reviewing(out, seen, 7) as person:
        person.press("End")
        expect(person.chosen).to_contain_text("no face")
        expect(person.page.locator("[data-act=female]")).to_be_disabled()
        person.press("f", "3")
        expect(person.page.locator("#said")).to_have_text("There is no face here to correct.")
        assert person.lines() == []


def test_an_age_that_is_none_is_refused_on_the_page(out: Path, seen: Seen) -> None:
    with reviewing(out, seen, 7) as person:
        seen.page.set_viewport_size({"width": 600, "height": 400})
        person.press("1", "3", "1", "Enter")
        assert seen.page.evaluate("scrollY") < 100  # the face stays in sight
        expect(person.page.locator("#alarm")).to_contain_text("0 to 130")
        person.press("Escape")
        expect(person.chosen).to_be_focused()
        person.press("f")
        expect(person.page.locator("#alarm")).to_be_empty()
        assert person.lines() == [{"path": "2019/a.png", "gender": "female"}]


def test_a_refused_age_is_replaced_by_what_is_typed_next(out: Path, seen: Seen) -> None:
    with reviewing(out, seen, 7) as person:
        field, alarm = person.page.locator("#age"), person.page.locator("#alarm")
        person.press("1", "5", "0", "Enter")
        expect(alarm).to_contain_text("0 to 130")
        expect(field).to_be_focused()
        expect(field).to_have_js_property("ariaInvalid", "true")
        person.press("Enter")  # still refused, and said once more
        expect(field).to_have_value("150")
        person.press("3")
        expect(field).to_have_value("3")
        expect(alarm).to_be_empty()
        person.press("4", "Enter")
        expect(person.cards.nth(0).locator(".badge")).to_have_text("34 years")
        assert person.lines() == [{"path": "2019/a.png", "age": 34}]


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("f", {"gender": "female"}),
        ("x", {"verdict": "not_a_face"}),
        ("b", {"verdict": "wrong_box"}),
        ("s", {"verdict": "skip"}),
    ],
)
def test_keys_that_are_no_digits_work_after_a_refused_age(
    out: Path, seen: Seen, key: str, said: dict[str, str]
) -> None:
    with reviewing(out, seen, 7) as person:
        person.press("1", "5", "0", "Enter", key)
        expect(person.cards.nth(0).locator(".badge")).to_have_count(1)
        expect(person.cards.nth(1)).to_be_focused()
        expect(person.page.locator("#alarm")).to_be_empty()
        expect(person.page.locator("#age")).to_have_value("")
        assert person.lines() == [{"path": "2019/a.png"} | said]


def test_keys_in_the_age_field_are_not_dead(out: Path, seen: Seen) -> None:
    with reviewing(out, seen, 7) as person:
        page, field = person.page, person.page.locator("#age")
        person.press("1", "5", "0", "Enter", "ArrowRight")
        expect(person.cards.nth(1)).to_be_focused()
        person.press("3", "5", "ArrowLeft", "Backspace", "4")  # these edit what is typed
        expect(field).to_have_value("45")
        person.press("u")  # takes back what is typed, and no correction
        expect(field).to_have_value("")
        expect(person.cards.nth(1)).to_be_focused()
        person.press("6", "2", "b")
        expect(person.cards.nth(1).locator(".badge")).to_have_text(["62 years", "wrong box"])
        person.press("7", "1", "x")
        expect(person.cards.nth(2).locator(".badge")).to_have_text(["not a face"])
        person.press("1", "5", "0", "?")
        expect(page.get_by_role("dialog")).to_be_visible()
        person.press("Escape", "Enter")
        expect(page.locator("#alarm")).to_contain_text("0 to 130")
        person.press("Backspace")
        expect(field).to_have_value("")
        assert person.lines() == [
            {"path": "2019/a.png", "verdict": "wrong_box", "age": 62},
            {"path": "2019/a.png", "verdict": "not_a_face"},
        ]


def test_arrows_go_to_the_neighbours(out: Path, seen: Seen) -> None:
    with reviewing(out, seen, 7) as person:
        person.press("ArrowRight", "ArrowRight", "ArrowLeft")
        expect(person.cards.nth(1)).to_be_focused()
        seen.page.set_viewport_size({"width": 500, "height": 900})
        tops = [person.cards.nth(i).bounding_box() for i in range(7)]
        columns = sum(
            box is not None and tops[0] is not None and box["y"] == tops[0]["y"] for box in tops
        )
        assert 1 < columns < 6
        person.press("ArrowDown")
        expect(person.cards.nth(1 + columns)).to_be_focused()
        person.press("ArrowUp")
        expect(person.cards.nth(1)).to_be_focused()


def test_filters_and_search_are_kept_by_a_reload(out: Path, seen: Seen) -> None:
    with reviewing(out, seen, 7) as person:
        page = person.page
        person.press("m")  # what the person says does not move a face out of a list
        page.get_by_label("Status").select_option("ok")
        expect(person.cards).to_have_count(6)
        page.get_by_label("Folder").fill("2019")
        expect(person.cards).to_have_count(4)
        page.get_by_label("age from").fill("31")
        expect(person.cards).to_have_count(2)
        page.reload()
        expect(person.cards).to_have_count(2)
        expect(page.get_by_label("Folder")).to_have_value("2019")
        page.get_by_role("button", name="Show all").click()
        expect(person.cards).to_have_count(7)
        page.get_by_label("Review").select_option("corrected")
        expect(person.cards).to_have_count(1)
        expect(person.cards.locator(".badge")).to_have_text("male")
        page.get_by_role("button", name="Show all").click()
        expect(person.cards).to_have_count(7)
        page.locator("h1").click()
        person.press("/")
        page.keyboard.type("NONE.p")  # letters are letters in a field, and correct nothing
        expect(person.cards).to_have_count(1)
        page.keyboard.type("zzz")
        expect(page.get_by_text("No face passes these filters.")).to_be_visible()
        assert person.lines() == [{"path": "2019/a.png", "gender": "male"}]


def test_pages_by_keys_and_the_last_face_leads_to_the_next_page(tmp_path: Path, seen: Seen) -> None:
    out = tmp_path / "people.parquet"
    write_parquet(many_faces(PAGE_ROWS + 5), out)
    with reviewing(out, seen, PAGE_ROWS) as person:
        person.press("End", "s")
        expect(person.cards).to_have_count(5)
        expect(person.cards.nth(0)).to_be_focused()
        expect(person.page.locator("#found")).to_have_text("65 rows, page 2 of 2")
        person.press("ArrowLeft")
        expect(person.cards).to_have_count(PAGE_ROWS)
        expect(person.cards.nth(PAGE_ROWS - 1)).to_be_focused()
        expect(person.cards.nth(PAGE_ROWS - 1).locator(".badge")).to_have_text("skipped")
        person.press("PageDown")
        expect(person.cards).to_have_count(5)
        person.page.reload()
        expect(person.cards).to_have_count(5)
        expect(person.page.get_by_role("button", name="Next")).to_be_disabled()
        person.press("p")
        expect(person.cards).to_have_count(PAGE_ROWS)
        assert [line["verdict"] for line in person.lines()] == ["skip"]  # of the 60th, once


def test_a_key_while_the_next_page_is_on_its_way_is_about_no_face(
    tmp_path: Path, seen: Seen
) -> None:
    out = tmp_path / "people.parquet"
    write_parquet(many_faces(PAGE_ROWS + 5), out)
    with reviewing(out, seen, PAGE_ROWS) as person:
        person.press("End")
        last = person.chosen.locator(".path").inner_text()
        held: list[Route] = []
        person.page.route("**/api/rows*", lambda route: held.append(route))
        person.press("s", "f", "x", "3", "4", "Enter")
        expect(person.page.locator("#tally")).to_have_text("0 corrected · 1 skipped · 64 to do")
        for route in held:
            route.continue_()
        person.page.unroute("**/api/rows*")
        expect(person.cards).to_have_count(5)
        person.press("f")
        expect(person.cards.nth(0).locator(".badge")).to_have_text("female")
        first = person.cards.nth(0).locator(".path").inner_text()
        assert person.lines() == [
            {"path": last, "verdict": "skip"},
            {"path": first, "gender": "female"},
        ]


def test_the_photograph_with_its_boxes(out: Path, seen: Seen) -> None:
    with reviewing(out, seen, 7) as person:
        page = person.page
        person.cards.nth(1).click()
        person.cards.nth(1).click()
        dialog = page.get_by_role("dialog")
        expect(dialog).to_be_visible()
        boxes = dialog.locator(".box")
        expect(boxes).to_have_count(3)
        expect(boxes.nth(1)).to_have_attribute("aria-current", "true")
        whole, second = page.locator("#whole").bounding_box(), boxes.nth(1).bounding_box()
        assert whole is not None
        assert second is not None
        # Of 200 x 100 pixels: the second face lies from 70 to 110 and from 20 to 60.
        scale = whole["width"] / 200
        assert second["x"] - whole["x"] == pytest.approx(70 * scale, abs=1.5)
        assert second["y"] - whole["y"] == pytest.approx(20 * scale, abs=1.5)
        assert second["width"] == pytest.approx(40 * scale, abs=1.5)
        boxes.nth(2).click()
        person.press("x")
        expect(boxes.nth(2)).to_contain_text("not a face")
        expect(dialog.get_by_role("status")).to_have_text("not a face – 2019/a.png (face 3 of 3)")
        assert person.lines() == [{"path": "2019/a.png", "verdict": "not_a_face"}]
        person.press("ArrowRight")  # the third face of the list is of the next photograph
        expect(boxes).to_have_count(1)
        person.press("4", "Escape")
        expect(dialog).to_be_visible()
        person.press("Escape")
        expect(dialog).to_be_hidden()
        expect(person.chosen).to_be_focused()
        expect(page.locator("#dock #tools")).to_be_visible()
        person.press("o")
        expect(dialog).to_be_visible()
        person.press("o")
        expect(dialog).to_be_hidden()


def test_help_lists_every_key_and_staying_is_a_choice(out: Path, seen: Seen) -> None:
    with reviewing(out, seen, 7) as person:
        page = person.page
        person.press("?")
        help_dialog = page.get_by_role("dialog")
        for button in page.locator("#tools [aria-keyshortcuts]").all():
            for key in (button.get_attribute("aria-keyshortcuts") or "").split():
                known = {"Delete": "Del", "ArrowLeft": "←"}.get(key, key.upper())
                if not key.isdigit():
                    expect(help_dialog.locator("kbd", has_text=known).first).to_be_visible()
        person.press("m")  # nothing is corrected meanwhile
        page.get_by_role("checkbox").uncheck()
        person.press("Escape", "f")
        expect(person.cards.nth(0).locator(".badge")).to_have_text("female")
        expect(person.cards.nth(0)).to_be_focused()
        assert person.lines() == [{"path": "2019/a.png", "gender": "female"}]


def test_everything_has_a_name_for_those_who_do_not_see_it(out: Path, seen: Seen) -> None:
    with reviewing(out, seen, 7) as person:
        person.press("o")
        expect(person.page.locator(".box").first).to_be_visible()
        nameless = person.page.evaluate(
            """() => [...document.querySelectorAll("button, input, select, dialog, ul, nav")]
            .filter((e) => !(e.textContent.trim() && e.tagName === "BUTTON"))
            .filter((e) => !e.ariaLabel && !e.getAttribute("aria-labelledby") && !e.labels?.length)
            .map((e) => e.outerHTML)"""
        )
        assert nameless == []
        focusable = person.page.evaluate(
            """() => [...document.querySelectorAll("#faces button")].filter((e) => e.tabIndex === 0)
            .length"""
        )
        assert focusable == 1  # Tab leads past the faces, arrows from face to face


def test_names_of_strangers_are_text_and_nothing_else(tmp_path: Path, seen: Seen) -> None:
    out = tmp_path / "<img src=x onerror=alert(3)>.parquet"
    make_output(tmp_path / "<i>photos", dict.fromkeys(HOSTILE, 1), out)
    with reviewing(out, seen, len(HOSTILE)) as person:
        page = person.page
        shown = person.cards.locator(".path").all_inner_texts()
        expected = [name.replace("\u202e", "\\u202e") for name in HOSTILE]
        assert sorted(shown) == sorted(expected)
        expect(page.locator("h1")).to_have_text(out.name)
        assert page.locator("#faces img").count() == len(HOSTILE)
        assert page.locator("h1 *, .path *, #chosen *, #folders option *").count() == 0
        for i in range(len(HOSTILE)):
            image = person.cards.nth(i).locator("img")
            expect(image).to_have_js_property("complete", True)
            expect(image).to_have_js_property("naturalWidth", 192)
        for _ in expected:
            person.press("s")
            expect(page.locator("#said")).to_contain_text("skipped")
        person.press("Home", "o")
        expect(page.locator(".box")).to_have_count(1)
        expect(page.locator("#photograph-title")).to_contain_text(".png")
        expect(page.locator("#photograph-facts")).to_have_text("200 × 100 pixels")
        person.press("Escape")
        page.get_by_label("Path").fill("<script>")
        expect(person.cards).to_have_count(2)
        folder = page.locator("#folders option").first
        expect(folder).to_have_attribute("value", "<b>b<")
        assert {line["path"] for line in person.lines()} == set(HOSTILE)
        assert page.evaluate("document.scripts.length") == 1


def test_an_inline_script_would_not_run(out: Path, seen: Seen) -> None:
    with _served(out) as address:
        seen.page.goto(address)
        expect(seen.page.locator("#faces .face")).to_have_count(7)
        seen.page.evaluate(
            """() => {
              const script = document.createElement("script");
              try { script.textContent = "document.title = 'ran'"; document.head.append(script); }
              catch (error) { /* not even that */ }
              const button = document.createElement("button");
              try { button.setAttribute("onclick", "document.title = 'ran'"); } catch (error) { }
              document.body.append(button);
              button.click();
            }"""
        )
        assert seen.page.title() == "people.parquet – review"
        # The browser says of the script and of the attribute that it has refused them.
        assert len(seen.complaints) >= 2


def test_what_was_seen_is_there_after_kill_9(out: Path, seen: Seen) -> None:
    with serving(out) as (process, address):
        page = seen.page
        page.goto(address)
        page.locator("#faces .face").first.click()
        page.keyboard.press("m")
        expect(page.locator("#faces .face").nth(0).locator(".badge")).to_have_text("male")
        process.kill()
        process.wait(60)
        lines = Journal(journal_path(out)).lines
        assert [line.said.gender for line in lines] == ["male"]
        page.keyboard.press("f")
        expect(page.locator("#alarm")).to_contain_text("The review has ended")
        expect(page.locator("#faces .face").nth(1).locator(".badge")).to_have_count(0)
    with serving(out) as (_, address):
        page.goto(address)
        expect(page.locator("#faces .face").nth(0).locator(".badge")).to_have_text("male")
        expect(page.locator("#tally")).to_have_text("1 corrected · 0 skipped · 5 to do")


def test_from_the_page_to_labels(out: Path, seen: Seen, invoke: Invoke, tmp_path: Path) -> None:
    with serving(out) as (process, address):
        seen.page.goto(address)
        expect(seen.page.locator("#faces .face")).to_have_count(7)
        seen.page.keyboard.type("x44mf")
        expect(seen.page.locator("#tally")).to_have_text("3 corrected · 0 skipped · 3 to do")
        code, err = interrupt(process)
        assert code == 0, err
        assert "gender 2, age 1, not a face 1" in err
    new = tmp_path / "new.parquet"
    assert invoke("review", str(out), "--apply", "-o", str(new))[0] == 0
    people = annotate.read(new)
    assert people["face_index"].fillna(-1).tolist() == [0, 1, 0, 0, 1, -1]
    assert people["labelled"].fillna("").tolist() == ["age;gender", "gender", "", "", "", ""]
    assert people["gender"].tolist()[:3] == ["male", "female", "female"]
    assert people["age"].tolist()[0] == 44


def test_a_narrow_screen_and_fingers(out: Path, chromium: Browser) -> None:
    with watched(chromium, 390, 844) as seen, reviewing(out, seen, 7) as person:
        page = person.page
        assert is_as_wide_as_its_window(page)
        expect(page.get_by_label("Status")).to_be_hidden()
        page.locator("summary").click()
        expect(page.get_by_label("Status")).to_be_visible()
        assert is_as_wide_as_its_window(page)
        page.locator("summary").click()
        person.cards.nth(2).click()
        page.get_by_label("Age", exact=True).fill("51")
        page.get_by_role("button", name="Female", exact=True).click()
        expect(person.cards.nth(2).locator(".badge")).to_have_text(["51 years", "female"])
        page.get_by_role("button", name="Photo", exact=True).click()
        expect(page.locator(".box")).to_have_count(1)
        assert is_as_wide_as_its_window(page)
        page.get_by_role("button", name="Next face").click()
        expect(page.locator(".box")).to_have_count(2)
        page.get_by_role("button", name="Wrong box").click()
        expect(page.locator("#tally")).to_have_text("2 corrected · 0 skipped · 4 to do")
        page.get_by_role("button", name="Close").click()
        for button in page.locator("#tools button").all():
            box = button.bounding_box()
            assert box is not None
            assert box["height"] >= 32
            assert box["x"] + box["width"] <= 390


def draw_crowd(folder: Path, out: Path) -> list[tuple[float, float, float, float]]:
    """A wide photograph of eight small faces, 30 x 40 of its 1600 x 900 pixels; their boxes."""
    path = folder / f"{'a long name of a folder/' * 4}crowd.png"
    path.parent.mkdir(parents=True)
    Image.new("RGB", (1600, 900), "#667788").save(path)
    boxes = [(60.0 + 190 * i, 400.0, 90.0 + 190 * i, 440.0) for i in range(8)]
    name = path.relative_to(folder).as_posix()
    more = {"source": str(folder), "sha256": sha256_of(path), "face_count": 8}
    more |= {"width": 1600, "height": 900}
    rows = [face_at(name, i, box, age=30, **more) for i, box in enumerate(boxes)]
    write_parquet(made_table(*rows), out)
    return boxes


def test_small_faces_of_a_wide_photograph_can_be_hit_on_a_phone(
    tmp_path: Path, chromium: Browser
) -> None:
    out = tmp_path / "people.parquet"
    draw_crowd(tmp_path / "photos", out)
    with watched(chromium, 390, 844) as seen, reviewing(out, seen, 8) as person:
        page = person.page
        person.press("End", "o")
        boxes = page.locator(".box")
        expect(boxes).to_have_count(8)
        stage, whole = (page.locator(name).bounding_box() for name in ("#stage", "#whole"))
        last = boxes.nth(7).bounding_box()
        assert stage is not None
        assert whole is not None
        assert last is not None
        # Fitted, it would be 390 x 219 px, and the face 7 x 10. It is as high as the stage.
        assert whole["height"] == pytest.approx(stage["height"], abs=2)
        assert last["width"] > 15
        assert 0 <= last["x"] <= 390 - last["width"]  # the chosen face is in sight
        assert is_as_wide_as_its_window(page)
        # Beside the seventh face, nearer to it than to any other.
        seventh = boxes.nth(6).bounding_box()
        assert seventh is not None
        page.mouse.click(seventh["x"] + seventh["width"] + 12, seventh["y"] - 8)
        expect(boxes.nth(6)).to_have_attribute("aria-current", "true")
        expect(page.locator("#photograph-facts")).to_have_text("face 7 of 8, 1600 × 900 pixels")
        facts = page.locator("#photograph-facts")
        assert facts.evaluate("e => e.scrollWidth <= e.clientWidth && e.clientHeight > 0")
        chosen = boxes.nth(6).bounding_box()
        assert chosen is not None
        page.mouse.click(chosen["x"] + 120, chosen["y"] - 100)  # this is at no face
        expect(boxes.nth(6)).to_have_attribute("aria-current", "true")


def test_a_wide_screen_shows_the_whole_photograph(tmp_path: Path, seen: Seen) -> None:
    out = tmp_path / "people.parquet"
    draw_crowd(tmp_path / "photos", out)
    with reviewing(out, seen, 8) as person:
        person.press("End", "o")
        expect(person.page.locator(".box")).to_have_count(8)
        sizes = person.page.locator("#stage").evaluate(
            "e => [e.scrollWidth, e.clientWidth, e.scrollHeight, e.clientHeight]"
        )
        assert sizes[:2] == [sizes[0]] * 2
        assert sizes[2:] == [sizes[2]] * 2


def test_an_output_without_a_face_says_so(tmp_path: Path, seen: Seen) -> None:
    out = tmp_path / "people.parquet"
    make_output(tmp_path / "photos", {"a.png": 0, "b.png": 0}, out)
    with reviewing(out, seen, 2) as person:
        expect(person.page.locator(".warn")).to_have_text(
            "None of the 2 rows of this output has a face: there is nothing to correct here."
        )
        expect(person.page.locator("#tally")).to_have_text("0 corrected · 0 skipped · 0 to do")
        person.press("f", "o")
        expect(person.page.locator("#photograph-facts")).to_have_text("200 × 100 pixels")
        assert person.lines() == [], "a key was taken for a correction of no face"


def test_a_list_of_fifty_thousand_is_served_by_the_page(tmp_path: Path, seen: Seen) -> None:
    out = tmp_path / "people.parquet"
    write_parquet(many_faces(50_000), out)
    with reviewing(out, seen, PAGE_ROWS) as person:
        expect(person.page.locator("#found")).to_have_text("50,000 rows, page 1 of 834")
        person.page.get_by_label("Path").fill("3/012")
        expect(person.page.locator("#found")).to_have_text("100 rows, page 1 of 2")
        body = person.page.content()
        assert len(body) < 200_000
        json.dumps(person.lines())
        assert not os.path.exists(journal_path(out))
