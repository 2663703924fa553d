"""CSV, TSV, Parquet and JSON lines become tables of Arrow's, and these examples (table_rows.py)."""

from __future__ import annotations

import io
import json
import os
from collections import Counter
from pathlib import Path
from typing import Any, BinaryIO

from condcli import machine
from condcli.data.encoding import require_utf8
from condcli.data.extras import extra_library
from condcli.data.locate import existing_file
from condcli.data.probe_set import Examples
from condcli.data.request import Request
from condcli.data.table_rows import from_table
from condcli.errors import InputError
from condcli.files import refuse_stand_in, unchanged

SEPARATORS = (",", "\t", ";", "|")
WHOLE = 2**31 - 1  # bytes in a block, from the first of which pyarrow tells the columns' types
HARMLESS = 1 << 27  # values that a table may have, however small its file
MOST_ENCODED = 100  # values a byte, of Parquet's run lengths: only of columns that hardly change
INDEX_COLUMNS = ("", "__index_level_0__")  # pandas' row numbers


def open_table(path: str, request: Request) -> Examples:
    """The rows of a .csv, .tsv, .parquet, .jsonl or .json file, which is read into memory."""
    file = existing_file(path)
    pyarrow = extra_library("pyarrow", extra="tables", source=path)
    with unchanged(file) as stream:
        refuse_stand_in(file, stream)
        if file.suffix.lower() != ".parquet":
            require_utf8(file, stream, remedy="convert it to UTF-8")
        try:
            table = READERS[file.suffix.lower()](file, stream)
        except (pyarrow.ArrowException, OSError, ValueError, RecursionError) as error:
            raise InputError(
                f"{file}: not a sound {file.suffix} file ({_short(error)})", "write it again"
            ) from error
    table = table.rename_columns([name.strip() for name in table.column_names])
    twice = [name for name, count in Counter(table.column_names).items() if count > 1]
    if twice:
        raise InputError(f"{file}: two columns are called '{twice[0]}'", "rename one of them")
    table = table.drop_columns([name for name in INDEX_COLUMNS if name in table.column_names])
    if not table.num_rows or not table.num_columns:
        raise InputError(f"{file}: no rows of data", "give one example or more")
    return from_table(table, source=path, request=request)


def _read_csv(file: Path, stream: BinaryIO) -> Any:
    """The columns of a file whose first line names them, whatever separates them."""
    from pyarrow import csv

    header = stream.readline().decode("utf-8")
    _require_names(file, header)
    size = stream.seek(0, io.SEEK_END)
    stream.seek(0)
    odd: list[Any] = []

    def remember(row: Any) -> str:
        odd.append(row)
        return "skip"

    table = csv.read_csv(
        stream,
        # In one piece and one thread: else a number's type is guessed from the first rows only.
        read_options=csv.ReadOptions(use_threads=False, block_size=min(size + 1, WHOLE)),
        parse_options=csv.ParseOptions(
            delimiter=_separator(header), invalid_row_handler=remember, newlines_in_values=True
        ),
    )
    if odd:
        raise InputError(
            f"{file}: line {odd[0].number} has {odd[0].actual_columns} columns, and the first line "
            f"{odd[0].expected_columns}",
            "give each row a value for each column",
        )
    return table


def _read_parquet(file: Path, stream: BinaryIO) -> Any:
    from pyarrow import parquet

    content = parquet.ParquetFile(stream, page_checksum_verification=True)
    values = content.metadata.num_rows * content.metadata.num_columns
    if values > max(HARMLESS, MOST_ENCODED * os.fstat(stream.fileno()).st_size):
        raise InputError(
            f"{file}: claims {values:,} values, far more than it has bytes",
            "write it without run lengths",
        )
    groups = map(content.metadata.row_group, range(content.metadata.num_row_groups))
    size = sum(group.total_byte_size for group in groups)
    machine.require(size, f"reading {file}", machine.LARGER)
    return content.read()


def _read_json(file: Path, stream: BinaryIO) -> Any:
    """One object a line, or a list of objects."""
    from pyarrow import json as lines

    content = stream.read()
    if content.lstrip()[:1] == b"[":
        content = "\n".join(json.dumps(row) for row in json.loads(content)).encode()
    _require_objects(content)
    options = lines.ReadOptions(use_threads=False, block_size=min(len(content) + 1, WHOLE))
    return lines.read_json(io.BytesIO(content), read_options=options)


def _require_objects(content: bytes) -> None:
    """Raises ValueError unless each line holds one object: a damaged `null` crashes pyarrow."""
    for number, line in enumerate(content.splitlines(), 1):
        if line.strip() and not isinstance(json.loads(line), dict):
            raise ValueError(f"line {number} is no object")


READERS = {
    ".csv": _read_csv,
    ".tsv": _read_csv,
    ".parquet": _read_parquet,
    ".jsonl": _read_json,
    ".json": _read_json,
}


def _short(error: Exception) -> str:
    """The first words of what a reader of pyarrow or json has to say."""
    return (str(error).splitlines() or ["unreadable"])[0][:120]


def _separator(header: str) -> str:
    """The one that the header has most of."""
    return max(SEPARATORS, key=header.count)


def _require_names(file: Path, header: str) -> None:
    cells = header.strip().split(_separator(header))
    if cells and all(_is_number(cell) for cell in cells):
        raise InputError(
            f"{file}: the first line holds numbers, not the names of the columns",
            "add a first line with their names",
        )


def _is_number(cell: str) -> bool:
    try:
        float(cell.strip().strip('"'))
    except ValueError:
        return False
    return True
