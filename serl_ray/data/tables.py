"""Parquet files, which may be anyone's, opened and read: what is wrong is one error, and no promise of theirs is believed."""

from __future__ import annotations

from collections.abc import Sequence

import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from serl_ray.data.files import locate

WIDTHS = {"BOOLEAN": 1, "INT32": 4, "INT64": 8, "INT96": 12, "FLOAT": 4, "DOUBLE": 8, "BYTE_ARRAY": 8}
"""Bytes that a value of a physical type takes in memory; of a string those of its place alone."""


def open_parquet(path: str) -> pq.ParquetFile:
    """A Parquet file by local path or URI.

    Raises:
        ValueError: it is cut off or none, or has a column of a type that some library has taught Arrow. One of Ray's unpickles
            its values.
    """
    file_system, name = locate(path)
    try:
        file = pq.ParquetFile(name, filesystem=file_system)
    except (pa.ArrowException, OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # of the file system, not of the contents
            raise
        raise ValueError(f"{path}: cut off, or not a Parquet file ({error}). Copy the file again.") from error
    for column in file.schema_arrow:
        if not _is_plain(column.type):
            file.close()
            raise ValueError(f"{path}: column {column.name!r} is of the type {column.type}, which is not plain data.")
    return file


def _is_plain(kind: pa.DataType) -> bool:
    if isinstance(kind, pa.BaseExtensionType):
        return kind.extension_name.startswith("arrow.") and _is_plain(kind.storage_type)
    if pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind):
        return _is_plain(kind.value_type)
    return all(_is_plain(kind.field(index).type) for index in range(kind.num_fields))


def read_group(file: pq.ParquetFile, group: int, columns: Sequence[str], where: str) -> pa.Table:
    """The columns of a row group. `where` is what an error calls it.

    Raises:
        ValueError: it cannot be read, or promises more than fits into memory.
    """
    described = file.metadata.row_group(group)
    chunks = [described.column(i) for i in range(described.num_columns)]
    check_memory(sum(_size(chunk, file.schema.column(i).length) for i, chunk in enumerate(chunks)), where)
    try:
        table = file.read_row_group(group, columns=list(columns))
        table.validate(full=True)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise ValueError(f"{where}: its row group cannot be read ({error}). Copy the file again.") from error
    return table


def check_memory(num_bytes: int, where: str) -> None:
    """Raises ValueError where something would take more memory than is free, or says that it takes less than nothing."""
    available = psutil.virtual_memory().available
    if not 0 <= num_bytes <= available:
        raise ValueError(
            f"{where}: it promises {num_bytes / 1e9:.3g} GB where {available / 1e9:.3g} GB of memory are free. "
            "Copy the file again, or cut it into smaller ones."
        )


def _size(chunk: pq.ColumnChunkMetaData, length: int) -> int:
    return max(chunk.total_uncompressed_size, chunk.num_values * WIDTHS.get(chunk.physical_type, length))
