"""Progress: what it says of a run holds, also while nobody knows how much is to come."""

from __future__ import annotations

import io
import sys
from collections import Counter
from pathlib import Path

import pytest

from annotate import Model
from annotate.cli.progress import Progress
from annotate.pipeline import prepare
from annotate.run_config import RunConfig
from annotate.summary import Summary
from tests.conftest import draw
from tests.packing import make_tar, make_zip


class Terminal(io.StringIO):
    """A stderr on which a bar is drawn."""

    def isatty(self) -> bool:
        return True


def line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], summary: Summary
) -> str:
    """What is said of a run where stderr is no terminal."""
    monkeypatch.setattr("annotate.cli.progress.SECONDS_PER_LINE", -1.0)
    with Progress(summary.inputs) as progress:
        progress(summary)
    return capsys.readouterr().err


@pytest.mark.parametrize(
    ("summary", "said"),
    [
        (
            Summary(inputs=3000, by_status=Counter(ok=900, crashed=100), seconds=10.0),
            "1,000 of 3,000 images, 100 images/s, about 20 s left",
        ),
        (
            Summary(inputs=3000, by_status=Counter(ok=1000), seconds=10.0, is_total_known=False),
            "1,000 of at least 3,000 images, 100 images/s",
        ),
        (Summary(inputs=3, seconds=20.0), "0 of 3 images, 0 images/s"),
        (Summary(inputs=3, by_status=Counter(ok=3)), "about 0 s left"),
    ],
)
def test_a_line_of_progress(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    summary: Summary,
    said: str,
) -> None:
    spoken = line(monkeypatch, capsys, summary)
    assert spoken.count("\n") == 1
    assert spoken.rstrip("\n").endswith(said)


def test_a_bar_has_an_end_only_once_it_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with Progress(0) as progress:
        for done, is_known in ((10, False), (20, False), (40, True)):
            progress(Summary(inputs=40, by_status=Counter(ok=done), is_total_known=is_known))
            progress._bar.refresh()
            drawn = terminal.getvalue().rpartition("\r")[2]
            assert ("/40" in drawn) == ("100%" in drawn) == is_known
            assert f"{done} images" in drawn or f"{done}/40" in drawn


GPU = "the machine seems to have a GPU, but it is not used: no driver"
MEMORY = "out of memory with batches of 64 faces: going on with {}"


def test_what_is_remarkable_is_said_when_it_comes_up_and_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with Progress(9, remarks_said=1) as progress:
        said = []
        for size in (None, 32, 32, 16):
            remarks = (GPU,) if size is None else (GPU, MEMORY.format(size))
            progress(Summary(inputs=9, remarks=remarks))
            said.append(capsys.readouterr().err)
    assert said == ["", MEMORY.format(32) + "\n", "", ""]


def test_what_is_remarkable_is_said_above_the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with Progress(9) as progress:
        for done in (3, 6):
            progress(Summary(inputs=9, by_status=Counter(ok=done), remarks=(GPU,)))
        progress._bar.refresh()
        drawn = terminal.getvalue()
    assert drawn.count(GPU) == 1
    assert "\r" + GPU + "\n" in drawn
    assert "6/9" in drawn.rpartition("\r")[2]


def test_the_total_is_known_once_every_archive_was_opened(
    tmp_path: Path, fake_model: Model
) -> None:
    png = draw(tmp_path / "a.png", (1, 2, 3)).read_bytes()
    files = {f"{i}.png".encode(): png for i in range(20)}
    tar = make_tar(tmp_path / "x.tar.gz", files, "w:gz")
    zipped = make_zip(tmp_path / "y.zip", files)

    def known(*sources: str | Path, **options: int) -> list[bool]:
        names = tuple(map(str, sources))
        inputs = prepare(RunConfig(names, faces="crop", **options), model=fake_model).inputs  # type: ignore[arg-type]
        said = [inputs.is_total_known]
        for _ in inputs:
            said.append(inputs.is_total_known)
            assert inputs.total <= 41
            assert not inputs.is_total_known or inputs.total == options.get("limit", len_of(names))
        return [*said, inputs.is_total_known]

    def len_of(names: tuple[str, ...]) -> int:
        return sum(1 if name.endswith(".png") or "!/" in name else 20 for name in names)

    single = tmp_path / "a.png"
    assert known(single) == [True] * 3
    assert known(f"{tar}!/3.png", single) == [True] * 4
    assert known(single, zipped) == [False] * 2 + [True] * 21
    assert known(single, tar, zipped) == [False] * 22 + [True] * 21
    assert known(tar) == [False] * 21 + [True]
    assert known(single, tar, single, limit=2) == [False, False, True, True]
