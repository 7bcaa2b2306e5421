"""A model.json made by hand, for cards."""

from __future__ import annotations

from typing import Any

from training.card_figures import AGE_FIGURES, GENDER_FIGURES, MINOR_FIGURES


def metric_of(value: float | None, n: int = 200) -> dict[str, Any]:
    """A figure whose interval reaches a tenth to either side."""
    if value is None:
        return {"value": None, "low": None, "high": None, "n": n}
    return {"value": value, "low": value - 0.1, "high": value + 0.1, "n": n}


def age_of(mae: float | None, bias: float = 0.5, coverage: float | None = 0.8, n: int = 200) -> Any:
    figures = {name: metric_of(3.0, n) for name, _, _ in AGE_FIGURES}
    return figures | {
        "mae": metric_of(mae, n),
        "bias": metric_of(bias, n),
        "interval_coverage": metric_of(coverage, n),
    }


def gender_of(accuracy: float | None, n: int = 200) -> Any:
    figures = {name: metric_of(0.5, n) for name, _, _ in GENDER_FIGURES}
    return figures | {"accuracy": metric_of(accuracy, n)}


def _slice(where: dict[str, str], mae: float | None, accuracy: float | None, **more: Any) -> Any:
    n = more.get("n", 200)
    return {
        "where": where,
        "n": n,
        "few": n < 30,
        "age": age_of(mae, **more),
        "gender": gender_of(accuracy, n),
    }


def crossed(gender: str, race: str, mae: float, accuracy: float, n: int = 200) -> Any:
    return _slice({"gender": gender, "race": race}, mae, accuracy, n=n)


def _condition(about: str, ratio: float, accuracy: float) -> dict[str, Any]:
    return {
        "about": about,
        "age": {"mae": metric_of(5 * ratio), "bias": metric_of(0.0), "cs5": metric_of(0.6)},
        "gender": {"accuracy": metric_of(accuracy)},
        "mae_ratio": ratio,
    }


def figures_of_test_part() -> dict[str, Any]:
    bands = {
        "0-2": (1.25, 0.61),
        "18-29": (3.0, 0.99),
        "60-69": (9.5, 0.97),
        "70-79": (8.5, 0.9),
        "80+": (12.5, 0.8),
    }
    return {
        "command": "python -m training evaluate --part test",
        "n": 1234,
        "age": age_of(5.25),
        "gender": gender_of(0.93),
        "ages_21_to_60": {"age": age_of(4.75), "gender": gender_of(0.98)},
        "slices": {
            "age_band": [
                *(_slice({"age_band": band}, *worth) for band, worth in bands.items()),
                _slice({"age_band": "3-9"}, 40.0, 0.1, n=29),
            ],
            "gender": [_slice({"gender": "male"}, 5.0, 0.9)],
            "race": [_slice({"race": "Asian"}, 4.0, 0.95)],
            "gender_x_race": [
                crossed("female", "Asian", 3.5, 0.97),
                crossed("female", "White", 6.0, 0.99, n=30),
                crossed("male", "Asian", 4.5, 0.81),
                # Fewer than 30 faces: neither the best nor the worst.
                crossed("male", "Others", 1.0, 0.2, n=29),
            ],
        },
        "predicted_age_bands": [
            _slice({"predicted_age_band": "0-2"}, 1.0, 0.9, coverage=0.93),
            _slice({"predicted_age_band": "80+"}, 9.0, 0.9, coverage=0.61),
            _slice({"predicted_age_band": "70-79"}, 9.0, 0.9, coverage=0.1, n=29),
        ],
        "minor": {"n": 777} | {name: metric_of(0.04) for name, _, _ in MINOR_FIGURES},
        "largest_gaps": [
            _gap("gender_x_race", "age_mae", ("female", "White", 6.0), ("female", "Asian", 3.5)),
            _gap("race", "gender_accuracy", ("Asian", 0.81), ("White", 0.99)),
        ],
    }


