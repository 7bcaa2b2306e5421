"""Metrics of P(age < 18): by hand, by scikit-learn, and of what is not known."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sk

from annotate.metrics import gender_metrics, minor_metrics
from tests.test_metrics import floats, minor_of


def test_minor_figures_by_hand() -> None:
    found = minor_of(floats(1, 1, 0, 0, 0), floats(0.95, 0.3, 0.3, 0.05, 0.0))
    # 0.95 wins three pairs; the minor's 0.3 ties one and wins two.
    assert found.auc.value == pytest.approx(5.5 / 6)
    assert found.brier.value == pytest.approx((0.05**2 + 0.7**2 + 0.3**2 + 0.05**2) / 5)
    # Bins 0.9: gap 0.05; 0.3: |0.6 - 1| = 0.4; 0.0: 0.05.
    assert found.calibration_error.value == pytest.approx((0.05 + 0.4 + 0.05) / 5)
    assert (found.share_minor.value, found.n, found.brier.n) == (pytest.approx(0.4), 5, 5)


@pytest.mark.long
def test_minor_figures_equal_scikit_learn_and_a_plain_bootstrap() -> None:
    rng = np.random.default_rng(3)
    label = rng.integers(0, 2, 150).astype(np.float64)
    probability = np.clip(np.round(label * 0.4 + rng.normal(0.3, 0.2, 150), 2), 0, 1)
    found = minor_of(label, probability, resamples=4000)
    assert found.auc.value == pytest.approx(sk.roc_auc_score(label, probability))
    assert found.brier.value == pytest.approx(sk.brier_score_loss(label, probability))
    draws = rng.integers(0, 150, (2000, 150))
    plain = {
        "auc": [sk.roc_auc_score(label[i], probability[i]) for i in draws],
        "brier": [sk.brier_score_loss(label[i], probability[i]) for i in draws],
        "share_minor": [float(label[i].mean()) for i in draws],
    }
    for name, values in plain.items():
        metric, (low, high) = getattr(found, name), np.percentile(values, [2.5, 97.5])
        assert metric.low == pytest.approx(low, abs=0.12 * (high - low)), name
        assert metric.high == pytest.approx(high, abs=0.12 * (high - low)), name


def test_minor_figures_of_what_is_not_known() -> None:
    nan = float("nan")
    assert minor_metrics(floats(), floats()) is None
    assert minor_metrics(floats(1, nan), floats(nan, 0.5)) is None
    adults = minor_of(floats(0, 0, nan), floats(0.25, 0.0, 0.5))
    assert adults.auc.to_dict() == {"value": None, "low": None, "high": None, "n": 2}
    assert (adults.share_minor.value, adults.brier.value) == (0.0, pytest.approx(0.03125))


def test_a_strangers_probabilities_spoil_no_run() -> None:
    odd = floats(-1e38, 0.5, 3e38)
    label = floats(0, 1, 1)
    assert minor_of(label, odd).auc.value == 1.0
    assert gender_metrics(label, label, odd).auc.value == 1.0
