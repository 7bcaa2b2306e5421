"""report.html in a real browser: what people see, and what strangers' words do there."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from annotate import EvaluationReport
from annotate.labels import labels_from_names
from annotate.metrics import Metric
from annotate.records import COLUMNS
from annotate.scoring import score
from tests.browsers import Seen, is_as_wide_as_its_window
from tests.hand_made import face_at, guess, no_face
from tests.labelled_folders import Row, drawn, forty, scored

HOSTILE = (
    "<img src=x onerror=alert(1)>.jpg",
    "</script><script>alert(2)</script>.png".replace("/", "\N{FRACTION SLASH}"),
    "'\"><svg onload=alert(3)>.png",
    "{{ 7 * 7 }}{% raw %}.png",
    "\u202egnp.evil\x1b[31m\n.png",
    "javascript:alert(4).png",
)


@pytest.fixture
def forty_faces(forty_report: tuple[EvaluationReport, Path]) -> Path:
    """The page of forty faces."""
    return forty_report[1] / "report.html"


def opened(seen: Seen, page: Path, width: int = 1280) -> Any:
    """The page in the browser, with all its pictures."""
    seen.page.set_viewport_size({"width": width, "height": 900})
    seen.page.goto(page.as_uri())
    for image in seen.page.locator("img").all():
        image.scroll_into_view_if_needed()
    return seen.page


def cells(page: Any, row: str) -> list[str]:
    """The cells of the first row of any table that is named so."""
    found = page.locator("tr", has=page.locator("th", has_text=row)).first
    return [text.strip() for text in found.locator("th, td").all_inner_texts()]


def test_the_page_has_the_figures_worked_out_by_hand(seen: Seen, forty_faces: Path) -> None:
    page = opened(seen, forty_faces)
    assert page.title() == "Evaluation of predictions"
    # All estimates are 3 years too old; 39 of 40 genders are right.
    assert cells(page, "mean absolute error")[:2] == ["mean absolute error, years", "3.00"]
    assert cells(page, "bias, years")[1] == "3.00"
    # Wilson, 40 of 40: 40 / 43.8415 = 91.2.
    assert cells(page, "within 5 years (CS@5)")[1:] == ["100.0", "91.2 to 100.0", "40"]
    assert cells(page, "labels inside")[1] == "100.0"
    assert cells(page, "accuracy, %")[1] == "97.5"
    assert page.locator(".tile strong").first.inner_text() == "3.00"
    # Of 3 faces labelled 15 to 17, all look 18, none 21; Wilson, 0 of 3: 3.8415 / 6.8415 = 56.1.
    assert cells(page, "looks 18+")[1] == "100.0"
    assert cells(page, "looks 21+")[1:3] == ["0.0", "0.0 to 56.1"]
    assert "3 faces labelled 13 to 17 (1 female, 2 male)" in page.locator("main").inner_text()


def test_the_page_is_one_file_that_asks_for_nothing(seen: Seen, forty_faces: Path) -> None:
    page = opened(seen, forty_faces)
    assert seen.complaints == []
    assert seen.requests == [forty_faces.as_uri()]
    assert page.locator("script, iframe, object, form, input, link[rel=stylesheet]").count() == 0
    widths = page.eval_on_selector_all("img", "found => found.map(image => image.naturalWidth)")
    assert len(widths) > 12
    assert all(width > 0 for width in widths)
    alts = page.eval_on_selector_all("figure img", "found => found.map(image => image.alt)")
    assert all(len(alt) > 20 for alt in alts)


def test_the_links_lead_to_the_sections(seen: Seen, forty_faces: Path) -> None:
    page = opened(seen, forty_faces)
    targets = page.eval_on_selector_all("nav a", "found => found.map(link => link.hash)")
    assert len(targets) == 8
    for target in targets:
        assert page.locator(target).count() == 1


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_has_to_be_moved_sideways_but_plots(
    seen: Seen, forty_faces: Path, width: int
) -> None:
    page = opened(seen, forty_faces, width)
    for details in page.locator("details").all():
        details.evaluate("found => { found.open = true }")
    assert is_as_wide_as_its_window(page)
    beyond = page.eval_on_selector_all(
        "main *",
        "found => found.filter(e => !e.closest('.slides') &&"
        " e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML.slice(0, 99))",
    )
    assert beyond == []
    hidden = "found => found.map(e => e.scrollWidth - e.clientWidth)"
    assert set(page.eval_on_selector_all(".scroll", hidden)) == {0}


def test_a_phone_gets_letters_that_can_be_read(seen: Seen, forty_faces: Path) -> None:
    page = opened(seen, forty_faces, 390)
    # Letters of plots are 10 points high, 20 px at 144 px an inch: on the screen 12 or more.
    shown = "found => found.map(e => e.getBoundingClientRect().width / e.naturalWidth)"
    assert min(page.eval_on_selector_all("figure img", shown)) >= 0.6
    assert page.locator(".slides").first.evaluate("e => e.scrollWidth > e.clientWidth")
    assert page.locator(".hint").first.is_visible()
    # Each row of a wide table is a block, whose numbers say what they are.
    table = page.locator(".blocks", has_text="By labelled gender").first
    titles = (
        table.locator("tr", has_text="female")
        .locator("td")
        .evaluate_all("found => found.map(e => getComputedStyle(e, '::before').content)")
    )
    assert titles == [
        *('"Faces"', '"Age error, years"', '"Age error, 95\u00a0% interval"', '"Bias, years"'),
        *('"Within 5 years,\u00a0%"', '"Gender right,\u00a0%"'),
        '"Gender right, 95\u00a0% interval"',
    ]
    assert table.get_by_role("row").count() == 3
    page.set_viewport_size({"width": 1280, "height": 900})
    assert not page.locator(".hint").first.is_visible()
    assert page.locator(".slides").first.evaluate("e => e.scrollWidth == e.clientWidth")


def test_likely_label_errors_are_shown_with_what_both_sides_say(
    seen: Seen, forty_faces: Path
) -> None:
    page = opened(seen, forty_faces)
    heading = page.locator("h2", has_text="Likely label errors")
    sheet = heading.locator("xpath=following-sibling::ul[1]")
    assert sheet.locator("li").count() == 1
    said = sheet.inner_text().splitlines()
    assert [line for line in said if line] == [
        "label: 15, male",
        "model: 18\u00a0±\u00a04, female 99.5\u00a0%",
        "15_0_0_0.jpg",
    ]
    assert sheet.locator("img").count() == 1


def hostile_rows(tmp_path: Path) -> tuple[list[Row], Path]:
    """Faces under strangers' names, and a table that calls them strange races."""
    rows = [drawn(name, 30 + 5 * i, 0.995) for i, name in enumerate(HOSTILE)]
    table = tmp_path / "labels.csv"
    with table.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "age", "gender", "race"])
        for name in HOSTILE:
            writer.writerow([name, 80, "male", f"<b>{name[:20].strip()}</b>".replace("\n", "")])
        writer.writerow(["<b>absent</b>.jpg", 30, "male", ""])
    return rows, table


