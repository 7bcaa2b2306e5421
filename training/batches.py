"""Batches: labelled images in memory in, what a network trains and validates on out."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from annotate.images import Pixels
from training.augmentation import augment
from training.material import Lessons
from training.presets import Preset


def age_distribution(
    ages: npt.NDArray[np.float32], bins: int, sigma: float
) -> npt.NDArray[np.float32]:
    """Gaussian label distributions over ages 0 to bins - 1, (N, bins), rows sum to 1.

    ages: years, (N,). sigma: years.
    Source: label distribution learning, Gao et al. 2017 (DLDL).
    """
    grid = np.arange(bins, dtype=np.float64)
    weights = np.exp(-0.5 * ((grid - ages[:, None]) / sigma) ** 2)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), np.float32)


class Batches(keras.utils.PyDataset):  # type: ignore[misc]
    """Shuffled, augmented training batches, or plain validation batches in order.

    epoch: counted from 1, set by who trains. Batch i of an epoch follows from (seed, views, epoch,
    i) alone, so a resumed training sees what an uninterrupted one would have seen.
    """

    def __init__(
        self,
        lessons: Lessons,
        preset: Preset,
        *,
        training: bool,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.lessons = lessons
        self.data = lessons.faces
        self.preset = preset
        self.training = training
        self.seed = (seed, preset.views) if preset.views else (seed,)
        self.epoch = 1

    def __len__(self) -> int:
        return -(-len(self.data) // self.preset.batch_size)

    def __getitem__(
        self, index: int
    ) -> tuple[Pixels, dict[str, npt.NDArray[Any]], dict[str, npt.NDArray[np.float32]]]:
        """Batch `index`: pixels uint8 (B, S, S, 3), targets {"age": …, "gender": (B, 1)}, and the
        weight (B,) of each face in the loss of each head: 0 where there is no label.
        """
        preset = self.preset
        order = np.arange(len(self.data))
        if self.training:
            order = np.random.default_rng((*self.seed, self.epoch)).permutation(order)
        chosen = order[index * preset.batch_size : (index + 1) * preset.batch_size]
        pixels = self.data.pixels[chosen]
        if self.training:
            rng = np.random.default_rng((*self.seed, self.epoch, index))
            pixels = augment(pixels, preset.size_at(self.epoch), preset.augmentation, rng)
        ages, female = self.data.ages[chosen], self.data.female[chosen]
        age: npt.NDArray[np.float32] = ages[:, None]
        if preset.age_bins is not None:
            age = age_distribution(ages, preset.age_bins, preset.age_sigma)
        known = np.isfinite(female)
        if self.lessons.teacher_ages is not None and self.lessons.teacher_female is not None:
            share = preset.teacher_share
            age = (1 - share) * age + share * self.lessons.teacher_ages[chosen].astype(np.float32)
            taught = self.lessons.teacher_female[chosen]
            female = np.where(known, (1 - share) * female + share * taught, taught)
            known[:] = True
        targets = {"age": age, "gender": np.where(known, female, 0)[:, None].astype(np.float32)}
        weights = {"age": np.ones(len(chosen), np.float32), "gender": known.astype(np.float32)}
        return pixels, targets, weights
