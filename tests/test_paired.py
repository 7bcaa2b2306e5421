"""Paired comparison: differences of two evaluations, against plain bootstraps and by hand."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.stats import binomtest

from annotate import AnnotateError, Model, evaluate
from annotate.metrics import age_metrics, gender_metrics
from annotate.paired import compared
from annotate.paired_metrics import AGE_FIGURES, GENDER_FIGURES, paired_slice, paired_slices
from annotate.slices import Pairs
from annotate.writers import write_parquet
from tests.browsers import Seen, is_as_wide_as_its_window
from tests.conftest import Invoke, one_line
from tests.hand_made import guess, table_of


def made_pairs(n: int = 200, seed: int = 1) -> tuple[Pairs, Pairs]:
    """Predictions of two models for the same labels; the second one's errors are larger."""
    rng = np.random.default_rng(seed)
    age, female = rng.uniform(1, 90, n), rng.integers(0, 2, n).astype(float)
    labels = {"age_label": age, "female_label": female, "race": rng.choice(["x", "y", ""], n)}
    shared = rng.normal(0, 5, n)  # what is hard about a face is hard for both
    found = []
    for spread in (1.0, 3.0):
        guessed = age + shared + rng.normal(0, spread, n)
        probability = np.clip(female * 0.6 + 0.2 + rng.normal(0, 0.1 * spread, n), 0, 1)
        found.append(
            Pairs(
                **labels,
                age=guessed,
                age_p10=guessed - 6,
                age_p90=guessed + 6,
                female=(probability >= 0.5).astype(float),
                female_probability=probability,
                minor_probability=np.full(n, np.nan),
            )
        )
    return found[0], found[1]


def test_each_side_has_the_figures_that_it_has_alone() -> None:
    this, other = made_pairs()
    found = paired_slice(this, other, {}, resamples=20)
    for side, pairs in (("this", this), ("other", other)):
        age = age_metrics(pairs.age_label, pairs.age, pairs.age_p10, pairs.age_p90, resamples=0)
        gender = gender_metrics(
            pairs.female_label, pairs.female, pairs.female_probability, resamples=0
        )
        for name in AGE_FIGURES:
            alone = getattr(age, name).value
            assert getattr(found.age[name], side).value == pytest.approx(alone), name
        for name in GENDER_FIGURES:
            alone = getattr(gender, name).value
            assert getattr(found.gender[name], side).value == pytest.approx(alone), name


def test_a_difference_is_that_of_its_sides() -> None:
    found = paired_slice(*made_pairs(), {}, resamples=20)
    for difference in (*found.age.values(), *found.gender.values()):
        assert difference.this.value is not None
        assert difference.other.value is not None
        assert difference.difference.value == pytest.approx(
            difference.this.value - difference.other.value
        )


def plain_interval(values: Callable[[Any], float], n: int) -> tuple[float, float]:
    """A percentile bootstrap over faces, drawn one resample at a time."""
    rng = np.random.default_rng(99)
    drawn = [values(rng.integers(0, n, n)) for _ in range(4000)]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(low), float(high)


def test_intervals_are_those_of_a_plain_paired_bootstrap() -> None:
    this, other = made_pairs()
    found = paired_slice(this, other, {}, resamples=4000)
    sizes = [np.abs(pairs.age - pairs.age_label) for pairs in (this, other)]
    right = [(pairs.female == pairs.female_label).astype(float) for pairs in (this, other)]
    cases = {
        "mae": (found.age["mae"], lambda at: (sizes[0] - sizes[1])[at].mean()),
        "median_error": (
            found.age["median_error"],
            lambda at: float(np.median(sizes[0][at]) - np.median(sizes[1][at])),
        ),
        "cs5": (found.age["cs5"], lambda at: ((sizes[0] <= 5) * 1.0 - (sizes[1] <= 5))[at].mean()),
        "accuracy": (found.gender["accuracy"], lambda at: (right[0] - right[1])[at].mean()),
    }
    for name, (difference, values) in cases.items():
        low, high = plain_interval(values, len(this))
        width = high - low
        got = difference.difference
        assert got.low == pytest.approx(low, abs=0.08 * width), name
        assert got.high == pytest.approx(high, abs=0.08 * width), name