def test_strangers_words_are_shown_and_do_nothing(seen: Seen, tmp_path: Path) -> None:
    rows, table = hostile_rows(tmp_path)
    report = scored(tmp_path, rows, labels=table, report_dir=tmp_path / "r")
    assert report.scores.scored == len(HOSTILE)
    page = opened(seen, tmp_path / "r" / "report.html", 390)
    assert seen.complaints == []
    assert len(seen.requests) == 1
    assert is_as_wide_as_its_window(page)
    text = page.locator("main").evaluate("found => found.textContent")
    assert "<img src=x onerror=alert(1)>.jpg" in text
    assert "{{ 7 * 7 }}{% raw %}.png" in text
    assert "<b>absent</b>.jpg" in text
    assert "\\u202egnp.evil\\x1b[31m\\x0a.png" in text
    assert not {"\u202e", "\x1b"} & set(page.content())
    assert page.locator("main svg, main b, main script, [onerror]").count() == 0


def test_a_page_of_photographs_says_what_was_not_found(seen: Seen, tmp_path: Path) -> None:
    rows = [face_at("30_1_0_1.jpg", 0, (0, 0, 9, 9)), face_at("30_1_0_1.jpg", 1, (40, 40, 60, 60))]
    rows += [no_face("40_0_0_2.jpg"), no_face("50_0_0_3.jpg", width=640, height=480)]
    scored(tmp_path, rows, report_dir=tmp_path / "r")
    page = opened(seen, tmp_path / "r" / "report.html")
    text = page.locator("main").inner_text()
    assert "3 labelled photographs were searched for faces. In 2 of them (66.7 %" in text
    assert "1 show more than one face" in text
    assert "no face found in 640 x 480 px" in page.locator("main").evaluate("e => e.textContent")
    assert cells(page, "not scored: no face")[1] == "2"
    # Files whose bytes are no picture have none in the page.
    assert page.locator(".sheet .none").count() == 1


