"""Model cards: a model.json made by hand in, and what a person reads out."""

from __future__ import annotations

import copy
import re

import pytest

from annotate.model import MODELS, read_info
from tests.cards import age_of, crossed, figures_of_test_part, gender_of, made_info, metric_of
from training.card import card
from training.markdown import figure, listing, number, table
from training.recipe import recipe_rows

SECTIONS = [
    "In short",
    "Use",
    "Data and licence",
    "Training",
    "Output",
    "Test part: no choice was made on it",
    "Groups",
    "Where it fails",
    "Calibration",
    "Bad conditions",
    "Another source: APPA-REAL",
    "Validation part: it chose the epoch and the calibration, so it flatters",
    "Speed",
    "Limits",
    "Files",
]
ROWS = [{"val_age_mae": 9.0, "val_gender_accuracy": 0.5}, {"val_age_mae": 5.5,
        "val_gender_accuracy": 0.91}]  # fmt: skip


def _section(text: str, title: str) -> str:
    return text.split(f"## {title}\n\n")[1].split("\n\n## ")[0]


@pytest.fixture(scope="module")
def page() -> str:
    return card(made_info(), ROWS)


def test_every_section_is_there_in_order_and_nothing_is_undefined(page: str) -> None:
    assert re.findall(r"^## (.*)$", page, re.MULTILINE) == SECTIONS
    assert page.startswith("# hand\n\nA network made by hand.\n\n## In short\n")
    assert page.endswith("|\n")
    assert re.search(r"\b(None|nan|NaN|inf)\b|[{}]|\n\n\n", page) is None


def test_tables_are_whole(page: str) -> None:
    blocks = [block for block in page.split("\n\n") if block.startswith("|")]
    assert len(blocks) > 8
    for block in blocks:
        widths = {line.count("|") for line in block.splitlines()}
        assert len(widths) == 1, block
        assert len(block.splitlines()) > 2, block


def test_the_headlines_are_the_figures_of_the_test_part(page: str) -> None:
    head = _section(page, "In short")
    assert "1,234 faces of UTKFace that no choice was made on: age MAE 5.25 (5.15 to 5.35)" in head
    assert "labelled 21 to 60: age MAE 4.75 (4.65 to 4.85)" in head
    assert "1,470 photographs of APPA-REAL: age MAE 6.66 (6.56 to 6.76) years" in head
    assert head.count("gender accuracy") == 2  # APPA-REAL has no genders


def test_the_largest_gaps_are_named(page: str) -> None:
    groups = _section(page, "Groups")
    assert "| female, White | 30 | 6.00 (5.90 to 6.10) |" in groups
    assert "The largest gaps between groups of at least 30 faces:" in groups
    assert (
        "| gender and race | age MAE, years | 2.50 | female, White: 6.00 (5.90 to 6.10)"
        " | female, Asian: 3.50 (3.40 to 3.60) |"
    ) in groups
    assert (
        "| race | gender accuracy | 0.180 | Asian: 0.810 (0.710 to 0.910)"
        " | White: 0.990 (0.890 to 1.090) |"
    ) in groups


def test_where_it_fails_is_read_off_the_figures(page: str) -> None:
    fails = _section(page, "Where it fails").splitlines()
    assert fails == [
        "- Ages are farthest off for faces labelled 80+ (MAE 12.50, bias 0.50 years),"
        " 60-69 (MAE 9.50, bias 0.50 years) and 70-79 (MAE 8.50, bias 0.50 years).",
        "- Genders are least accurate for faces labelled 0-2 (0.610), 80+ (0.800) and"
        " 70-79 (0.900).",
        "- Of the bad conditions below, ages suffer most from this one: Gaussian blur, with 1.31"
        " times the MAE of the clean images.",
        "- Genders suffer most from this one: JPEG of quality 20, with an accuracy of 0.870"
        " instead of 0.930.",
    ]


def test_calibration_names_the_band_that_is_farthest_off(page: str) -> None:
    found = _section(page, "Calibration")
    assert "Female probability: expected calibration error 0.500 (0.400 to 0.600)." in found
    assert "| P(age < 18), 777 faces | test part |" in found
    assert "| 80+ | 200 | 0.610 (0.510 to 0.710) | 9.00 (8.90 to 9.10) |" in found
    # 0.61 is 0.19 away from 0.80, 0.93 is 0.13; the band of 29 faces does not count.
    assert found.endswith("predicted 80+, 0.610 (0.510 to 0.710).")