def test_what_is_hard_for_both_does_not_widen_the_interval() -> None:
    found = paired_slice(*made_pairs(400), {}, resamples=1000).age["mae"]
    assert found.is_clear
    width, wide = (
        (metric.high or 0) - (metric.low or 0) for metric in (found.difference, found.this)
    )
    assert width < wide


def test_the_other_way_round_everything_is_mirrored() -> None:
    this, other = made_pairs(80)
    there, back = (
        paired_slice(*pair, {}, resamples=200) for pair in ((this, other), (other, this))
    )
    for name in AGE_FIGURES:
        one, two = there.age[name].difference, back.age[name].difference
        assert one.value == pytest.approx(-(two.value or 0))
        assert (one.low, one.high) == pytest.approx((-(two.high or 0), -(two.low or 0)))


def test_a_model_does_not_differ_from_itself() -> None:
    this, _ = made_pairs(50)
    found = paired_slice(this, this, {}, resamples=100)
    for difference in (*found.age.values(), *found.gender.values()):
        metric = difference.difference
        assert (metric.value, metric.low, metric.high) == (0.0, 0.0, 0.0)
        assert not difference.is_clear


def test_all_right_on_both_sides_is_an_interval_for_each_and_none_for_the_difference() -> None:
    this, other = (pairs.take(np.arange(20)) for pairs in made_pairs())
    for pairs in (this, other):
        pairs.female[:] = pairs.female_label
        pairs.age_p10[:5] = np.nan
        pairs.age_p90[5:] = 200
        pairs.age_p10[5:] = 0
    found = paired_slice(this, other, {}, resamples=50)
    right, inside = found.gender["accuracy"], found.age["interval_coverage"]
    for difference, n in ((right, 20), (inside, 15)):
        wilson = binomtest(n, n).proportion_ci(method="wilson")
        for side in (difference.this, difference.other):
            assert (side.n, side.value) == (n, 1.0)
            assert (side.low, side.high) == pytest.approx((wilson.low, wilson.high))
        assert difference.is_none_seen
        assert not difference.is_clear
    assert not found.age["mae"].is_none_seen


def test_an_interval_from_0_to_0_is_said_in_words(folder: Path, tmp_path: Path) -> None:
    report(folder, tmp_path / "worse", BETTER)
    found = report(folder, tmp_path / "better", BETTER, compare=tmp_path / "worse")
    text = found.render()
    assert "Age error, better less worse: no difference seen, 0.00 years." in text
    assert "Gender right, better less worse: no difference seen, 0.0 percentage points." in text
    for name in ("metrics.md", "report.html"):
        written = (tmp_path / "better" / name).read_text("utf-8")
        assert "no difference seen" in written
        assert "0.0 to 0.0" not in written
        assert "+0.0" not in written
        assert "−0.0 " not in written
    # The predictions have no interval of the age: neither model has a coverage to compare.
    assert "labels inside the 80 % interval, %" not in text


def test_a_figure_rests_on_the_faces_that_both_models_have() -> None:
    this, other = made_pairs(10)
    this.age[:3] = np.nan
    other.age[2:5] = np.nan
    other.female_probability[:] = np.nan
    found = paired_slice(this, other, {}, resamples=10)
    assert found.n == 10
    assert found.age["mae"].this.n == found.age["mae"].difference.n == 5
    assert found.gender["accuracy"].difference.value is None


