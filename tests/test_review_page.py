"""The page of a review in a real browser: keys, ages, filters, pages and photographs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from annotate.review.journal import Journal, journal_path
from annotate.review.session import PAGE_ROWS
from annotate.writers import write_parquet
from tests.browsers import Seen
from tests.reviewers import end_of_pictures as end_of_pictures
from tests.reviewers import expect, reviewing
from tests.reviewers import out as out
from tests.reviews import many_faces

if TYPE_CHECKING:
    from playwright.sync_api import Route


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


def test_a_key_that_is_held_is_one_answer(out: Path, seen: Seen) -> None:
    with reviewing(out, seen, 7) as person:
        keyboard = person.page.keyboard
        for _ in range(5):
            keyboard.down("f")
        keyboard.up("f")
        expect(person.page.locator("#tally")).to_have_text("1 corrected · 0 skipped · 5 to do")
        expect(person.cards.nth(1)).to_be_focused()
        for _ in range(3):
            keyboard.down("ArrowRight")  # a move goes on
        keyboard.up("ArrowRight")
        expect(person.cards.nth(4)).to_be_focused()
        person.press("7", "7")
        for _ in range(2):
            keyboard.down("Backspace")  # what is typed is taken back
        keyboard.up("Backspace")
        expect(person.page.locator("#age")).to_have_value("")
        assert person.lines() == [{"path": "2019/a.png", "gender": "female"}]


@pytest.mark.parametrize("address", ["**/api/picture/*", "**/photograph/*"])
def test_an_answer_that_is_quicker_than_the_photograph_is_seen_on_it(
    out: Path, seen: Seen, address: str
) -> None:
    with reviewing(out, seen, 7) as person:
        page = person.page
        held: list[Route] = []
        page.route(address, lambda route: held.append(route))
        person.cards.nth(1).click()
        person.cards.nth(1).click()
        page.wait_for_function("document.querySelector('#stage').ariaBusy === 'true'")
        person.press("x")
        expect(page.get_by_role("dialog").get_by_role("status")).to_contain_text("not a face")
        boxes = page.get_by_role("dialog").locator(".box")
        expect(boxes).to_have_count(0)
        page.unroute(address)  # which lets those go on that are held
        assert held
        expect(boxes.nth(1)).to_have_text("not a face")
        expect(page.locator("#stage")).to_have_attribute("aria-busy", "false")


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
        seen.page.wait_for_function("innerHeight === 400")
        person.press("1", "3", "1", "Enter")
        expect(person.page.locator("#alarm")).to_contain_text("0 to 130")
        seen.page.wait_for_function("scrollY < 100")  # the face stays in sight
        person.press("Escape")
        expect(person.chosen).to_be_focused()
        expect(person.page.locator("#alarm")).to_be_empty()
        person.press("f")
        expect(person.cards.nth(0).locator(".badge")).to_have_text("female")
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
