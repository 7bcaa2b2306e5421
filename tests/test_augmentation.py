"""Augmentation: what each change does to pictures whose outcome can be told beforehand."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annotate.images import Pixels
from training.augmentation import Augmentation, augment
from training.presets import PHOTOGRAPHIC


def _noise(count: int = 6, side: int = 40) -> Pixels:
    return np.random.default_rng(0).integers(0, 256, (count, side, side, 3), np.uint8)


def test_no_augmentation_changes_nothing() -> None:
    pixels = _noise()
    assert np.array_equal(augment(pixels, 40, Augmentation(), np.random.default_rng(1)), pixels)


def test_a_certain_flip_mirrors_every_image() -> None:
    pixels = _noise()
    flipped = augment(pixels, 40, Augmentation(flip=1.0), np.random.default_rng(1))
    assert np.array_equal(flipped, pixels[:, :, ::-1])


def test_erasing_replaces_a_part_of_some_images() -> None:
    pixels = np.full((40, 40, 40, 3), 128, np.uint8)
    views = augment(pixels, 40, Augmentation(erase=0.5), np.random.default_rng(1))
    shares = (views != 128).any(axis=3).mean(axis=(1, 2))
    assert 0.2 < (shares > 0).mean() < 0.8
    # Areas are 2 to 20 % of the image; noise leaves a few pixels as they were.
    assert shares[shares > 0].min() > 0.01
    assert shares.max() < 0.25


def test_certain_graying_makes_the_channels_equal() -> None:
    views = augment(_noise(), 40, Augmentation(grayscale=1.0), np.random.default_rng(1))
    assert np.ptp(views.astype(int), axis=3).max() == 0
    # By hand: 0.299 R + 0.587 G + 0.114 B, rounded.
    expected = np.rint(_noise() @ np.array([0.299, 0.587, 0.114]))
    assert np.abs(views[..., 0] - expected).max() <= 1


def test_views_have_the_size_asked_for_and_follow_from_the_seed() -> None:
    one, same, other = (
        augment(_noise(), 24, PHOTOGRAPHIC, np.random.default_rng(s)) for s in (1, 1, 2)
    )
    assert one.shape == (6, 24, 24, 3)
    assert one.dtype == np.uint8
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


def test_a_small_rotation_keeps_the_centre_in_place() -> None:
    pixels = np.zeros((1, 41, 41, 3), np.uint8)
    pixels[0, 18:23, 18:23] = 255
    views = augment(pixels, 41, Augmentation(rotate_deg=12.0), np.random.default_rng(3))
    rows, columns = np.nonzero(views[0, :, :, 0] > 127)
    assert (rows.mean(), columns.mean()) == pytest.approx((20, 20), abs=0.6)


SPOILED = ("blur", "reduce", "jpeg")

SIDE_PX = 96
"""A whole number of JPEG's blocks."""