def test_slices_are_those_of_the_labels() -> None:
    this, other = made_pairs(120)
    found = paired_slices(this, other, resamples=10)
    assert sum(part.n for part in found["gender"]) == 120
    assert [part.where["race"] for part in found["race"]] == ["x", "y"]
    (young,) = (part for part in found["age_band"] if part.where["age_band"] == "3-9")
    chosen = (this.age_label >= 3) & (this.age_label < 10)
    alone = np.abs(this.age - this.age_label)[chosen].mean()
    assert young.n == chosen.sum()
    assert young.age["mae"].this.value == pytest.approx(alone)


# Reports on disk ---------------------------------------------------------------------------

NAMES = ["20_1_0_1.jpg", "30_0_1_2.jpg", "40_1_2_3.jpg", "50_0_3_4.jpg"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four files with UTKFace names; each holds its name."""
    root = tmp_path / "labelled"
    root.mkdir()
    for name in NAMES:
        (root / name).write_bytes(name.encode())
    return root


def report(folder: Path, target: Path, guesses: dict[str, tuple[float, float]], **more: Any) -> Any:
    """Evaluate predictions, age and probability by name, into a folder."""
    rows = table_of(*(guess(name, *said) for name, said in guesses.items()))
    described = json.dumps({"model": target.name, "model_sha256": "0" * 64})
    write_parquet(
        rows.replace_schema_metadata({"PANDAS_ATTRS": described}), target.with_suffix(".parquet")
    )
    predictions = target.with_suffix(".parquet")
    return evaluate(folder, predictions=predictions, report_dir=target, bootstrap=50, **more)


BETTER = dict(zip(NAMES, [(21, 0.9), (30, 0.2), (44, 0.4), (50, 0.3)], strict=True))
WORSE = dict(zip(NAMES, [(29, 0.9), (33, 0.7), (44.25, 0.4), (40, 0.3)], strict=True))


def test_two_reports_side_by_side(folder: Path, tmp_path: Path) -> None:
    report(folder, tmp_path / "worse", WORSE)
    better = report(folder, tmp_path / "better", BETTER, compare=tmp_path / "worse")
    found = better.compared
    assert (found.this.model, found.other.model) == ("better", "worse")
    assert (found.this.scored, found.this.only, found.other.only) == (4, 0, 0)
    mae = found.overall.age["mae"]
    # Errors of 1, 0, 4 and 0 against 9, 3, 4.25 and 10 years.
    assert mae.this.value == pytest.approx(5 / 4)
    assert mae.other.value == pytest.approx(26.25 / 4)
    assert mae.difference.value == pytest.approx(-21.25 / 4)
    # 40_1 is taken for a man by both, 30_0 for a woman by the worse one.
    assert found.overall.gender["accuracy"].difference.value == pytest.approx(0.25)
    right = found.genders_right
    assert (right.this, right.other, right.equal, right.neither) == (1, 0, 2, 1)
    nearer = found.ages_nearer
    assert (nearer.this, nearer.other, nearer.equal) == (3, 0, 1)  # a quarter year is nothing
    written = json.loads((tmp_path / "better" / "compared.json").read_text("utf-8"))
    assert written == found.to_dict()
    assert written["in_both"] == 4
    text = better.render()
    assert f"compared with {tmp_path / 'worse'}" in text
    assert "Age error, better less worse: −5.31" in text
    markdown = (tmp_path / "better" / "metrics.md").read_text("utf-8")
    assert "### Compared with `worse`" in markdown
    assert "| Figure | better | worse | Difference | 95 % interval |" in markdown


@pytest.mark.long
def test_a_comparison_changes_no_other_figure(folder: Path, tmp_path: Path) -> None:
    report(folder, tmp_path / "worse", WORSE)
    report(folder, tmp_path / "better", BETTER)
    alone = (tmp_path / "better" / "metrics.json").read_bytes()
    assert not (tmp_path / "better" / "compared.json").exists()
    report(folder, tmp_path / "better", BETTER, compare=tmp_path / "worse")
    assert (tmp_path / "better" / "metrics.json").read_bytes() == alone
    assert (tmp_path / "better" / "compared-age-by-band.png").exists()
    report(folder, tmp_path / "better", BETTER)
    assert not list((tmp_path / "better").glob("compared*"))


def test_a_report_may_be_compared_with_the_one_that_it_replaces(
    folder: Path, tmp_path: Path
) -> None:
    report(folder, tmp_path / "same", WORSE)
    found = report(folder, tmp_path / "same", BETTER, compare=tmp_path / "same").compared
    assert found.overall.age["mae"].difference.value == pytest.approx(-21.25 / 4)


def test_images_are_joined_by_content(folder: Path, tmp_path: Path) -> None:
    report(folder, tmp_path / "worse", WORSE)
    # All have moved, and the bytes of one have changed.
    moved = tmp_path / "elsewhere" / "moved"
    moved.mkdir(parents=True)
    for name in NAMES:
        (folder / name).rename(moved / name)
    (moved / NAMES[3]).write_bytes(b"other")
    contents = [guess(name, 0, 0)["sha256"] for name in NAMES[:3]] + ["0" * 64]
    rows = [
        guess(f"moved/{name}", *BETTER[name], sha256=content)
        for name, content in zip(NAMES, contents, strict=True)
    ]
    write_parquet(table_of(*rows), tmp_path / "now.parquet")
    found = evaluate(
        moved.parent, predictions=tmp_path / "now.parquet", compare=tmp_path / "worse", bootstrap=0
    ).compared
    assert found is not None
    assert (found.overall.n, found.this.only, found.other.only) == (3, 1, 1)
    assert found.overall.age["mae"].other.value == pytest.approx((9 + 3 + 4.25) / 3)


def test_copies_that_are_labelled_differently_keep_their_labels(tmp_path: Path) -> None:
    folder = tmp_path / "labelled"
    folder.mkdir()
    same = hashlib.sha256(b"same").hexdigest()
    for name in ("20_1_0_1.jpg", "70_0_0_2.jpg"):
        (folder / name).write_bytes(b"same")
    rows = [guess(name, 30, 0.9, sha256=same) for name in ("70_0_0_2.jpg", "20_1_0_1.jpg")]
    write_parquet(table_of(*rows), tmp_path / "said.parquet")
    said = tmp_path / "said.parquet"
    evaluate(folder, predictions=said, report_dir=tmp_path / "old", bootstrap=0)
    found = evaluate(folder, predictions=said, compare=tmp_path / "old", bootstrap=0).compared
    assert found is not None
    assert (found.overall.n, found.labels_differ) == (2, 0)


def test_the_labels_of_this_report_count_for_both(folder: Path, tmp_path: Path) -> None:
    labels = tmp_path / "t.csv"
    labels.write_text("path,age\n" + "".join(f"{name},45\n" for name in NAMES))
    report(folder, tmp_path / "worse", WORSE, labels=labels)
    found = report(folder, tmp_path / "better", BETTER, compare=tmp_path / "worse").compared
    assert found.labels_differ == 4
    assert found.overall.age["mae"].other.value == pytest.approx(26.25 / 4)


def test_the_order_of_rows_does_not_matter(folder: Path, tmp_path: Path) -> None:
    report(folder, tmp_path / "worse", WORSE)
    this = pq.read_table(tmp_path / "worse" / "predictions.parquet")
    first = compared(this, tmp_path / "worse", resamples=100)
    order = list(range(len(this)))
    random.Random(3).shuffle(order)
    shuffled = this.take(pa.array(order))
    write_parquet(shuffled, tmp_path / "worse" / "predictions.parquet")
    assert compared(shuffled, tmp_path / "worse", resamples=100) == first


def spoiled(table: pa.Table, name: str, values: pa.Array | None) -> pa.Table:
    place = table.schema.get_field_index(name)
    return table.remove_column(place) if values is None else table.set_column(place, name, values)


@pytest.mark.parametrize(
    ("name", "values", "said"),
    [
        ("scored", None, "'scored'"),
        ("label_age", pa.array(["old"] * 4), "label_age"),
        ("age", pa.array([[1]] * 4), "age"),
        ("scored", pa.array([False] * 4), "none of the 4 scored images"),
        ("sha256", pa.array(["x"] * 4), "expected a report on the same images"),
    ],
)
def test_what_is_no_report_on_the_same_images_is_one_line(
    folder: Path, tmp_path: Path, invoke: Invoke, name: str, values: Any, said: str
) -> None:
    report(folder, tmp_path / "worse", WORSE)
    path = tmp_path / "worse" / "predictions.parquet"
    pq.write_table(spoiled(pq.read_table(path), name, values), path)
    with pytest.raises(AnnotateError, match=said) as caught:
        report(folder, tmp_path / "better", BETTER, compare=tmp_path / "worse")
    assert str(caught.value).isprintable()


def test_a_folder_without_a_report_is_told_before_any_work(
    folder: Path, tmp_path: Path, invoke: Invoke
) -> None:
    code, out, err = invoke("evaluate", str(folder), "--compare", str(tmp_path / "no"))
    assert (code, out) == (1, "")
    assert "expected the folder of a report" in one_line(err)


def test_strangers_names_and_numbers_in_a_page(seen: Seen, folder: Path, tmp_path: Path) -> None:
    report(folder, tmp_path / "worse", WORSE)
    path = tmp_path / "worse" / "predictions.parquet"
    rows = pq.read_table(path)
    rows = spoiled(rows, "age", pa.array([float("inf"), float("nan"), 3e38, 40], pa.float32()))
    hostile = json.dumps({"model": "</script><img src=x onerror=alert(1)>`|", "model_sha256": []})
    write_parquet(rows.replace_schema_metadata({"PANDAS_ATTRS": hostile}), path)
    found = report(folder, tmp_path / "better", BETTER, compare=tmp_path / "worse").compared
    assert found.overall.age["mae"].difference.n == 2  # neither infinite nor NaN
    page = tmp_path / "better" / "report.html"
    seen.page.goto(page.as_uri())
    assert "</script><img" in seen.page.locator("#compared").inner_text()
    assert seen.complaints == []
    assert seen.requests == [page.as_uri()]
    for width in (1280, 390):
        seen.page.set_viewport_size({"width": width, "height": 900})
        assert is_as_wide_as_its_window(seen.page)
    json.loads((tmp_path / "better" / "compared.json").read_text("utf-8"))


def test_the_page_sets_two_models_side_by_side(seen: Seen, folder: Path, tmp_path: Path) -> None:
    report(folder, tmp_path / "worse", WORSE)
    report(folder, tmp_path / "better", BETTER, compare=tmp_path / "worse")
    seen.page.goto((tmp_path / "better" / "report.html").as_uri())
    seen.page.get_by_role("link", name="Compared").click()
    assert seen.page.locator("#compared").inner_text() == "Compared with worse"
    row = seen.page.locator("tr", has_text="mean absolute error").last
    assert row.locator("td").all_inner_texts()[:3] == ["1.25", "6.56", "−5.31"]
    assert seen.page.locator("img[alt^='Age error, difference by age']").count() == 1
    assert seen.complaints == []


def test_real_models_differ_as_they_should(
    tmp_path: Path, fake_model: Model, real_data: Path
) -> None:
    first = evaluate(
        real_data / "utkface", model="nano", limit=60, report_dir=tmp_path / "nano", bootstrap=50
    )
    fake = evaluate(
        real_data / "utkface",
        model=fake_model,
        limit=60,
        compare=tmp_path / "nano",
        bootstrap=50,
    ).compared
    assert fake is not None
    mae = fake.overall.age["mae"]
    assert mae.other.value == pytest.approx(first.scores.overall.age.mae.value)
    assert mae.is_clear
    assert (mae.difference.value or 0) > 0
