"""Lists on stdin and tables as SOURCEs, through whole runs."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import pytest

import annotate
from annotate import Model, resolve
from annotate.cli import main
from annotate.pipeline import run_table
from annotate.run_config import RunConfig
from tests.whole_runs import Invoke, label, pack, said


def test_a_list_names_files_folders_and_archives_and_may_have_lost_some(
    photos: Path, invoke_rows: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(photos)
    pack(photos / "b", photos.parent / "b.zip")
    entries = [
        "c/02.png", "gone.png", "", "a", "notes.txt", "../b.zip", "../b.zip", "a/00.png",
        "./c/../c/02.png", "../b.zip!/04.png", "gone.zip", "../b.zip!/gone.png",
    ]  # fmt: skip
    code, rows, err = invoke_rows("-o", "-", "-", stdin="\n".join(entries).encode())
    assert code == 3
    assert [row["path"] for row in rows] == [
        "02.png", "gone.png", *(f"{i:02d}.png" for i in range(0, 18, 3)), "notes.txt",
        *(f"b.zip!/{i:02d}.png" for i in range(1, 18, 3)), "gone.zip",
    ]  # fmt: skip
    sources = [str(photos / "c"), str(photos), str(photos / "a")]
    assert [rows[i]["source"] for i in (0, 1, 2)] == sources
    lost = {row["path"]: row["error"] for row in rows if row["status"] == "unreadable"}
    assert lost == dict.fromkeys(["gone.png", "gone.zip"], "No such file or directory")
    assert "16 inputs, 16 rows" in err
    assert "listed twice 5" in err  # b.zip, 00.png, 02.png and two members of b.zip
    assert "empty entry in a list 1" in err


def test_an_archive_of_which_a_list_wants_some_members_is_read_once(
    photos: Path, invoke_rows: Invoke
) -> None:
    """However they are mixed with others; and all of it, where all of it is wanted at last."""
    archive = pack(photos / "b", photos.parent / "b.tar.gz")
    wanted = [f"{archive}!/10.png", str(photos / "a/00.png"), f"{archive}!/04.png",
              f"{archive}!/gone.png", f"{archive}!/10.png"]  # fmt: skip
    code, rows, err = invoke_rows("-o", "-", "-", stdin="\n".join(wanted).encode())
    assert code == 3
    assert [row["path"] for row in rows] == [
        "b.tar.gz!/04.png", "b.tar.gz!/10.png", "b.tar.gz!/gone.png", "00.png"
    ]  # fmt: skip
    assert rows[2]["error"] == "the archive has no such member"
    assert "listed twice 1" in err
    wanted.append(str(archive))
    code, rows, _ = invoke_rows("-q", "-o", "-", "-", stdin="\n".join(wanted).encode())
    assert code == 0
    assert [row["path"] for row in rows] == [
        *(f"b.tar.gz!/{i:02d}.png" for i in range(1, 18, 3)), "00.png"
    ]  # fmt: skip


def test_a_list_of_nothing_is_an_error(invoke_rows: Invoke) -> None:
    for stdin in (b"", b"\n\n"):
        code, rows, err = invoke_rows("-", stdin=stdin)
        assert (code, rows) == (1, [])
        assert "no images in -" in said(err)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "Missing SOURCE"),
        (["-0", "x"], "name it as the SOURCE -"),
        (["-0", "--from", "t.csv"], "name it as the SOURCE -"),
        (["--null"], "Missing SOURCE"),
    ],
)
def test_wrong_use(invoke_rows: Invoke, arguments: list[str], text: str) -> None:
    code, rows, err = invoke_rows(*arguments)
    assert (code, rows) == (2, [])
    assert text in said(err)


def test_a_terminal_is_no_list(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdin", Terminal())
    monkeypatch.setattr(sys, "argv", ["annotate", "run", "-", "-o", "-"])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2
    assert "a terminal" in said(capsys.readouterr().err)


# Tables -----------------------------------------------------------------------------------


def test_a_table_is_read_after_the_sources(photos: Path, invoke_rows: Invoke) -> None:
    table = photos.parent / "t.csv"
    names = ["photos/a/00.png", "photos/c/02.png", "", "photos/a/00.png", "photos/gone.png"]
    table.write_text("id,file\n" + "".join(f"{i},{name}\n" for i, name in enumerate(names)))
    code, rows, err = invoke_rows("--from", table, "--column", "file", photos / "c", "-o", "-")
    assert code == 3
    in_c = [f"{i:02d}.png" for i in range(2, 18, 3)]
    assert [row["path"] for row in rows] == [*in_c, "00.png", "gone.png"]
    assert "listed twice 2" in err
    assert "missing value in the table 1" in err
    code, rows, _ = invoke_rows("-q", "--from", table, "--column", "file")
    assert [row["path"] for row in rows] == ["00.png", "02.png", "gone.png"]
    code, rows, err = invoke_rows("--from", table)
    assert (code, rows) == (1, [])
    assert "no column 'path': its columns are id, file; name one with --column" in said(err)


def test_a_table_for_python(photos: Path, fake_model: Model, tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    pandas.DataFrame({"file": [str(photos / "a/00.png")]}).to_parquet(tmp_path / "t.parquet")
    options: dict[str, Any] = {"table": str(tmp_path / "t.parquet"), "column": "file"}
    frame = annotate.run(faces="crop", model=fake_model, **options)
    assert frame.path.tolist() == ["00.png"]
    (row,) = annotate.iter_rows(faces="crop", model=fake_model, **options)
    assert resolve(row) == str(photos / "a/00.png")


def test_an_output_with_several_rows_an_input_is_read_once_each(
    photos: Path, fake_model: Model, tmp_path: Path
) -> None:
    archive = pack(photos / "b", photos.parent / "b.zip")
    config = RunConfig((str(photos), str(archive)), faces="crop")
    rows = run_table(config, model=fake_model).table
    pandas = pytest.importorskip("pandas")
    frame = rows.to_pandas()[["source", "path"]]
    pandas.concat([frame, frame]).sort_values("path").to_csv(tmp_path / "t.csv", index=False)
    again, summary = label(table=str(tmp_path / "t.csv"), model=fake_model)

    def by_place(row: dict[str, Any]) -> tuple[str, str]:
        return row["source"], row["path"]

    assert sorted(again, key=by_place) == sorted(rows.to_pylist(), key=by_place)
    assert summary.skipped == {"listed twice": len(frame)}
