"""The page of a review in a real browser: phones, wide screens, no face at all, and 50,000."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from annotate.review.journal import journal_path
from annotate.review.session import PAGE_ROWS
from annotate.writers import write_parquet
from tests.browsers import Seen, is_as_wide_as_its_window, watched
from tests.hand_made import face_at
from tests.reviewers import end_of_pictures as end_of_pictures
from tests.reviewers import expect, reviewing
from tests.reviewers import out as out
from tests.reviews import made_table, make_output, many_faces, sha256_of

if TYPE_CHECKING:
    from playwright.sync_api import Browser


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
