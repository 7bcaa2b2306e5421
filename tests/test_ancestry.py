"""Ancestry: models that a run begins with and learns from, found wrong before images are read."""

from __future__ import annotations

from pathlib import Path

import pytest

from annotate.errors import AnnotateError
from training.ancestry import check_needs
from training.material import Sources
from training.presets import BASE, BASE_TAUGHT, NANO, Preset


@pytest.mark.parametrize(
    ("preset", "given", "said"),
    [
        (BASE_TAUGHT, {}, "--start base, and .* --teacher base --teacher nano: "),
        (BASE_TAUGHT, {"teachers": ("base",)}, "base_taught needs .* --start base: "),
        (BASE_TAUGHT, {"start": "base"}, "from, --teacher base --teacher nano: "),
        (NANO, {"start": "nano"}, "preset nano needs a model to learn from, --teacher base: "),
    ],
)
def test_a_preset_without_the_models_that_it_is_about_is_refused(
    preset: Preset, given: dict[str, object], said: str
) -> None:
    with pytest.raises(AnnotateError, match=said) as caught:
        check_needs(preset, Sources(Path("nowhere"), **given))  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_other_models_than_the_presets_and_more_of_them_will_do() -> None:
    data = Path("nowhere")
    check_needs(BASE, Sources(data))
    check_needs(BASE, Sources(data, start="a", teachers=("b",)))
    check_needs(NANO, Sources(data, teachers=("a", "b")))
    check_needs(BASE_TAUGHT, Sources(data, start="a", teachers=("b",)))
