"""Sources, through whole runs: folders, archives, lists and tables give the same rows."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

import pytest

import annotate
from annotate import AnnotateError, Model, open_input, read, resolve
from annotate.estimate import estimate
from annotate.labelling import OutputOptions, write
from annotate.pipeline import prepare, run_table
from annotate.run_config import RunConfig
from tests.conftest import ROOT, draw
from tests.trees import NAMES, POSIX
from tests.whole_runs import Invoke, Rows, label, pack, png, said

PLACE = ("source", "path", "modified_at")
"""The columns in which a picture in an archive differs from the same picture in a folder."""


def without_place(rows: Rows) -> Rows:
    return [{k: v for k, v in row.items() if k not in PLACE} for row in rows]


# The same rows ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["trip.zip", "trip.tar", "trip.tar.gz", "TRIP.TGZ"])
def test_a_folder_and_its_archive_give_the_same_rows_but_for_their_place(
    photos: Path, fake_model: Model, name: str
) -> None:
    archive = pack(photos, photos.parent / name)
    expected, in_folder = label(photos, model=fake_model, max_pixels=9_999)
    rows, summary = label(archive, model=fake_model, max_pixels=9_999)
    assert without_place(rows) == without_place(expected)
    assert len(rows) == 23
    assert [row["path"] for row in rows] == [f"{name}!/{row['path']}" for row in expected]
    assert {row["source"] for row in rows} == {str(photos.parent)}
    assert summary.by_status == in_folder.by_status
    assert summary.by_status == {
        "ok": 18, "too_large": 1, "decode_error": 2, "unsupported": 2
    }  # fmt: skip
    assert summary.unsupported == in_folder.unsupported == {".nef": 1, ".mp4": 1}
    common = {"not an image": 1, "hidden": 1, "thumbnail or system folder": 1}
    assert in_folder.skipped == common | {"archive (not named as a SOURCE)": 2}
    assert summary.skipped == common | {"archive in an archive": 2}
    for row in rows:
        with open_input(row) as stream:
            known = hashlib.sha256(stream.read()).hexdigest()
        assert row["sha256"] in (known, None)
        assert (row["sha256"] is None) == (row["status"] == "unsupported")


def test_batches_workers_and_windows_do_not_change_rows(
    photos: Path, fake_model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the bytes of one or two members fill a window."""
    archive = pack(photos, photos.parent / "trip.tar.gz")
    tables = []
    for batch_size, workers, window_bytes in ((8, 1, 2**26), (3, 2, 2**26), (8, 2, 1), (1, 3, 200)):
        monkeypatch.setattr("annotate.workers.WINDOW_BYTES", window_bytes)
        monkeypatch.setattr("annotate.workers.WINDOW_BYTES_PER_WORKER", window_bytes)
        model = annotate.load_model(fake_model_folder, batch_size=batch_size)
        config = RunConfig((str(archive), str(photos)), faces="crop", workers=workers)
        tables.append(run_table(config, model=model).table.to_pylist())
    assert tables[0] == tables[1] == tables[2] == tables[3]
    assert len(tables[0]) == 46


@POSIX
def test_nothing_is_written_but_the_output_and_inputs_stay_as_they_are(
    photos: Path, tmp_path: Path
) -> None:
    """Nor by a library: ONNX Runtime notes what it does below the home folder, and sends it."""
    for name in ("trip.zip", "trip.tar.gz"):
        pack(photos, tmp_path / name)
    before = state_of(tmp_path)
    with tempfile.TemporaryDirectory() as elsewhere:
        for name in ("home", "tmp", "out"):
            os.mkdir(os.path.join(elsewhere, name))
        # No variable by which a library would know that this is a test.
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "PYTHONDONTWRITEBYTECODE": "1",
            "HOME": os.path.join(elsewhere, "home"),
            "TMPDIR": os.path.join(elsewhere, "tmp"),
        }
        for faces in ("detect", "crop"):
            words = ["run", "trip.zip", "trip.tar.gz", "photos", "-o", f"{elsewhere}/out/x.csv"]
            process = subprocess.run(
                [sys.executable, "-m", "annotate", *words, "--faces", faces, "--overwrite"],
                env=environment,
                cwd=tmp_path,
                capture_output=True,
            )
            assert process.returncode == 3, process.stderr
        written = [os.path.join(where, n) for where, _, names in os.walk(elsewhere) for n in names]
        assert written == [f"{elsewhere}/out/x.csv"]
    assert state_of(tmp_path) == before