def words(report: EvaluationReport) -> Iterator[str]:
    from annotate.report.evaluation_words import notices, sentences

    yield from (text for _, text in notices(report))
    yield from sentences(report)


def test_the_findings_are_said_in_words(tmp_path: Path) -> None:
    said = list(words(scored(tmp_path, forty())))
    assert said[0] == "It is not known which of these images the model was trained on."
    assert said[1].startswith("The age estimate is off by 3.00 years on average (3.00 to 3.00);")
    assert any("wider than it needs to be" in sentence for sentence in said)
    assert not any("too young" in sentence for sentence in said)


def test_the_largest_bias_is_said_of_bands_of_enough_faces(tmp_path: Path) -> None:
    """Errors of +2 years at 30, -4 at 45; of -20 at 85, of 29 faces."""
    rows = [guess(f"30_1_0_{i}.jpg", 32, 0.9) for i in range(30)]
    rows += [guess(f"45_1_0_{i}.jpg", 41, 0.9) for i in range(30)]
    rows += [guess(f"85_1_0_{i}.jpg", 65, 0.9) for i in range(29)]
    said = list(words(scored(tmp_path, rows, bootstrap=0)))
    assert (
        "Of the labelled age bands with 30 faces or more, the bias is largest at 30-39 (2.00 years"
        " too old) and 40-49 (4.00 years too young)." in said
    )
    assert (
        "The largest gap in age error among groups of 30 faces or more is by age band:"
        " 4.00 years for 40-49 (n 30), 2.00 years for 30-39 (n 30)." in said
    )


def test_predictions_without_an_age_distribution_leave_out_what_rests_on_one(
    seen: Seen, tmp_path: Path
) -> None:
    rows = [drawn(f"{30 + i}_1_0_{i}.jpg", 33 + i, 0.9) for i in range(4)]
    report = scored(tmp_path, rows, report_dir=tmp_path / "r")
    page = opened(seen, tmp_path / "r" / "report.html")
    text = page.locator("main").inner_text()
    assert text.count("no age label can be called likely wrong") == 1
    assert text.count("80 % interval") == 1
    assert "±" not in text
    assert "standard deviation" not in text
    heads = page.locator("table", has=page.locator("caption", has_text="of the estimate"))
    assert heads.locator("thead th").all_inner_texts() == [
        *("Estimate", "Faces", "Age error, years", "95\u00a0% interval", "Bias, years")
    ]
    for written in (report.render(), (tmp_path / "r" / "metrics.md").read_text("utf-8")):
        assert written.count("no age label can be called likely wrong") == 1
        assert written.count("80 % interval") == 1


def test_failed_images_are_named_and_counted_once(seen: Seen, tmp_path: Path) -> None:
    """Two are broken, one of them has a malformed name as well; another has one alone."""
    name = "<img src=x onerror=alert(1)>.jpg"
    failed = {"status": "decode_error", "error": "<b>cut</b> short"}
    rows = [guess(path, None, None, **failed) for path in (name, "30_1_0_1.jpg")]
    rows += [guess("nameless.jpg", 30, 0.9), drawn("31_1_0_2.jpg", 33, 0.9)]
    report = scored(tmp_path, rows, report_dir=tmp_path / "r")
    assert dict(report.not_scored) == {"decode_error": 2, "malformed_name": 1}
    page = opened(seen, tmp_path / "r" / "report.html")
    assert cells(page, "not scored: decode error")[1] == "2"
    assert cells(page, "not scored: malformed name")[1] == "1"
    folds = page.locator("summary").all_inner_texts()
    assert folds[0] == "2 × malformed name (not scored; 1 of them counted as decode error)"
    assert folds[1] == "2 × decode error (not scored)"
    page.locator("summary").nth(1).click()
    named = page.locator("details").nth(1).locator("li").all_inner_texts()
    assert named == [f"{path} <b>cut</b> short" for path in ("30_1_0_1.jpg", name)]
    assert seen.complaints == []
    assert "  30_1_0_1.jpg: <b>cut</b> short" in report.render().splitlines()
    markdown = (tmp_path / "r" / "metrics.md").read_text("utf-8")
    assert "- decode error: 2 (not scored)\n  - `30_1_0_1.jpg` \\<b\\>cut\\</b\\> short" in markdown