def _gray_noise(count: int = 6, spread: int = 24) -> Pixels:
    """Noise around 128 by up to half of `spread`; channels are equal, so JPEG keeps no colours."""
    values = np.random.default_rng(2).integers(0, spread, (count, SIDE_PX, SIDE_PX, 1))
    return np.repeat((128 - spread // 2 + values).astype(np.uint8), 3, axis=3)


def _power(images: Pixels, low: float, high: float) -> npt.NDArray[np.float64]:
    """Power of each image between two frequencies in cycles a pixel, along both axes."""
    spectrum = np.abs(np.fft.fft2(images[..., 0].astype(np.float64))) ** 2
    frequencies = np.abs(np.fft.fftfreq(images.shape[1]))
    larger = np.maximum(frequencies[:, None], frequencies)
    return np.asarray(spectrum[:, (larger > low) & (larger <= high)].sum(axis=1))


@pytest.mark.parametrize("kind", SPOILED)
def test_spoiling_with_certainty_changes_every_image_and_with_none_nothing(kind: str) -> None:
    pixels = _noise(side=SIDE_PX)
    certain, never = (
        augment(pixels, SIDE_PX, Augmentation(**{kind: share}), np.random.default_rng(1))
        for share in (1.0, 0.0)
    )
    assert (certain != pixels).any(axis=(1, 2, 3)).all()
    assert np.array_equal(never, pixels)
    assert (certain.shape, certain.dtype) == (pixels.shape, np.uint8)


@pytest.mark.parametrize("kind", SPOILED)
def test_spoiling_by_half_meets_about_half_of_the_images(kind: str) -> None:
    pixels = _noise(count=200, side=16)
    views = augment(pixels, 16, Augmentation(**{kind: 0.5}), np.random.default_rng(4))
    # Six standard deviations of 200 draws: 6 sqrt(0.25 / 200) = 0.21.
    assert (views != pixels).any(axis=(1, 2, 3)).mean() == pytest.approx(0.5, abs=0.21)


@pytest.mark.parametrize("kind", SPOILED)
def test_pictures_of_one_colour_stay_of_one_colour(kind: str) -> None:
    colours = np.random.default_rng(3).integers(0, 256, (8, 1, 1, 3), np.uint8)
    pixels = np.broadcast_to(colours, (8, SIDE_PX, SIDE_PX, 3)).copy()
    views = augment(pixels, SIDE_PX, Augmentation(**{kind: 1.0}), np.random.default_rng(1))
    assert np.ptp(views.astype(int), axis=(1, 2)).max() == 0
    if kind != "jpeg":  # which rounds a block's mean: small files have few shades
        assert np.array_equal(views, pixels)


def test_a_blur_takes_what_is_fine_and_leaves_what_is_coarse() -> None:
    pixels = _gray_noise(spread=200)
    views = augment(pixels, SIDE_PX, Augmentation(blur=1.0), np.random.default_rng(1))
    # A Gaussian of sigma pixels leaves exp(-(2 pi sigma f)^2) of the power at frequency f, and
    # sigma is at least 0.4 % of 96 px: of f = 0.4 it leaves 0.39, or less.
    assert (_power(views, 0.4, 0.5) < 0.45 * _power(pixels, 0.4, 0.5)).all()
    # Sigma is at most 1.92 px: of f = 0.02 it leaves 0.94.
    assert (_power(views, 0.0, 0.02) > 0.9 * _power(pixels, 0.0, 0.02)).all()
    assert np.abs(views.mean(axis=(1, 2)) - pixels.mean(axis=(1, 2))).max() < 0.5


def test_a_reduced_view_has_lost_what_fewer_pixels_cannot_show() -> None:
    pixels = _gray_noise(spread=200)
    views = augment(pixels, SIDE_PX, Augmentation(reduce=1.0), np.random.default_rng(1))
    # At most 0.8 of the pixels along a side: they show up to 0.4 cycles a pixel, and enlarging
    # by a triangle leaves images of that, none stronger than 0.1 of what was there.
    assert (_power(views, 0.4, 0.5) < 0.1 * _power(pixels, 0.4, 0.5)).all()
    assert (_power(views, 0.0, 0.02) > 0.8 * _power(pixels, 0.0, 0.02)).all()
    assert np.abs(views.mean(axis=(1, 2)) - pixels.mean(axis=(1, 2))).max() < 1.0


def test_a_packed_view_shows_the_blocks_of_jpeg() -> None:
    pixels = _gray_noise()
    views = augment(pixels, SIDE_PX, Augmentation(jpeg=1.0), np.random.default_rng(1))

    def steps(images: Pixels) -> tuple[float, float]:
        """Mean steps between neighbours across the borders of 8 px blocks, and inside them."""
        found = np.abs(np.diff(images[..., 0].astype(float), axis=2))
        across = np.arange(SIDE_PX - 1) % 8 == 7
        return float(found[:, :, across].mean()), float(found[:, :, ~across].mean())

    across, inside = steps(pixels)
    assert across == pytest.approx(inside, rel=0.05)
    across, inside = steps(views)
    assert across > 1.5 * inside
    # Gray stays gray: its chroma is nought.
    assert np.ptp(views.astype(int), axis=3).max() <= 1


def test_a_certain_zoom_is_about_the_centre() -> None:
    pixels = np.zeros((1, 40, 40, 3), np.uint8)
    pixels[0, 15:25, 15:25] = 200
    views = augment(pixels, 40, Augmentation(zoom=(2.0, 2.0)), np.random.default_rng(1))
    # 10 px become 20, from 10 to 30; the value at a border is between both.
    (inside,) = views[:, 11:29, 11:29]
    assert (inside == 200).all()
    outside = views.copy()
    outside[:, 9:31, 9:31] = 0
    assert outside.max() == 0


def test_brightness_contrast_and_saturation_keep_what_they_should() -> None:
    pixels = _noise(count=20)
    luma = np.array([0.299, 0.587, 0.114])

    def views(**how: float) -> npt.NDArray[np.float64]:
        return augment(pixels // 4 + 96, 40, Augmentation(**how), np.random.default_rng(1)) @ luma

    before = (pixels // 4 + 96) @ luma
    ratio = views(brightness=0.3).mean(axis=(1, 2)) / before.mean(axis=(1, 2))
    assert ratio.min() == pytest.approx(0.7, abs=0.1)
    assert ratio.max() == pytest.approx(1.3, abs=0.1)
    contrast = views(contrast=0.3)
    assert contrast.mean(axis=(1, 2)) == pytest.approx(before.mean(axis=(1, 2)), abs=0.2)
    spreads = contrast.std(axis=(1, 2)) / before.std(axis=(1, 2))
    assert 0.69 < spreads.min() < 0.85 < 1.15 < spreads.max() < 1.31
    assert np.abs(views(saturation=0.4) - before).max() < 1.5, "brightness is as it was"


@settings(max_examples=30, deadline=None)
@given(
    side=st.integers(1, 40),
    size_px=st.integers(1, 40),
    on=st.sets(st.sampled_from([field.name for field in dataclasses.fields(Augmentation)])),
)
def test_any_augmentation_of_any_size_gives_pixels(side: int, size_px: int, on: set[str]) -> None:
    certain = {"flip", "grayscale", "erase", *SPOILED}
    chosen = {name: 1.0 if name in certain else getattr(PHOTOGRAPHIC, name) for name in sorted(on)}
    pixels = _noise(count=3, side=side)
    untouched = pixels.copy()
    views = augment(pixels, size_px, Augmentation(**chosen), np.random.default_rng(1))
    assert (views.shape, views.dtype) == ((3, size_px, size_px, 3), np.uint8)
    assert np.array_equal(pixels, untouched), "the images in memory are met again"
    again = augment(pixels, size_px, Augmentation(**chosen), np.random.default_rng(1))
    assert np.array_equal(views, again)


def test_colours_change_as_the_steps_one_by_one_would_change_them() -> None:
    """Brightness, then saturation about the luma, then contrast about its mean, in floats."""
    pixels = _noise() // 3 + 80
    how = Augmentation(brightness=0.1, contrast=0.2, saturation=0.3, grayscale=0.5)
    views = augment(pixels, pixels.shape[1], how, np.random.default_rng(5))
    rng = np.random.default_rng(5)
    luma = np.array([0.299, 0.587, 0.114])
    brightness, saturation = (rng.uniform(1 - a, 1 + a, len(pixels)) for a in (0.1, 0.3))
    saturation = np.where(rng.random(len(pixels)) < 0.5, 0.0, saturation)
    contrast = rng.uniform(0.8, 1.2, len(pixels))
    assert 0 < (saturation == 0).sum() < len(pixels)
    for index, image in enumerate(pixels.astype(float)):
        brighter = image * brightness[index]
        gray = (brighter @ luma)[..., None]
        coloured = gray + (brighter - gray) * saturation[index]
        expected = gray.mean() + (coloured - gray.mean()) * contrast[index]
        # Cut at neither end, so that rounding is all that is between them.
        assert expected.min() > 0
        assert expected.max() < 255
        assert np.abs(views[index] - expected).max() <= 0.5 + 1e-3
