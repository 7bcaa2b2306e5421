"""Flags: remarks on pixels made by hand."""

from __future__ import annotations

import numpy as np
import pytest

from annotate.flags import pixel_flags, sharpness


def noise(colours: int, seed: int = 0) -> np.ndarray:
    """Random pixels: sharper than any picture. colours: 1 for gray, 3 for colour."""
    values = np.random.default_rng(seed).integers(0, 256, (32, 32, colours), np.uint8)
    return np.broadcast_to(values, (32, 32, 3)).copy()


def test_flags_of_hand_made_pixels() -> None:
    assert pixel_flags(noise(3), 48) == ()
    assert pixel_flags(noise(3), 47) == ("small_face",)
    assert pixel_flags(noise(1), 48) == ("grayscale",)
    flat = np.full((32, 32, 3), (200, 100, 50), np.uint8)
    assert pixel_flags(flat, 100) == ("blurred",)
    assert pixel_flags(flat * 0, 1) == ("small_face", "blurred", "grayscale")
    ramp = np.repeat(np.arange(0, 256, 8, dtype=np.uint8)[None, :, None], 32, axis=0)
    assert pixel_flags(np.repeat(ramp, 3, axis=2), 100) == ("blurred", "grayscale")


def test_channels_two_levels_apart_are_colour_and_one_is_gray() -> None:
    base = noise(1).astype(int) // 2 + 60
    apart = (base + np.array([-2, 0, 2])).astype(np.uint8)
    close = (base + np.array([-1, 0, 1])).astype(np.uint8)
    assert pixel_flags(apart, 100) == ()
    assert pixel_flags(close, 100) == ("grayscale",)


def test_sharpness_by_hand() -> None:
    """A single bright pixel in 5 x 5: Laplacians of 9 inner pixels are -4h, four times h, 0."""
    gray = np.zeros((5, 5), np.float32)
    gray[2, 2] = 100
    laplacian = np.array([0, 100, 0, 100, -400, 100, 0, 100, 0], float)
    variance = 100**2 * (1 / 25 - 1 / 625)
    assert sharpness(gray) == pytest.approx(laplacian.var() / variance, rel=1e-5)


def test_sharpness_does_not_depend_on_contrast_or_brightness() -> None:
    gray = noise(1)[..., 0].astype(np.float32)
    assert sharpness(gray * 0.3 + 20) == pytest.approx(sharpness(gray), rel=1e-3)
