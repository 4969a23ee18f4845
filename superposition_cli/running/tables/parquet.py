"""Parquet files of columns: written a block at a time, read a column or some rows at a time.

A number is kept as the chunks have it. Read, it has the nine digits that it has in a CSV, so that
nothing found in a run depends on which of the two files is there.
"""

import contextlib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from superposition_cli.errors import FolderRefused
from superposition_cli.running import fsio
from superposition_cli.running.tables import texts

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

TENS = np.array([float(f"1e{power}") for power in range(23)])  # all that are exact
UNSURE = 1e-6  # of a last digit: above what scaling by a power of ten rounds away, 2^-53 * 10^9
ROWS_AT_ONCE = 1 << 14


class Writer:
    """A Parquet file that replaces another when all is written; blocks become its row groups."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.stack = contextlib.ExitStack()

    def __enter__(self) -> "Writer":
        self.file = self.stack.enter_context(fsio.binary_file(self.path))
        self.writer: pq.ParquetWriter | None = None
        return self

    def add(self, columns: "dict[str, pa.Array]") -> None:
        """Add rows, by column."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        block = pa.table(columns)
        if self.writer is None:
            opened = pq.ParquetWriter(self.file, block.schema, compression="zstd")
            self.writer = self.stack.enter_context(opened)
        self.writer.write_table(block, row_group_size=max(1, len(block)))

    def __exit__(self, *problem: object) -> None:
        self.stack.__exit__(*problem)  # type: ignore[arg-type]


class Columns(Mapping[str, np.ndarray]):
    """The columns of a Parquet file by name, each read when it is first asked for.

    Args:
        path: the file.
        settings: the columns that are settings, not results.
    """

    def __init__(self, path: Path, settings: Collection[str]) -> None:
        self.path, self.settings = path, settings
        self._kept: dict[str, np.ndarray] = {}
        with opened(path) as file:
            self._names = list(file.schema_arrow.names)

    def __repr__(self) -> str:
        return f"Columns({', '.join(self._names)})"

    def __len__(self) -> int:
        return len(self._names)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._kept:
            if name not in self._names:
                raise KeyError(name)
            with opened(self.path) as file:
                column = file.read(columns=[name], use_threads=False).column(name)
            self._kept[name] = values(column, name in self.settings)
        return self._kept[name]


@contextlib.contextmanager
def opened(path: Path) -> "Iterator[pq.ParquetFile]":
    """Open a Parquet file to read. Raises `FolderRefused` where it is none."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            yield file
    except (OSError, pa.ArrowInvalid) as problem:
        raise FolderRefused(f"{path}: not a readable Parquet file ({problem})") from problem


def rows(path: Path, settings: Collection[str], most: int | None) -> Iterator[list[str]]:
    """Yield the first rows of a file as a CSV has them, all where `most` is None; header first."""
    with opened(path) as file:
        names = file.schema_arrow.names
        yield list(names)
        left = file.metadata.num_rows if most is None else most
        size = max(1, min(left, ROWS_AT_ONCE))
        for batch in file.iter_batches(size, use_threads=False) if left else ():
            columns = [written(batch.column(i), n in settings) for i, n in enumerate(names)]
            for row in zip(*columns, strict=True):
                if left <= 0:
                    return
                left -= 1
                yield list(row)


def written(column: "pa.Array", is_setting: bool) -> list[str]:
    """Return a column as text: settings as they are, results to nine digits, empty for none."""
    import pyarrow as pa

    plain = column.to_pylist()
    if pa.types.is_boolean(column.type):
        return ["true" if value else "false" for value in plain]
    if pa.types.is_floating(column.type):
        return list(map(repr if is_setting else texts.number, plain))
    return ["" if value is None else str(value) for value in plain]


def values(column: "pa.ChunkedArray", is_setting: bool) -> np.ndarray:
    """Return a column as numbers or text, as `texts.column` makes them of what `written` gives."""
    import pyarrow as pa

    if pa.types.is_string(column.type):
        coded = column.combine_chunks().dictionary_encode()
        return texts.column(coded.dictionary.to_pylist())[coded.indices.to_numpy()]
    numbers = column.to_numpy()
    if pa.types.is_boolean(column.type):
        return numbers.astype(bool)
    if pa.types.is_integer(column.type):
        return numbers if column.null_count else numbers.astype(np.int64)
    return numbers if is_setting else _without_point(nine_digits(numbers))


def _without_point(numbers: np.ndarray) -> np.ndarray:
    """Whole numbers as such where all are written without a point or an exponent."""
    whole = np.isfinite(numbers) & (numbers == np.rint(numbers)) & (np.abs(numbers) < 1e9)
    return numbers.astype(np.int64) if whole.all() else numbers


def nine_digits(numbers: np.ndarray) -> np.ndarray:
    """Return numbers to nine significant digits, as `texts.number` writes them; NaN for none.

    With k the power that makes x 10^k a number of nine digits, rint(x 10^k) / 10^k: for |k| up to
    22 both are exact and their ratio is the double next to the decimal, as in Clinger's fast path.
    Where the last digit is near a tie, or k beyond, the number is written and read.
    """
    given = numbers.astype(np.float64)
    size = np.abs(given)
    usual = (size > 1e-13) & (size < 1e30)
    size = np.where(usual, size, 1.0)
    power = 8 - np.floor(np.log10(size)).astype(int)
    up, down = TENS[np.maximum(power, 0)], TENS[np.maximum(-power, 0)]
    scaled = size * up / down  # one of the two is 1
    digits = np.rint(scaled)
    tie = np.abs(scaled - np.floor(scaled) - 0.5) < UNSURE
    beyond = (digits < 1e8) | (digits >= 1e9)  # the logarithm was off, or nines rounded up
    found = np.copysign(digits * down / up, given)
    found = np.where(given == 0, given, np.where(np.isfinite(given), found, np.nan))
    for at in np.flatnonzero((~usual | tie | beyond) & np.isfinite(given) & (given != 0)):
        found[at] = float(texts.number(given[at]))
    return found