def state_of(folder: Path) -> dict[Path, tuple[bytes, int]]:
    """What is in all files below a folder, and when they and the folders were changed."""
    return {
        path: (path.read_bytes() if path.is_file() else b"", path.stat().st_mtime_ns)
        for path in [folder, *folder.rglob("*")]
    }


# Any name ---------------------------------------------------------------------------------

ODD_NAMES = [
    *NAMES, b"bang!/in folder!.png", b"x.zip!/y.png", b"\\x21/literal.png", b"a[1]*?.png",
    b"!.png", b"-", b"- o.png", "e\u0301.png".encode(), b"deep/" * 40 + b"x.png",
]  # fmt: skip


@POSIX
@pytest.mark.parametrize("kind", ["folder", "names.zip", "names.tar", "names!.tar.gz"])
def test_any_name_comes_back_to_its_file_or_member(
    tmp_path: Path, fake_model: Model, invoke_rows: Invoke, kind: str
) -> None:
    """From the output, from a list of what `resolve` says, and from the output as a table."""
    names = [name for name in ODD_NAMES if name != b"-"]
    folder = tmp_path / "in !"
    for number, name in enumerate(names):
        path = folder / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(number))
    source = folder if kind == "folder" else pack(folder, tmp_path / kind, names)
    config = RunConfig((str(source),), faces="crop")
    write(config, str(tmp_path / "out.parquet"), model=fake_model)
    rows = read(tmp_path / "out.parquet")
    assert len(rows) == len(names)
    expected = {hashlib.sha256(png(number)).hexdigest() for number in range(len(names))}
    assert set(rows.sha256) == expected
    for _, row in rows.iterrows():
        row["path"].encode("utf-8")
        with open_input(row) as stream:
            assert hashlib.sha256(stream.read()).hexdigest() == row["sha256"]
        assert ("!/" in row["path"]) == (kind != "folder")
    # What `resolve` says, as a list: each member by itself, in any order.
    listed = b"".join(os.fsencode(resolve(row)) + b"\0" for _, row in rows[::-1].iterrows())
    code, again, _ = invoke_rows("-0", "-", "-o", "-", stdin=listed)
    assert code == 0
    assert {row["sha256"] for row in again} == expected
    assert len(again) == len(names)
    # The output as a table: the very same rows.
    for name in ("out.parquet", "out.csv", "out.jsonl"):
        write(config, str(tmp_path / name), OutputOptions(overwrite=True), model=fake_model)
        table, _ = label(table=str(tmp_path / name), model=fake_model)
        assert table == run_table(config, model=fake_model).table.to_pylist()