def test_the_largest_errors_say_how_many_of_them_are_likely_label_errors(tmp_path: Path) -> None:
    from annotate.report.evaluation_page import mistake_sheets

    rows = [guess("30_1_0_1.jpg", 80, 0.9, age_sd=2.0), guess("30_1_0_2.jpg", 60, 0.9, age_sd=20.0)]
    sheets = mistake_sheets(scored(tmp_path, rows, bootstrap=0))
    assert [face.path for face in sheets["ages"].mistakes] == ["30_1_0_1.jpg", "30_1_0_2.jpg"]
    assert sheets["ages"].meaning == (
        "2 faces whose estimate is farthest from the label. Of likely wrong labels there are 1,"
        " shown again below."
    )
    assert [face.path for face in sheets["doubted_ages"].mistakes] == ["30_1_0_1.jpg"]


@pytest.mark.parametrize(
    ("value", "plain", "plus"),
    [(-0.001, "0.00", "0.00"), (0.001, "0.00", "0.00"), (-0.37, "−0.37", "−0.37"),
     (0.37, "0.37", "+0.37"), (None, "–", "–")],
)  # fmt: skip
def test_what_rounds_to_nothing_has_no_sign(value: float | None, plain: str, plus: str) -> None:
    from annotate.report.wording import number, signed, years

    assert number(value) == plain
    assert signed(Metric(value, None, None, 9), years) == plus


def test_one_group_of_identical_files_is_one_group(tmp_path: Path) -> None:
    rows = [guess(f"30_1_0_{i}.jpg", 33, 0.9, data=b"same") for i in range(2)]
    assert "\n1 group of byte-identical files (2 files); " in scored(tmp_path, rows).render()


@pytest.mark.parametrize(
    ("parts", "kind", "said"),
    [
        ({}, "note", "not known"),
        ({"f" * 16: "train"}, "note", "trained on none of these images"),
        ({0: "train", 1: "validation"}, "warn", "on 1 of the scored images, and 1 more chose"),
        ({0: "train"}, "warn", "Of the 1 scored images that it was not trained on: age error 4.00"),
    ],
)
def test_what_the_model_was_trained_on_is_said_first(
    tmp_path: Path, parts: dict[Any, str], kind: str, said: str
) -> None:
    from annotate.report.evaluation_words import notices

    report = scored(tmp_path, [drawn("30_1_0_1.png", 33, 0.9), drawn("40_1_0_2.png", 44, 0.9)])
    hashes = report.scores.table.column("sha256").to_pylist()
    known = {hashes[key][:16] if isinstance(key, int) else key: part for key, part in parts.items()}
    labels = labels_from_names(["30_1_0_1.png", "40_1_0_2.png"])
    bare = report.scores.table.select([column.name for column in COLUMNS])
    scores = score(bare, labels, parts=known, resamples=0)
    found = next(notices(replace(report, scores=scores)))
    assert found[0] == kind
    assert said in found[1]


def test_the_terminal_says_who_looks_old_enough_and_which_labels_to_look_at(
    tmp_path: Path,
) -> None:
    lines = scored(tmp_path, forty(), bootstrap=0).render().splitlines()
    # Of 3 faces labelled 15 to 17 none looks 21, of the others, who are 18 or more, all do.
    assert (
        "looks 21 or older: 0.000 (0.000 to 0.561, n 3) of those labelled 13 to 17;"
        " 0.000 of those labelled 18 or more do not" in lines
    )
    assert "likely label errors: age 0, gender 1; metrics.json names them" in lines


def test_few_faces_are_a_warning(tmp_path: Path) -> None:
    said = list(words(scored(tmp_path, [drawn("30_1_0_1.png", 33, 0.9)])))
    assert "Only 1 face could be scored: the figures say next to nothing." in said


def test_groups_of_few_faces_are_marked_and_crossings_leave_them_out(
    seen: Seen, forty_faces: Path
) -> None:
    page = opened(seen, forty_faces)
    assert cells(page, "10-17 *")[1] == "3"
    summaries = page.locator("summary").all_inner_texts()
    # No crossing of two labels has 30 of the 40 faces.
    assert not any(summary.startswith("Age band and") for summary in summaries)
    assert page.locator("tr.muted").count() > 0


def test_many_faults_are_counted_and_the_first_are_named(tmp_path: Path) -> None:
    rows = [guess(f"<{i:04d}>.jpg", 30, 0.9) for i in range(2000)]
    rows.append(drawn("30_1_0_1.png", 33, 0.9))
    scored(tmp_path, rows, report_dir=tmp_path / "r")
    page = (tmp_path / "r" / "report.html").read_text("utf-8")
    assert "2,000 × malformed name (not scored)" in page
    assert "&lt;0049&gt;.jpg" in page
    assert "&lt;0050&gt;.jpg" not in page
    assert "… and 1,950 more: metrics.json lists all" in page
