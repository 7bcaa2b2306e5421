"""Slices: the faces of each group, by label and by prediction, are those that pandas finds."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pandas as pd
import pytest

from annotate.slices import (
    BAND_NAMES,
    FEW,
    MAX_RACES,
    Pairs,
    age_band,
    all_slices,
    predicted_age_bands,
    score_slice,
)
from tests.test_metrics import floats, some_pairs


def test_slices_hold_the_faces_that_pandas_finds() -> None:
    pairs = some_pairs(500, seed=2)
    frame = pd.DataFrame(
        {
            "gender": np.where(pairs.female_label == 1, "female", "male"),
            "race": pairs.race,
            "band": pd.cut(
                pairs.age_label, [0, 3, 10, 18, 30, 40, 50, 60, 70, 80, 200], right=False
            ),
            "size": np.abs(pairs.age - pairs.age_label),
        }
    )
    frame = frame[frame.race != ""]
    found = all_slices(pairs, resamples=0)
    expected = frame.groupby(["gender", "race"])["size"].agg(["count", "mean"])
    assert {(s.where["gender"], s.where["race"]): s.n for s in found["gender_x_race"]} == (
        expected["count"].to_dict()
    )
    for part in found["gender_x_race"]:
        key = (part.where["gender"], part.where["race"])
        assert part.age.mae.value == pytest.approx(expected["mean"][key])
    crossed = frame.groupby(["band", "gender", "race"], observed=True).ngroups
    assert len(found["age_band_x_gender_x_race"]) == crossed
    assert sum(part.n for part in found["age_band"]) == 500
    assert [part.where["age_band"] for part in found["age_band"]][:3] == ["0-2", "3-9", "10-17"]


def test_bands_begin_where_they_say() -> None:
    ages = floats(0, 2, 2.99, 3, 9, 10, 17.9, 18, 79, 80, 130, float("nan"))
    assert age_band(ages).tolist() == [0, 0, 0, 1, 1, 2, 2, 3, 8, 9, 9, -1]


def test_small_slices_are_marked() -> None:
    assert score_slice(some_pairs(FEW - 1), {}, resamples=0).few
    assert not score_slice(some_pairs(FEW), {}, resamples=0).few


def test_a_table_full_of_races_gives_slices_of_the_most_frequent_ones() -> None:
    n = 3 * MAX_RACES
    pairs = some_pairs(n + 5)
    races = np.array([f"r{i:04d}" for i in range(n)] + ["common"] * 5)
    many = Pairs(**{f.name: getattr(pairs, f.name) for f in fields(pairs)} | {"race": races})
    found = all_slices(many, resamples=0)["race"]
    assert len(found) == MAX_RACES
    assert found[0].where == {"race": "common"}


def test_predicted_bands_hold_the_faces_that_pandas_finds() -> None:
    pairs = some_pairs(400, seed=7)
    edges = [-100, 0, 3, 10, 18, 30, 40, 50, 60, 70, 80, 200]
    frame = pd.DataFrame(
        {
            "band": pd.cut(pairs.age, edges, right=False, labels=["below 0", *BAND_NAMES]),
            "error": pairs.age - pairs.age_label,
        }
    )
    frame["size"] = frame.error.abs()
    frame["covered"] = frame["size"] <= 7
    expected = frame[frame.band != "below 0"].groupby("band", observed=True)
    found = {part.where["predicted_age_band"]: part for part in predicted_age_bands(pairs)}
    assert {name: part.n for name, part in found.items()} == expected["error"].count().to_dict()
    assert list(found) == [name for name in BAND_NAMES if name in found]
    for name, part in found.items():
        assert part.age.mae.value == pytest.approx(expected["size"].mean()[name])
        assert part.age.bias.value == pytest.approx(expected["error"].mean()[name])
        coverage = part.age.interval_coverage
        assert coverage.value == pytest.approx(expected["covered"].mean()[name])
        assert coverage.low is not None
        assert coverage.high is not None
        assert coverage.low <= coverage.value <= coverage.high
        assert coverage.n == part.n


def test_predicted_bands_leave_out_what_is_not_known() -> None:
    nan = float("nan")
    unknown = dict.fromkeys(("female_label", "female", "female_probability"), floats(nan, nan, nan))
    pairs = Pairs(
        age_label=floats(17, nan, 30),
        age=floats(18, 40, nan),
        age_p10=floats(nan, 30, 20),
        age_p90=floats(nan, 50, 40),
        minor_probability=floats(nan, nan, nan),
        race=np.array(["", "", ""]),
        **unknown,
    )
    (part,) = predicted_age_bands(pairs)
    # Labelled 17, in the band of 18 by its prediction; the model gave it no interval.
    assert (part.where, part.n) == ({"predicted_age_band": "18-29"}, 1)
    assert (part.age.bias.value, part.age.interval_coverage.value) == (1.0, None)
    assert part.age.interval_coverage.n == 0
    assert predicted_age_bands(some_pairs(0)) == ()
