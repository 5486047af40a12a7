"""CSV and parquet as sources of stamps and columns, read a batch at a time.

Stamps become int64 ns without passing through binary floats: text is read as decimals, whole numbers are multiplied;
only a column that is stored as floating point keeps what that holds. CSV numbers are float64, parquet keeps its types.

Shape legend: N rows, K rows asked for, D columns.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal, DecimalException
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as csv
import pyarrow.parquet as pq

from worldgate.core.errors import ConfigError, LogUnreadable, UsageError
from worldgate.core.streams import Array, IntArray
from worldgate.core.times import parse_ns

UNIT_NS: Final = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}
MAX_ROWS: Final = 1 << 28
"""A parquet file can declare any number of rows in a few bytes."""
MAX_READ: Final = 1 << 32
_BATCH: Final = 1 << 16
_BLOCK: Final = 1 << 22
_UNNAMED: Final = "f0"


@dataclass(frozen=True, slots=True, kw_only=True)
class TableFile:
    """One CSV, TSV or parquet file, or a plain list of stamps."""

    path: Path
    delimiter: str = ","
    header: bool = True
    """Whether the first line names columns; without it there is one column, the stamps."""

    @property
    def parquet(self) -> bool:
        """By its name."""
        return self.path.suffix in {".parquet", ".pq"}

    def check(self, wanted: Sequence[str]) -> None:
        """Refuse columns that are not there, or there twice.

        Raises:
            ConfigError: no such column.
            LogUnreadable: a file that cannot be read, or a name that stands for two columns.
        """
        names = self._names()
        for name in wanted:
            count = names.count(name)
            if count == 0:
                raise ConfigError("no such column", got=name, where=self.path, hint=f"one of {', '.join(names)}")
            if count > 1:
                raise LogUnreadable("two columns of one name", got=name, where=self.path)

    def _names(self) -> list[str]:
        try:
            if self.parquet:
                with pq.ParquetFile(self.path) as file:
                    return list(file.schema_arrow.names)
            with self._csv(None, None) as reader:
                return list(reader.schema.names)
        except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
            raise self._unreadable(error) from error

    def stamps(self, column: str, unit: str) -> IntArray:
        """(N,) a column as ns.

        Args:
            column: its name; empty for a list of stamps.
            unit: ``s``, ``ms``, ``us``, ``ns`` or ``iso``; empty where the column's type says it.

        Raises:
            ConfigError: numbers without a unit.
            LogUnreadable: an empty cell, something that is no time, a time beyond int64.
        """
        name = column or _UNNAMED
        out, row = [], 0
        for batch in self._batches([name], {name: pa.string()}):
            values = batch.column(0)
            try:
                out.append(_stamps(values, unit))
            except (ValueError, UsageError, DecimalException, OverflowError, pa.ArrowException) as error:
                if isinstance(error, ConfigError):
                    raise ConfigError(
                        error.what, got=error.got, where=f"{self.path}:{column}", hint=error.hint
                    ) from error
                first, got = _first_bad(values, unit)
                where = f"{self.path}:{column}:row {row + first}"
                raise LogUnreadable("a cell that is no time", got=got, where=where, hint=f"read as {unit}") from error
            row += len(values)
        return np.concatenate(out) if out else np.empty(0, dtype=np.int64)

    def count(self, column: str) -> int:
        """N, by reading one column through."""
        return sum(len(batch) for batch in self._batches([column], {column: pa.string()}))

    def numbers(self, columns: Sequence[str], rows: IntArray) -> Array:
        """(K, D) of these ascending rows; an empty cell is NaN.

        Raises:
            LogUnreadable: a cell that is no number, columns of lists whose lengths differ.
        """
        parts: list[Array] = []
        size = 0
        for batch, local in self._rows(columns, dict.fromkeys(columns, pa.float64()), rows):
            taken = [_numeric(batch.column(i).take(pa.array(local)), self.path) for i in range(len(columns))]
            parts.append(np.concatenate(taken, axis=1))
            size += parts[-1].nbytes
            if size > MAX_READ:
                raise LogUnreadable("more numbers than one read may give", where=self.path, hint="read a window")
        if not parts:
            return np.empty((0, len(columns)), dtype=np.float64)
        try:
            out: Array = np.concatenate(parts)
        except ValueError as error:
            raise LogUnreadable("rows of different lengths", got=columns, where=self.path) from error
        return out

    def texts(self, column: str, rows: IntArray) -> Array:
        """(K,) text of these ascending rows."""
        found: list[str] = []
        for batch, local in self._rows([column], {column: pa.string()}, rows):
            cells = batch.column(0).take(pa.array(local)).to_pylist()
            found += ["" if cell is None else str(cell) for cell in cells]
        out = np.empty(len(found), dtype=object)
        out[:] = found
        return out

    def _rows(
        self, columns: Sequence[str], types: dict[str, pa.DataType], rows: IntArray
    ) -> Iterator[tuple[pa.RecordBatch, IntArray]]:
        """Batches that hold any of these ascending rows, and which of theirs they are."""
        start = 0
        for batch in self._batches(columns, types) if len(rows) else ():
            first, last = np.searchsorted(rows, [start, start + len(batch)])
            if last > first:
                yield batch, rows[first:last] - start
            start += len(batch)
            if last == len(rows):
                return

    def _batches(self, columns: Sequence[str], types: dict[str, pa.DataType]) -> Iterator[pa.RecordBatch]:
        try:
            if self.parquet:
                with pq.ParquetFile(self.path) as file:
                    if file.metadata.num_rows > MAX_ROWS:
                        raise LogUnreadable("more rows than a log has", got=file.metadata.num_rows, where=self.path)
                    for batch in file.iter_batches(_BATCH, columns=list(columns), use_threads=False):
                        yield batch.select(list(columns))
                return
            with self._csv(columns, types) as reader:
                yield from reader
        except (OSError, pa.ArrowException) as error:
            raise self._unreadable(error) from error

    def _csv(self, columns: Sequence[str] | None, types: dict[str, pa.DataType] | None) -> Any:
        return csv.open_csv(
            self.path,
            csv.ReadOptions(block_size=_BLOCK, use_threads=False, autogenerate_column_names=not self.header),
            csv.ParseOptions(delimiter=self.delimiter, newlines_in_values=True),
            csv.ConvertOptions(column_types=types, include_columns=None if columns is None else list(columns)),
        )

    def _unreadable(self, error: Exception) -> LogUnreadable:
        what = "a table that is missing" if not self.path.is_file() else "a table that cannot be read"
        return LogUnreadable(what, got=str(error).splitlines()[0][:160], where=self.path)


# ------------------------------------------------------------------ cells


def _numeric(values: pa.Array, where: Path) -> Array:
    """(K, W) numbers of a column: W is 1, or the length of its lists."""
    kind = values.type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        flat = _numeric(values.flatten(), where)
        if values.null_count or not len(values) or len(flat) % len(values):
            raise LogUnreadable("rows of different lengths", got=str(kind), where=where)
        lengths = np.unique(pc.list_value_length(values).to_numpy(zero_copy_only=False))
        if len(lengths) != 1:
            raise LogUnreadable("rows of different lengths", got=f"{lengths.min()} to {lengths.max()}", where=where)
        return flat.reshape(len(values), -1)
    if pa.types.is_boolean(kind):
        values = values.cast(pa.uint8())
    elif not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        raise LogUnreadable("a column that is not numbers", got=str(kind), where=where)
    if values.null_count:
        values = values.cast(pa.float64() if pa.types.is_integer(values.type) else values.type)
        values = values.fill_null(math.nan)
    return np.asarray(values.to_numpy(zero_copy_only=False))[:, None]


def _stamps(values: pa.Array, unit: str) -> IntArray:
    if values.null_count:
        raise ValueError("an empty cell")
    kind = values.type
    if pa.types.is_timestamp(kind):
        return np.asarray(values.cast(pa.timestamp("ns", kind.tz)).cast(pa.int64()).to_numpy(zero_copy_only=False))
    text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    if unit == "iso" and text:
        return np.array([parse_ns(cell) for cell in values.to_pylist()], dtype=np.int64)
    if unit not in UNIT_NS:
        hint = 'time_unit = "s", "ms", "us", "ns", or "iso" for text with a zone'
        raise ConfigError("stamps without a unit", got=f"{kind} and time_unit = {unit!r}", hint=hint)
    if text:
        return _decimal(values, unit)
    if pa.types.is_integer(kind):
        whole = values.cast(pa.int64()).to_numpy(zero_copy_only=False)
        if len(whole) and max(abs(int(whole.min())), abs(int(whole.max()))) > (2**63 - 1) // UNIT_NS[unit]:
            raise OverflowError("beyond int64")
        return np.asarray(whole * UNIT_NS[unit])
    floats = values.cast(pa.float64()).to_numpy(zero_copy_only=False)
    if not np.isfinite(floats).all() or (len(floats) and np.abs(floats).max() >= 2**63 / UNIT_NS[unit]):
        raise OverflowError("not a time")
    whole = np.floor(floats)
    # In two parts: the product of the whole would lose what the column still holds.
    out: IntArray = whole.astype(np.int64) * UNIT_NS[unit] + np.rint((floats - whole) * UNIT_NS[unit]).astype(np.int64)
    return out


def _decimal(values: pa.Array, unit: str) -> IntArray:
    """Text to ns, exactly; digits below a ns are rounded."""
    scale = len(str(UNIT_NS[unit])) - 1
    try:
        exact = pc.cast(pc.utf8_trim_whitespace(values), pa.decimal128(38, scale))
    except pa.ArrowException:
        cells = [int((Decimal(cell.strip()) * UNIT_NS[unit]).to_integral_value()) for cell in values.to_pylist()]
        if any(abs(cell) >= 2**63 for cell in cells):
            raise OverflowError("beyond int64") from None
        return np.array(cells, dtype=np.int64)
    words = np.frombuffer(exact.buffers()[1], dtype="<i8").reshape(-1, 2)[exact.offset : exact.offset + len(exact)]
    low, high = words[:, 0], words[:, 1]
    if (high != low >> 63).any():
        raise OverflowError("beyond int64")
    return np.array(low, dtype=np.int64)


def _first_bad(values: pa.Array, unit: str) -> tuple[int, str]:
    """The first row that is no time, and what stands there."""
    for row in range(len(values)):
        try:
            _stamps(values.slice(row, 1), unit)
        except (ValueError, UsageError, DecimalException, OverflowError, pa.ArrowException):
            return row, _shown(values[row])
    return 0, ""


def _shown(value: pa.Scalar) -> str:
    try:
        return repr(value.as_py())[:60]
    except UnicodeDecodeError:
        return "text that is not UTF-8"