def test_faces_that_were_not_found_and_other_faults_are_told(page: str) -> None:
    other = _section(page, "Another source: APPA-REAL")
    assert "30 of 1,500 photographs: no face found; not scored." in other
    assert "The model met none of them in its training." in other
    assert "Other faults: 2 `missing_file`." in other
    assert other.endswith("There are no gender labels.")
    info = made_info()
    info["figures"]["appa_real"] |= {"trained_on": 1200, "gender": gender_of(0.5)}
    other = _section(card(info, ROWS), "Another source: APPA-REAL")
    assert "The model met 1,200 of them in its training, which flatters it." in other
    assert "| accuracy | 0.500 (0.400 to 0.600) |" in other
    assert "1 more could not be read." in _section(page, "Bad conditions")


def test_data_and_recipe_are_in_words(page: str) -> None:
    data = _section(page, "Data and licence")
    assert "1,500 labelled images: 1,000 train, 200 validation, 300 test." in data
    assert "seed 7, 10 % test, 20 % of the rest validation" in data
    assert "Trained on 3,952 photographs as well" in data
    assert "Snapshots. Licence of the photographs: unfree." in data
    assert "- 2 `identical_file`: files with the same bytes as another" in data
    assert "- 33 `no_face`" in data
    assert dict(recipe_rows(made_info())) == {
        "network": "`drawn`, 64 px RGB",
        "first weights": "Published weights, Apache-2.0; layers up to `block2` keep them",
        "image sizes": "48 px from epoch 1 and 64 px from epoch 9; kept at 72 px",
        "epochs": "12, batches of 64; the one with the lowest `val_age_mae` is kept",
        "optimiser": "AdamW, learning rate 0.001, 0.5 epochs of warm-up, then down to 0 on a"
        " cosine, weight decay 0.03",
        "losses": "age: cross-entropy, weight 1; gender: cross-entropy, weight 1.5",
        "age labels": "Gaussians over 100 ages, standard deviation 2 years",
        "teachers": "`large`: what it says of an image counts 70 %, its labels the rest",
        "augmentation": "mirrored with probability 0.5, zoom 0.9 to 1.2, turned by up to 15°,"
        " moved by up to 7 % of the side, brightness ±30 %",
    }
    output = _section(page, "Output")
    assert "temperature that depends on the age, 1.500 at 3 and 0.750 at 15 years" in output
    assert "between the 8.8 % and the 91.2 % quantile" in output
    assert "- crops a second: 812\n- machine: two cores" in page
    assert "Cost: 1.50 hours for 2 epochs on two cores. Kept: epoch 2" in page


def test_several_teachers_and_the_runs_before_are_named() -> None:
    info = made_info()
    info["training"]["teachers"] = ["large", "small"]
    info["training"]["recipe"] |= {"block_dropout": 0.2, "start_share": 0.25}
    info["training"]["start"] = info["training"] | {
        "command": "python -m training fit --preset foot",
        "backend": "jax",
        "epochs": 9,
        "seconds": 9000,
        "start": info["training"] | {"command": "python -m training fit --preset toe"},
    }
    rows = dict(recipe_rows(info))
    assert rows["teachers"] == (
        "`large` and `small`: what they say on average of an image counts 70 %, its labels the rest"
    )
    assert rows["first weights"].startswith("those of the run above; layers up to `block2`")
    assert (
        rows["stochastic depth"]
        == "the last block left out with probability 0.2, earlier ones less"
    )
    assert rows["average"] == "of the weights that it came to and, by 25 %, of the first"
    training = _section(card(info, ROWS), "Training")
    assert "(before averaging and calibration)" in training
    told = [
        "exported from this run:\n",
        "    KERAS_BACKEND=torch python -m training fit --preset toe\n",
        "Its cost: 1.50 hours for 2 epochs on two cores. Then:\n",
        "    KERAS_BACKEND=jax python -m training fit --preset foot\n",
        "Its cost: 2.50 hours for 9 epochs on two cores. Then:\n",
        f"    KERAS_BACKEND=torch {info['training']['command']}\n",
    ]
    places = [training.index(words) for words in told]
    assert places == sorted(places)
    assert "named as they were when they ran" in training
    assert "views" not in rows
    info["training"]["recipe"]["views"] = 1
    assert dict(recipe_rows(info))["views"] == "drawn anew, others than the run above saw"


