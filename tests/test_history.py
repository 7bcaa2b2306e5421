"""History: which epoch is the one that was kept, and files that are no history."""

from __future__ import annotations

from math import inf, nan
from pathlib import Path

import pytest

from annotate.errors import AnnotateError
from training.history import best_row, read_whole


@pytest.mark.parametrize(
    ("errors", "epoch"),
    [
        ([7.0, 5.0, 5.0], 2),
        # What a training that diverged writes is never the best, wherever it stands.
        ([nan, 7.0, nan, 5.0], 4),
        ([6.0, nan, 7.0], 1),
        ([nan, inf], 2),
        ([nan, nan], 1),
    ],
)
def test_the_lowest_number_is_the_best_and_the_first_of_equals(
    errors: list[float], epoch: int
) -> None:
    rows = [{"epoch": i + 1.0, "val_age_mae": error} for i, error in enumerate(errors)]
    assert best_row(rows, "val_age_mae")["epoch"] == epoch


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "cannot read .*: .*No such file"),
        ("", "it lacks epoch, seconds, val_age_mae"),
        ("epoch,seconds,val_age_mae\n", "it lacks epoch, seconds, val_age_mae"),
        ("epoch,val_age_mae\n1,5\n", "it lacks seconds"),
        ("epoch,seconds,val_age_mae\n1,9\n", "cannot read"),
        ("epoch,seconds,val_age_mae\n1,9,5,5\n", "cannot read"),
        ("epoch,seconds,val_age_mae\n1,9,five\n", "cannot read"),
    ],
)
def test_a_file_that_is_no_history_is_a_one_line_error(
    text: str | None, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "history.csv"
    if text is not None:
        path.write_text(text)
    with pytest.raises(AnnotateError, match=said) as caught:
        read_whole(path, "val_age_mae")
    assert "\n" not in str(caught.value)