def _gap(dimension: str, figure: str, worst: Any, best: Any) -> dict[str, Any]:
    """One of metrics.json's largest gaps. worst, best: labels, then the value."""

    def side(group: Any) -> dict[str, Any]:
        return {"where": dict(enumerate(group[:-1]))} | metric_of(group[-1])

    return {
        "dimension": dimension,
        "figure": figure,
        "worst": side(worst),
        "best": side(best),
        "gap": abs(worst[-1] - best[-1]),
        "least_n": 30,
    }


def made_info() -> dict[str, Any]:
    """A model.json with everything in it that a card can tell."""
    return {
        "name": "hand",
        "about": "a network made by hand",
        "preset": "hand",
        "architecture": "drawn",
        "licence": "research",
        "input": {"size_px": 64},
        "heads": {"age": {"kind": "distribution", "ages": [0, 99]}},
        "calibration": {
            "gender_temperature": 1.25,
            "age_temperature": {"ages": [3.0, 15.0], "temperatures": [1.5, 0.75]},
            "interval_levels": [0.0875, 0.9125],
            "fitted_on": "validation",
            "n": 4321,
        },
        "data": {
            "name": "Drawings",
            "licence": "free",
            "images": {"train": 1000, "validation": 200, "test": 300},
            "hashes": "training_hashes.txt",
            "split": {"rule": "by hash", "seed": 7, "test_share": 0.1, "validation_share": 0.2},
            "faults": ["odd_name: a: b.jpg", "identical_file: c.jpg", "identical_file: d.jpg"],
            "photographs": {
                "name": "Snapshots",
                "licence": "unfree",
                "images": 3952,
                "faults_by_kind": {"no_face": 33},
            },
        },
        "training": {
            "command": "python -m training fit --preset hand",
            "keras": "3.15",
            "backend": "torch",
            "machine": "two cores",
            "epochs": 2,
            "epoch_kept": 2,
            "seconds": 5400,
            "pretrained": "Published weights, Apache-2.0",
            "teachers": ["large"],
            "recipe": _recipe(),
        },
        "commit": "abc123",
        "command": "python -m training export --run runs/hand",
        "figures": {
            "test": figures_of_test_part(),
            "validation": figures_of_test_part()
            | {"n": 222, "command": "evaluate --part validation"},
            "robustness": {
                "command": "python -m training robustness",
                "part": "test",
                "n": 300,
                "unreadable": {"x.jpg": "cut short"},
                "conditions": {
                    "clean": _condition("clean", 1.0, 0.93),
                    "jpeg": _condition("JPEG of quality 20", 1.12, 0.87),
                    "blurred": _condition("Gaussian blur", 1.31, 0.88),
                },
            },
            "appa_real": {
                "command": "annotate evaluate $APPA_REAL",
                "n": 1470,
                "searched": 1500,
                "not_found": 30,
                "trained_on": 0,
                "faults": {"no_face": 30, "missing_file": 2},
                "age": age_of(6.66),
                "gender": None,
            },
        },
        "speed": {"crops_per_s": 812.4, "machine": "two cores"},
        "files": {"model.onnx": "f" * 64},
    }


def _recipe() -> dict[str, Any]:
    return {
        "epochs": 12,
        "batch_size": 64,
        "monitor": "val_age_mae",
        "patience": None,
        "optimizer": "adamw",
        "peak_learning_rate": 0.001,
        "schedule": "cosine",
        "warmup_epochs": 0.5,
        "weight_decay": 0.03,
        "age_loss": "categorical_crossentropy",
        "age_weight": 1.0,
        "gender_weight": 1.5,
        "age_bins": 100,
        "age_sigma": 2.0,
        "teacher_share": 0.7,
        "sizes": [[1, 48], [9, 64]],
        "kept_px": 72,
        "frozen_up_to": "block2",
        "augmentation": {"flip": 0.5, "zoom": [0.9, 1.2], "rotate_deg": 15.0, "shift": 0.07,
                         "brightness": 0.3, "erase": 0.0},
    }  # fmt: skip