def test_a_recipe_of_before_there_could_be_several_teachers_names_its_one() -> None:
    info = made_info()
    del info["training"]["teachers"]
    info["training"]["teacher"] = "old"
    assert dict(recipe_rows(info))["teachers"].startswith("`old`: what it says of an image")


def test_the_learning_rates_that_a_training_began_again_with_are_told() -> None:
    info = made_info()
    for restarts, said in (
        ([[13, 0.0005]], "cosine, again from 0.0005 at epoch 13, weight decay 0.03"),
        ([[5, 0.001], [9, 2e-5]], "again from 0.001 at epoch 5 and from 2e-05 at epoch 9, weight"),
        ([], "cosine, weight decay 0.03"),
    ):
        info["training"]["recipe"]["restarts"] = restarts
        assert said in dict(recipe_rows(info))["optimiser"]


def test_what_is_missing_is_left_out_cleanly() -> None:
    info = made_info()
    info["figures"] = {}
    for key in ("speed", "commit"):
        info[key] = None
    info["training"] |= {"machine": None, "pretrained": None, "recipe": None}
    del info["training"]["teachers"]
    del info["data"]["photographs"]
    info["data"]["faults"] = []
    page = card(info, ROWS)
    kept = ["Use", "Data and licence", "Training", "Output", "Limits", "Files"]
    assert re.findall(r"^## (.*)$", page, re.MULTILINE) == kept
    assert re.search(r"\b(None|nan)\b|\n\n\n", page) is None
    assert "| first weights | random |" in page
    assert "No faults were met in the images." in page


def test_a_model_without_an_age_distribution_and_few_faces() -> None:
    info = made_info()
    info["heads"]["age"] = {"kind": "regression"}
    info["calibration"] |= {"age_temperature": 1.0}
    info["figures"] = {"test": figures_of_test_part()}
    test = info["figures"]["test"]
    del test["minor"], test["predicted_age_bands"], test["largest_gaps"]
    for figures in (test["age"], test["ages_21_to_60"]["age"]):
        figures["interval_coverage"] = metric_of(None, 0)
    test["ages_21_to_60"] |= {"age": age_of(None, n=0), "gender": gender_of(None, n=0)}
    test["slices"] = {"gender_x_race": [crossed("male", "Asian", 4.5, 0.8, n=29)]}
    page = card(info, ROWS)
    titles = re.findall(r"^## (.*)$", page, re.MULTILINE)
    assert "Where it fails" not in titles
    assert _section(page, "Calibration").startswith("Female probability")
    assert "largest gap" not in page
    assert "this model gives no intervals" in page
    assert "inside the 80 % interval" not in page
    assert "| mean absolute error, years | 5.25 (5.15 to 5.35) | – |" in page
    assert "None" not in page


def test_a_card_does_not_change_what_it_reads() -> None:
    info = made_info()
    before = copy.deepcopy(info)
    card(info, ROWS)
    assert info == before


def test_older_models_still_have_a_card() -> None:
    """The bundled model's model.json is real, whatever exported it."""
    info, _ = read_info(MODELS / "base")
    rows = [{"val_age_mae": 5.0, "val_gender_accuracy": 0.9}] * info["training"]["epochs"]
    page = card(info, rows)
    mae = info["figures"]["test"]["age"]["mae"]
    assert f"age MAE {mae['value']:.2f} ({mae['low']:.2f} to {mae['high']:.2f}) years" in page
    assert re.search(r"\b(None|nan)\b", page) is None


def test_figures_numbers_and_lists() -> None:
    assert figure(metric_of(1.004), 1) == "1.0 (0.9 to 1.1)"
    assert figure({"value": 2.0, "low": None, "high": None, "n": 1}, 2) == "2.00"
    assert [number(-0.004, 2), number(-0.006, 2), number(None, 2)] == ["0.00", "-0.01", "–"]
    assert [listing(["a", "b", "c"][:n]) for n in range(4)] == ["", "a", "a and b", "a, b and c"]
    assert table(("x", "y"), [("a|b", "1")]) == "| x | y |\n| --- | ---: |\n| a\\|b | 1 |"
