"""Labels: UTKFace file names or a table in, (age, gender, race) and a list of faults out.

Nothing is guessed. A name that does not say all that UTKFace names say is malformed: it is
listed and not scored. A name whose labels are readable but whose ending is not the usual one
is odd: it is scored, and listed too.
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from annotate.errors import AnnotateError, shown

if TYPE_CHECKING:
    from annotate.reviewed import LabelledFace

GENDERS = ("male", "female")
"""UTKFace's codes: 0 is male, 1 is female."""

RACES = ("White", "Black", "Asian", "Indian", "Others")
"""UTKFace's codes 0 to 4."""

MAX_AGE = 130
"""Years. UTKFace's oldest label is 116, the oldest person known reached 122."""

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"})
"""Suffixes of the files that a labelled folder is expected to hold."""

LABEL_COLUMNS = ("age", "gender", "race")
"""Columns of a label table beside `path`; it has at least one of them."""

MAX_TABLE_BYTES = 2 * 2**30
MAX_TABLE_ROWS = 10_000_000
MAX_CELL_CHARS = 1_000_000
MAX_RACE_CHARS = 100

_NUMBER = re.compile(r"\d{1,20}(?:\.\d{0,40})?(?:[eE][+-]?\d{1,3})?", re.ASCII)
_USUAL = re.compile(r"(\d{1,3})_([01])_([0-4])_\d+(?:\.jpg\.chip)?\.jpe?g", re.ASCII)
_READABLE = re.compile(r"(\d{1,3})_([01])_([0-4])_\d+(?!\d)(?!_).*", re.ASCII | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Label:
    """What a person said of one face; None where nobody said anything.

    age: years, 0 to 130, fractions allowed in tables. gender: "female" or "male".
    race: one of RACES from UTKFace names, any text from a table. face: which face was labelled,
    None for the one that the picture is scored by.
    """

    age: float | None = None
    gender: str | None = None
    race: str | None = None
    face: LabelledFace | None = None


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with a labelled data set.

    kind: "malformed_name" (not scored), "odd_name" (scored), "missing_file" (a table row
    without its file), "invalid_value" (a table cell that is no label; not scored),
    "duplicate_row" (a path twice in a table; neither is scored), "unlabelled" (a file of which
    the table says nothing; not scored), "label_conflict" (byte-identical files with different
    labels; scored), "no_prediction" (a file that given predictions lack; not scored),
    "other_content" (a prediction that was made from other bytes at the same path; scored),
    "no_face" (a labelled photograph in which no face was found; not scored), or a status of
    records.Status that is a failure (a file that could not be read; not scored).
    """

    kind: str
    path: str
    detail: str


@dataclass(frozen=True)
class LabelSet:
    """Labels by path (POSIX, relative to the folder) and the faults met on the way."""

    labels: Mapping[str, Label]
    faults: tuple[Fault, ...] = ()
    source: str = "utkface_name"

    def faults_of(self, kind: str) -> list[Fault]:
        """The faults of one kind, in the order in which they were met."""
        return [fault for fault in self.faults if fault.kind == kind]

    def only(self, paths: set[str]) -> LabelSet:
        """What is said of some files, and all faults that are not about other files."""
        faults = tuple(f for f in self.faults if f.kind != "unlabelled" or f.path in paths)
        labels = {path: label for path, label in self.labels.items() if path in paths}
        return LabelSet(labels, faults, self.source)


def parse_utkface_name(name: str) -> tuple[Label | None, Fault | None]:
    """Read `[age]_[gender]_[race]_[timestamp].jpg.chip.jpg` (or `.jpg`) strictly.

    name: a file name or path; only its last component counts.
    Returns (label, None) for a usual name, (label, odd_name fault) where the labels can be read
    but the ending is odd, and (None, malformed_name fault) otherwise.
    Source: https://susanqq.github.io/UTKFace/.
    """
    base = name.rsplit("/", 1)[-1]
    match = _USUAL.fullmatch(base)
    odd = match is None
    if match is None:
        match = _READABLE.fullmatch(base)
    if match is None or os.path.splitext(base)[1].lower() not in IMAGE_SUFFIXES:
        detail = "expected [age]_[gender 0-1]_[race 0-4]_[timestamp].jpg"
        return None, Fault("malformed_name", name, detail)
    age = int(match[1])
    if age > MAX_AGE:
        return None, Fault("malformed_name", name, f"age {age} is over {MAX_AGE}")
    label = Label(float(age), GENDERS[int(match[2])], RACES[int(match[3])])
    return label, Fault("odd_name", name, "unusual ending, labels readable") if odd else None


def labels_from_names(paths: Iterable[str]) -> LabelSet:
    """Labels of UTKFace-named files. paths: POSIX, relative to the labelled folder."""
    labels: dict[str, Label] = {}
    faults: list[Fault] = []
    for path in paths:
        label, fault = parse_utkface_name(path)
        if label is not None:
            labels[path] = label
        if fault is not None:
            faults.append(fault)
    return LabelSet(labels, tuple(faults))


def utkface_files(folder: str | os.PathLike[str]) -> list[str]:
    """Names of the image files directly in a UTKFace folder, in byte order.

    Raises AnnotateError where the folder cannot be listed or holds no image.
    """
    root = Path(folder)
    try:
        names = [entry.name for entry in os.scandir(root) if entry.is_file()]
    except OSError as error:
        raise AnnotateError(f"cannot read the data folder {root}: {error.strerror}") from error
    names = [
        name
        for name in names
        if not name.startswith(".") and os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES
    ]
    if not names:
        raise AnnotateError(f"no images in {root}: expected files named as UTKFace names them")
    return sorted(names, key=os.fsencode)


def read_label_table(path: str | os.PathLike[str], folder_files: Iterable[str]) -> LabelSet:
    """Labels of a table: CSV (UTF-8, commas) or Parquet, with `path` and any of LABEL_COLUMNS.

    The output of `annotate review --apply`, of any format, is such a table of what a person said.
    folder_files: the files that may be labelled, written as in `path`: POSIX, relative to the
    labelled folder. Paths are compared as they are; other columns are ignored. Empty cells are
    absent labels. A cell that is no label is a fault, and that label is absent.
    Raises AnnotateError where the file is no such table.
    """
    files = dict.fromkeys(folder_files)
    labels: dict[str, list[tuple[int, Label]]] = {}
    faults: list[Fault] = []
    for row in _table_rows(os.fspath(path)):
        name, label, found = _read_row(row)
        faults += found
        if name:
            labels.setdefault(name, []).append((row.number, label))
    single: dict[str, Label] = {}
    for name, given in labels.items():
        if len(given) > 1:
            faults.append(_duplicate(name, given))
        elif name in files and given[0][1] != Label():
            single[name] = given[0][1]
        if name not in files:
            faults.append(Fault("missing_file", name, f"row {given[0][0]}: no such input"))
    faults += _unlabelled(files, labels, faults)
    return LabelSet(single, tuple(faults), "table")


@dataclass(frozen=True, slots=True)
class _Row:
    """A row of a label table. number: from 1, below the header. cells: by column, as stored.

    problem: why the cells cannot be told apart, if so. face: as of a Label.
    """

    number: int
    cells: Mapping[str, Any]
    problem: str | None = None
    face: LabelledFace | None = None


def _read_row(row: _Row) -> tuple[str, Label, list[Fault]]:
    """(path or "", what can be read of the label, faults)."""
    name = row.cells.get("path")
    if not isinstance(name, str) or not name:
        return "", Label(), [Fault("invalid_value", "", f"row {row.number} has no path")]
    if row.problem is not None:
        return name, Label(), [Fault("invalid_value", name, f"row {row.number}: {row.problem}")]
    values: dict[str, Any] = {} if row.face is None else {"face": row.face}
    faults = []
    for column, (parse, expected) in _PARSERS.items():
        cell = row.cells.get(column)
        if cell is None or (isinstance(cell, str) and not cell.strip()):
            continue
        try:
            values[column] = parse(cell)
        except (ValueError, OverflowError):
            detail = f"row {row.number}: {column} is {shown(cell)}, expected {expected}"
            faults.append(Fault("invalid_value", name, detail))
    return name, Label(**values), faults


def _parse_age(cell: object) -> float:
    """Years, 0 to MAX_AGE. Raises ValueError, also for NaN and for what float() alone takes."""
    if isinstance(cell, str):
        if _NUMBER.fullmatch(cell.strip()) is None:
            raise ValueError(cell)
    elif isinstance(cell, bool) or not isinstance(cell, int | float | Decimal):
        raise ValueError(cell)
    age = float(cell)
    if not 0 <= age <= MAX_AGE:
        raise ValueError(cell)
    return age


def _parse_gender(cell: object) -> str:
    if isinstance(cell, str) and cell.strip() in GENDERS:
        return cell.strip()
    raise ValueError(cell)


def _parse_race(cell: object) -> str:
    """Any short printable text; whole numbers become text, as they are in CSV."""
    if isinstance(cell, str) or (isinstance(cell, int) and not isinstance(cell, bool)):
        text = str(cell).strip()
        if text.isprintable() and len(text) <= MAX_RACE_CHARS:
            return text
    raise ValueError(cell)


_PARSERS = {
    "age": (_parse_age, f"years from 0 to {MAX_AGE}"),
    "gender": (_parse_gender, "female or male"),
    "race": (_parse_race, f"printable text of at most {MAX_RACE_CHARS} characters"),
}


def _duplicate(name: str, given: Sequence[tuple[int, Label]]) -> Fault:
    rows = ", ".join(str(number) for number, _ in given[:10]) + (", …" if given[10:] else "")
    same = len({label for _, label in given}) == 1
    return Fault("duplicate_row", name, f"rows {rows}: {'same' if same else 'different'} labels")


def _unlabelled(
    files: Iterable[str], labels: Mapping[str, Sequence[tuple[int, Label]]], faults: list[Fault]
) -> Iterator[Fault]:
    """A fault for each file that has no label and no other fault that says why."""
    explained = {fault.path for fault in faults if fault.kind == "invalid_value"}
    for name in files:
        given = labels.get(name)
        if given is None:
            yield Fault("unlabelled", name, "no label in the label table")
        elif len(given) == 1 and given[0][1] == Label() and name not in explained:
            yield Fault("unlabelled", name, f"row {given[0][0]} has no label")


def _table_rows(path: str) -> list[_Row]:
    """The rows of a label table of either format. Raises AnnotateError."""
    from annotate import reviewed

    try:
        if reviewed.is_reviewed(path):
            labels = reviewed.labels_in(path)
            return [_Row(number, cells, face=face) for number, cells, face in labels]
        if not os.path.isfile(path):
            raise AnnotateError(
                f"no label table {shown(path)}: expected a CSV or Parquet file with a path column"
            )
        if os.path.getsize(path) > MAX_TABLE_BYTES:
            raise AnnotateError(
                f"label table {shown(path)} is larger than {MAX_TABLE_BYTES} bytes: keep only"
                " the columns path, age, gender and race"
            )
        with open(path, "rb") as file:
            is_parquet = file.read(4) == b"PAR1"
        return _parquet_rows(path) if is_parquet else _csv_rows(path)
    except AnnotateError:
        raise
    except (OSError, ValueError, TypeError, LookupError, ArithmeticError, MemoryError) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise AnnotateError(
            f"cannot read the label table {shown(path)}: {shown(reason, 200, quote=False)};"
            " expected a CSV in UTF-8 or a Parquet file"
        ) from error


def _csv_rows(path: str) -> list[_Row]:
    rows: list[_Row] = []
    limit = csv.field_size_limit(MAX_CELL_CHARS)
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            try:
                header = [name.strip() for name in next(reader, [])]
                columns = _wanted_columns(path, header)
                for cells in reader:
                    if cells:
                        rows.append(_csv_row(len(rows) + 1, cells, header, columns))
                    _check_row_count(path, len(rows))
            except csv.Error as error:
                raise ValueError(f"line {reader.line_num}: {error}") from error
    finally:
        csv.field_size_limit(limit)
    return rows


def _csv_row(number: int, cells: list[str], header: list[str], columns: Mapping[str, int]) -> _Row:
    found = {name: cells[index] for name, index in columns.items() if index < len(cells)}
    if len(cells) == len(header):
        return _Row(number, found)
    return _Row(number, found, f"{len(cells)} cells, the header has {len(header)}")


def _parquet_rows(path: str) -> list[_Row]:
    import pyarrow as pa

    from annotate.arrow_files import parquet

    try:
        with parquet(path) as file:
            _check_row_count(path, file.metadata.num_rows)
            names = list(_wanted_columns(path, file.schema_arrow.names))
            table = file.read(columns=names)
            columns = [table.column(name).to_pylist() for name in names]
    except pa.ArrowException as error:
        raise ValueError(str(error)) from error
    return [
        _Row(number, dict(zip(names, cells, strict=True)))
        for number, cells in enumerate(zip(*columns, strict=True), 1)
    ]


def _check_row_count(path: str, rows: int) -> None:
    if rows > MAX_TABLE_ROWS:
        raise AnnotateError(f"label table {shown(path)} has more than {MAX_TABLE_ROWS} rows")


def _wanted_columns(path: str, header: Sequence[str]) -> dict[str, int]:
    """Index of `path` and of the label columns that a table has. Raises AnnotateError."""
    wanted = ("path", *LABEL_COLUMNS)
    found = {name: header.index(name) for name in wanted if name in header}
    twice = [name for name in found if header.count(name) > 1]
    if twice:
        raise AnnotateError(f"label table {shown(path)} has two columns {twice[0]!r}: remove one")
    if "path" not in found or len(found) < 2:
        lacks = "a path column" if "path" not in found else "any of age, gender, race"
        raise AnnotateError(
            f"label table {shown(path)} lacks {lacks}: expected columns path and any of age,"
            f" gender, race, separated by commas; found {shown(', '.join(header), quote=False)}"
        )
    return found
