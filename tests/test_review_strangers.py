"""The page of a review in a real browser: strangers' names, kill -9, and labels made of it."""

from __future__ import annotations

import sys
from pathlib import Path

import annotate
from annotate.review.journal import Journal, journal_path
from tests.browsers import Seen
from tests.conftest import Invoke
from tests.reviewers import end_of_pictures as end_of_pictures
from tests.reviewers import expect, reviewing, served
from tests.reviewers import out as out
from tests.reviews import interrupt, make_output, serving

HOSTILE = [
    "<img src=x onerror=alert(1)>.png",
    "<script>.png",
    "a&amp;\"'`${x}.png",
    "<b>b</b>/</script><script>alert(2)</script>.png",
    "\u202egnp.exe.png",
]
if sys.platform == "linux":
    HOSTILE.append("\\xff\\xfe.png")  # two bytes that are not UTF-8


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
        expect(person.cards.locator(".badge")).to_have_count(len(expected))
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
    with served(out) as address:
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
