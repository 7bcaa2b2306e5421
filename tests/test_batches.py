"""Batches: the targets and weights of faces, worked out by hand."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from annotate.engines import import_keras
from training.augmentation import augment
from training.data import FaceData
from training.material import Lessons
from training.presets import BASE, RGB200

import_keras()

from training.batches import Batches, age_distribution  # noqa: E402

AGES = 117
NAN = float("nan")

SMALL = dataclasses.replace(BASE, size_px=12, kept_px=16, sizes=((1, 8), (3, 12)), batch_size=4)
TAUGHT = dataclasses.replace(SMALL, teachers=("base",), teacher_share=0.6)

OTHER_VIEWS = dataclasses.replace(RGB200, views=7)


def _faces(count: int = 10, side: int = 16, female: list[float] | None = None) -> FaceData:
    """Faces of noise, the first of age 20, each a year older than the one before."""
    pixels = np.random.default_rng(1).integers(0, 256, (count, side, side, 3), np.uint8)
    names = [f"{index}.jpg" for index in range(count)]
    genders = np.arange(count) % 2 if female is None else female
    ages = np.arange(20, 20 + count, dtype=np.float32)
    return FaceData(names, names, pixels, ages, np.asarray(genders, np.float32))


def _taught(faces: FaceData) -> Lessons:
    """With a teacher that says for each face: a third each on three ages, and a probability."""
    ages = np.zeros((len(faces), AGES), np.float16)
    rows = np.arange(len(faces))
    for offset in (1, 2, 3):
        ages[rows, rows + 20 + offset] = 1 / 3
    female = np.linspace(0.1, 0.9, len(faces), dtype=np.float32)
    return Lessons(faces, ages, female)


def _bell(age: float, sigma: float) -> npt.NDArray[np.float64]:
    weights = stats.norm.pdf(np.arange(AGES), age, sigma)
    return np.asarray(weights / weights.sum())


def test_age_distributions_are_gaussians_around_the_label() -> None:
    rows = age_distribution(np.array([0.0, 50.0], np.float32), 117, 2.0)
    assert rows.sum(axis=1) == pytest.approx([1.0, 1.0], abs=1e-5)
    # Far from the edges the peak is 1 / (2 sqrt(2 pi)), one sigma away exp(-1/2) of it.
    assert rows[1, 50] == pytest.approx(0.19947, abs=1e-4)
    assert rows[1, 52] / rows[1, 50] == pytest.approx(0.60653, abs=1e-4)
    assert rows[0, 0] == rows[0].max()


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0, 130, width=32), min_size=1, max_size=5), st.floats(0.5, 20))
def test_every_age_gives_a_distribution(ages: list[float], sigma: float) -> None:
    """Also ages that are no whole numbers, and those over the last class."""
    rows = age_distribution(np.array(ages, np.float32), AGES, sigma)
    assert rows.dtype == np.float32
    assert np.isfinite(rows).all()
    assert rows.min() >= 0
    assert rows.sum(axis=1) == pytest.approx(np.ones(len(ages)), abs=1e-5)
    nearest = np.clip(np.array(ages), 0, AGES - 1)
    assert np.abs(rows.argmax(axis=1) - nearest).max() <= 0.5


def test_batches_follow_from_seed_epoch_and_place() -> None:
    lessons = Lessons(_faces(150, side=200))
    first, second = (Batches(lessons, RGB200, training=True, seed=3) for _ in range(2))
    assert len(first) == 3  # of 64, 64 and 22
    assert np.array_equal(first[1][0], second[1][0])
    second.epoch = 2
    assert not np.array_equal(first[1][0], second[1][0])
    third = Batches(lessons, RGB200, training=True, seed=4)
    assert not np.array_equal(first[1][0], third[1][0])
    fourth, fifth = (Batches(lessons, OTHER_VIEWS, training=True, seed=3) for _ in range(2))
    assert not np.array_equal(first[1][0], fourth[1][0])
    assert np.array_equal(fourth[1][0], fifth[1][0])
    ages = [age for index in range(len(first)) for age in first[index][1]["age"][:, 0]]
    assert sorted(ages) == lessons.faces.ages.tolist()
    assert ages != sorted(ages)


def test_training_batches_come_augmented_at_the_size_of_their_epoch() -> None:
    lessons = Lessons(_faces())
    batches = Batches(lessons, SMALL, training=True, seed=3)
    for epoch, side in ((1, 8), (2, 8), (3, 12), (12, 12)):
        batches.epoch = epoch
        sizes = [batches[index][0].shape for index in range(len(batches))]
        assert sizes == [(4, side, side, 3), (4, side, side, 3), (2, side, side, 3)]
    # The rule by hand: the order follows from seed and epoch, the views from the batch as well.
    order = np.random.default_rng((3, 12)).permutation(10)[4:8]
    rng = np.random.default_rng((3, 12, 1))
    expected = augment(lessons.faces.pixels[order], 12, SMALL.augmentation, rng)
    pixels, targets, _ = batches[1]
    assert np.array_equal(pixels, expected)
    np.testing.assert_allclose(targets["age"], [_bell(20.0 + i, 2.0) for i in order], atol=1e-6)
    assert targets["gender"][:, 0].tolist() == [i % 2 for i in order]


def test_validation_batches_are_the_images_in_order() -> None:
    faces = _faces(side=12)
    batches = Batches(Lessons(faces), SMALL, training=False)
    found = [batches[index] for index in range(len(batches))]
    assert [len(pixels) for pixels, _, _ in found] == [4, 4, 2]
    assert np.array_equal(np.concatenate([pixels for pixels, _, _ in found]), faces.pixels)
    ages = np.concatenate([targets["age"] for _, targets, _ in found])
    assert ages.argmax(axis=1).tolist() == faces.ages.tolist()


def test_a_face_of_unknown_gender_does_not_count_for_gender() -> None:
    faces = _faces(4, side=12, female=[1.0, NAN, 0.0, NAN])
    _, targets, weights = Batches(Lessons(faces), SMALL, training=False)[0]
    assert targets["gender"].shape == (4, 1)
    assert np.isfinite(targets["gender"]).all()
    assert targets["gender"][[0, 2], 0].tolist() == [1.0, 0.0]
    assert weights["gender"].tolist() == [1.0, 0.0, 1.0, 0.0]
    assert weights["age"].tolist() == [1.0] * 4
    np.testing.assert_allclose(targets["age"][3], _bell(23, 2.0), atol=1e-6)


def test_a_linear_age_is_the_label_in_years() -> None:
    linear = dataclasses.replace(SMALL, age_bins=None)
    _, targets, _ = Batches(Lessons(_faces(4, side=12)), linear, training=False)[0]
    assert targets["age"].tolist() == [[20.0], [21.0], [22.0], [23.0]]


def test_a_teacher_has_the_stated_share_of_the_target() -> None:
    faces = _faces(4, female=[1.0, NAN, 0.0, NAN])
    batches = Batches(_taught(faces), TAUGHT, training=True, seed=3)
    _, targets, weights = batches[0]
    order = np.random.default_rng((3, 1)).permutation(4)
    # 0.6 of what the teacher says: 0.1, 0.367, 0.633, 0.9; 0.4 of the label where there is one.
    genders = [0.4 * 1 + 0.6 * 0.1, 0.1 + 0.8 / 3, 0.4 * 0 + 0.6 * (0.1 + 1.6 / 3), 0.9]
    assert targets["gender"][:, 0] == pytest.approx([genders[i] for i in order], abs=1e-6)
    assert weights["gender"].tolist() == weights["age"].tolist() == [1.0] * 4
    for row, index in zip(targets["age"], order, strict=True):
        age = 20 + int(index)
        expected = 0.4 * _bell(age, 2.0)
        expected[age + 1 : age + 4] += 0.2
        # A third is known to eleven binary digits.
        np.testing.assert_allclose(row, expected, atol=0.6 * 2**-12)
    assert targets["age"].sum(axis=1) == pytest.approx(np.ones(4), abs=1e-3)
    assert {targets["age"].dtype, targets["gender"].dtype} == {np.dtype(np.float32)}


def test_a_teacher_without_a_share_changes_no_label() -> None:
    faces = _faces(female=[1.0, 0.0] * 5)
    nothing = dataclasses.replace(TAUGHT, teacher_share=0.0)
    (_, plain, _), (_, taught, _) = (
        Batches(lessons, nothing, training=True, seed=3)[2]
        for lessons in (Lessons(faces), _taught(faces))
    )
    for head in ("age", "gender"):
        assert np.array_equal(plain[head], taught[head])
