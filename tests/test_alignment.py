"""Alignment: transforms worked out by hand, and pixels that must land where they say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotate.alignment import CROP_PX, TEMPLATE, align, crop_matrix, crop_side, similarity, warp

IDENTITY = np.array([[1.0, 0, 0], [0, 1, 0]])


@given(
    st.floats(-3.1, 3.1), st.floats(0.01, 50), st.floats(-500, 500), st.floats(-500, 500)
)  # fmt: skip
def test_similarity_finds_the_turn_scale_and_shift_that_were_applied(
    angle: float, scale: float, right: float, down: float
) -> None:
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    moved = TEMPLATE @ turn.T + (right, down)
    found = similarity(TEMPLATE, moved)
    np.testing.assert_allclose(found, np.column_stack([turn, (right, down)]), atol=1e-6)


def test_similarity_is_the_least_squares_one() -> None:
    """Against NumPy's own least squares on x' = a x - b y + c, y' = b x + a y + d."""
    rng = np.random.default_rng(0)
    start, end = rng.normal(size=(5, 2)), rng.normal(size=(5, 2))
    rows = [(x, -y, 1, 0) for x, y in start] + [(y, x, 0, 1) for x, y in start]
    a, b, c, d = np.linalg.lstsq(np.array(rows), end.T.ravel(), rcond=None)[0]
    np.testing.assert_allclose(similarity(start, end), [[a, -b, c], [b, a, d]], atol=1e-12)


@pytest.mark.parametrize("points", [np.ones((5, 2)), np.full((5, 2), np.nan)])
def test_degenerate_landmarks_are_refused(points: np.ndarray) -> None:
    with pytest.raises(ValueError, match="landmarks"):
        similarity(points, TEMPLATE)


@pytest.mark.parametrize("landmarks", [np.ones((5, 2)), np.full((5, 2), np.nan)])
def test_landmarks_that_fall_together_make_no_crop(landmarks: np.ndarray) -> None:
    with pytest.raises(ValueError, match="landmarks"):
        crop_matrix(landmarks, 96)
    assert crop_side(landmarks) == 0


def test_the_side_of_a_crop() -> None:
    """The template is that of a crop of 200 px, so 0.7 of it is that of 140 px, however turned."""
    assert crop_side(TEMPLATE * 0.7 + (31, 17)) == pytest.approx(140)
    assert crop_side(TEMPLATE @ [[0, 3], [-3, 0]]) == pytest.approx(600)


def test_the_identity_keeps_every_pixel() -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (20, 20, 3), np.uint8)
    assert (warp(pixels, IDENTITY, 20) == pixels).all()


def test_a_shift_moves_pixels_and_shows_black_outside() -> None:
    pixels = np.random.default_rng(2).integers(1, 256, (20, 20, 3), np.uint8)
    shifted = warp(pixels, np.array([[1.0, 0, 12], [0, 1, -3]]), 20)
    assert (shifted[3:, :8] == pixels[:17, 12:]).all()
    assert not shifted[:3].any()
    assert not shifted[:, 8:].any()


def test_a_quarter_turn() -> None:
    """Crop (x, y) shows picture (10 - y, x): the picture's right side comes to the top."""
    pixels = np.random.default_rng(3).integers(0, 256, (10, 10, 3), np.uint8)
    turned = warp(pixels, np.array([[0.0, -1, 10], [1, 0, 0]]), 10)
    assert (turned == np.rot90(pixels)).all()
    assert (turned[0, 9] == pixels[9, 9]).all()


def test_shrinking_averages_instead_of_aliasing() -> None:
    """A checkerboard of single pixels, shown four times smaller, is its mean and no pattern."""
    board = np.indices((64, 64)).sum(axis=0) % 2 * 255
    pixels = np.repeat(board[..., None], 3, axis=2).astype(np.uint8)
    shown = warp(pixels, np.array([[4.0, 0, 0], [0, 4, 0]]), 16)
    assert np.abs(shown.astype(int) - 127).max() <= 1


def test_nothing_of_the_picture_is_black() -> None:
    far = np.array([[1.0, 0, 500], [0, 1, 500]])
    assert not warp(np.full((9, 9, 3), 255, np.uint8), far, 8).any()


def test_align_puts_the_landmarks_on_the_template() -> None:
    """White dots at the landmarks of a face that is turned by 30 degrees and 1.7 times as large."""
    angle = np.deg2rad(30)
    turn = 1.7 * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    landmarks = TEMPLATE @ turn.T + (250, 40)
    pixels = np.zeros((500, 600, 3), np.uint8)
    for x, y in landmarks:
        pixels[int(y) - 3 : int(y) + 4, int(x) - 3 : int(x) + 4] = 255
    crop = align(pixels, landmarks, 100)
    for x, y in TEMPLATE * (100 / CROP_PX):
        window = crop[int(y) - 6 : int(y) + 7, int(x) - 6 : int(x) + 7, 0].astype(float)
        rows, columns = np.indices(window.shape)
        centre = np.array([(columns * window).sum(), (rows * window).sum()]) / window.sum()
        assert np.abs(centre + 0.5 + (int(x) - 6, int(y) - 6) - (x, y)).max() < 0.7


def test_the_size_of_a_crop_does_not_change_what_it_shows() -> None:
    landmarks = TEMPLATE * 0.7 + (31, 17)
    small, large = crop_matrix(landmarks, 48), crop_matrix(landmarks, 96)
    np.testing.assert_allclose(small @ (24, 24, 1), large @ (48, 48, 1))
    np.testing.assert_allclose(small @ (0, 0, 1), large @ (0, 0, 1))