@POSIX
def test_names_that_look_like_options_or_the_list(
    tmp_path: Path, invoke_rows: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(("-", "-o", "--limit", "[a].png", "a.png")):
        Path(name).write_bytes(png(number))
    _, rows, _ = invoke_rows("-q", "--", "./-", "-o", "--limit", "[a].png")
    assert [row["path"] for row in rows] == ["-", "-o", "--limit", "[a].png"]
    _, rows, _ = invoke_rows("-q", "-", stdin=b"-\n-o\n[a].png\n")
    assert [row["path"] for row in rows] == ["-", "-o", "[a].png"]
    code, rows, _ = invoke_rows("-q", "-", stdin=b"[b].png\n*.png\n")  # no pattern: two lost files
    assert (code, [row["status"] for row in rows]) == (3, ["unreadable"] * 2)


# Archives in a run ------------------------------------------------------------------------


def test_archives_are_opened_where_they_are_named(photos: Path, fake_model: Model) -> None:
    above = photos.parent
    b = pack(photos / "b", photos / "b.zip")
    pack(photos / "c", photos / "a" / "c.tar")

    def paths(*sources: str | Path) -> list[str]:
        return [row["path"] for row in label(*sources, model=fake_model)[0] if "!/" in row["path"]]

    in_b = [f"b.zip!/{i:02d}.png" for i in range(1, 18, 3)]
    in_c = [f"c.tar!/{i:02d}.png" for i in range(2, 18, 3)]
    assert paths(photos) == []
    assert paths(photos, b) == in_b
    assert paths(above / "photos" / "b.*") == in_b
    assert paths(above / "*" / "*.zip") == in_b
    assert paths(above / "**" / "*.[zt]*") == [*in_c, *in_b]
    assert paths(above / "photos*") == []  # below what matches, as in a folder
    assert paths(above / "**") == []
    (above / "link.zip").symlink_to(b)
    assert paths(b, above / "link.zip", photos / "b.*") == in_b
    _, summary = label(b, above / "link.zip", model=fake_model)
    assert summary.skipped == {"listed twice": 1}


def test_a_limit_counts_members(photos: Path, fake_model: Model) -> None:
    archive = pack(photos / "b", photos.parent / "b.zip")
    whole = [row["path"] for row in label(archive, photos / "a", model=fake_model)[0]]
    for limit in (1, 5, 6, 7, 12, 100):
        rows, summary = label(archive, photos / "a", model=fake_model, limit=limit)
        assert [row["path"] for row in rows] == whole[:limit]
        assert summary.inputs == min(limit, 12)
        rows, _ = label(photos / "a", archive, model=fake_model, limit=limit)
        assert [row["path"] for row in rows] == (whole[6:] + whole[:6])[:limit]


def test_archives_without_images(photos: Path, fake_model: Model, tmp_path: Path) -> None:
    """Of a run that has other inputs they are no fault; of one that has none they are."""
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").touch()
    empty = [pack(tmp_path / "texts", tmp_path / f"empty{suffix}") for suffix in (".zip", ".tgz")]
    rows, summary = label(*empty, photos / "a", model=fake_model)
    assert len(rows) == 6
    assert summary.skipped["not an image"] == 2
    target = tmp_path / "out.parquet"
    nothing = RunConfig(tuple(map(str, empty)), faces="crop")
    with pytest.raises(AnnotateError, match=r"no images in .*zip, .*tgz \(passed over: not an"):
        write(nothing, str(target), model=fake_model)
    assert not target.exists()
    assert not list(tmp_path.glob(".out*"))


def test_nothing_goes_to_stdout_where_an_archive_has_no_images(
    tmp_path: Path, invoke_rows: Invoke
) -> None:
    (tmp_path / "texts").mkdir()
    archive = pack(tmp_path / "texts", tmp_path / "x.zip")
    code, rows, err = invoke_rows("-q", archive, "-o", "-")
    assert (code, rows) == (1, [])
    assert "no images in" in said(err)


def test_a_broken_archive_is_a_row_and_the_run_goes_on(photos: Path, fake_model: Model) -> None:
    whole = pack(photos / "b", photos.parent / "b.tar.gz")
    cut = photos.parent / "cut.tar.gz"
    cut.write_bytes(whole.read_bytes()[:-200])
    (photos.parent / "no.zip").write_bytes(b"no")
    rows, summary = label(cut, photos.parent / "no.zip", photos / "a", model=fake_model)
    assert summary.exit_code == 3
    failed = {row["path"]: row for row in rows if row["status"] != "ok" and "!/" not in row["path"]}
    assert list(failed) == ["cut.tar.gz", "no.zip"]
    for name, row in failed.items():
        assert row["status"] == "decode_error"
        assert row["error"].startswith("archive: ")
        assert row["size_bytes"] == (photos.parent / name).stat().st_size
        assert row["modified_at"] is not None
    assert [row["path"] for row in rows[-6:]] == [f"{i:02d}.png" for i in range(0, 18, 3)]


def test_the_total_grows_as_archives_tell_what_is_in_them(photos: Path, fake_model: Model) -> None:
    b = pack(photos / "b", photos.parent / "b.zip")
    c = pack(photos / "c", photos.parent / "c.tar")
    run = prepare(RunConfig((str(photos / "a"), str(b), str(c)), faces="crop"), model=fake_model)
    assert run.summary.inputs == 6
    heard: list[tuple[int, int]] = []
    for _ in run.batches(lambda summary: heard.append((summary.done, summary.inputs))):
        pass
    assert heard[-1] == (18, 18)
    assert all(done <= total for done, total in heard)
    assert sorted(heard) == heard


def test_a_dry_run_looks_into_archives(
    photos: Path, fake_model: Model, invoke_rows: Invoke
) -> None:
    b = pack(photos / "b", photos.parent / "b.zip")
    many = photos.parent / "many.tar"
    with tarfile.open(many, "w") as archive:
        for number in range(40):
            info = tarfile.TarInfo(f"{number}.bmp")
            data = b"BM" + bytes(10_000)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    run = prepare(RunConfig((str(photos / "a"), str(b)), faces="crop"), model=fake_model)
    assert estimate(run).inputs == 12  # a zip says how many it has
    run = prepare(RunConfig((str(many),), faces="crop"), model=fake_model)
    assert 35 <= estimate(run).inputs <= 45  # a tar does not
    run = prepare(RunConfig((str(many),), faces="crop", limit=5), model=fake_model)
    assert estimate(run).inputs == 5
    some = prepare(RunConfig((f"{many}!/3.bmp", f"{b}!/01.png"), faces="crop"), model=fake_model)
    assert estimate(some).inputs == some.summary.inputs == 2  # nothing has to be guessed at
    code, _, err = invoke_rows("--dry-run", b, photos / "a")
    assert code == 0
    assert "would label about 12 inputs" in err
    assert "with those of 1 archive, into stdout" in err


@POSIX
def test_a_reader_that_leaves_ends_the_reading_of_an_archive(
    tmp_path: Path, fake_model_folder: Path
) -> None:
    """The first picture, then 200 GB of text to pass over, which take minutes to unpack."""
    archive = tmp_path / "x.tar.gz"
    text = gzip.compress(bytes(200_000_000))
    with archive.open("wb") as file:
        head = tarfile.TarInfo("a.png")
        head.size = len(png(1))
        block = head.tobuf() + png(1).ljust(512 * -(-head.size // 512), b"\0")
        texts = tarfile.TarInfo("text")
        texts.size = 1000 * 200_000_000
        file.write(gzip.compress(block + texts.tobuf()))
        for _ in range(1000):
            file.write(text)
    program = (
        "from annotate.archives import entries; from annotate.__main__ import main;"
        "entries.BOMB_BYTES = 2**60; main()"
    )
    process = subprocess.Popen(
        [
            sys.executable, "-c", program, "run", str(archive), "--faces", "crop",
            "--model", str(fake_model_folder), "-o", str(tmp_path / "x.csv"),
        ],
        stderr=subprocess.PIPE, cwd=ROOT,
    )  # fmt: skip
    begun = tmp_path / ".x.csv.annotate" / "run.json"
    deadline = time.monotonic() + 300
    while not begun.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(1)  # by now it reads
    process.send_signal(2)
    process.wait(timeout=120)
    assert process.returncode == 130
    assert not (tmp_path / "x.csv").exists()


@POSIX
def test_folders_deeper_than_a_path_can_be_are_a_row(tmp_path: Path, fake_model: Model) -> None:
    """Made from inside: no path from the root leads to the last ones."""
    draw(tmp_path / "in" / "a.png", (1, 2, 3))
    here = Path.cwd()
    os.chdir(tmp_path / "in")
    name = "d" * 200
    try:
        for _ in range(25):
            os.mkdir(name)
            os.chdir(name)
        Path("deep.png").touch()
        other = draw(tmp_path / "other.png", (3, 2, 1))
        rows, summary = label(tmp_path / "in", other, model=fake_model)
    finally:
        os.chdir(here)
        subprocess.run(["rm", "-rf", str(tmp_path / "in")], check=True)
    assert [row["status"] for row in rows] == ["ok", "unreadable", "ok"]
    assert rows[1]["error"] == "folder cannot be listed: File name too long"
    assert summary.inputs == 3
