"""Reading of untrusted Parquet files: sizes are checked before memory is taken, and every fault is one ValueError."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from serl_ray.files.lfs import MAX_POINTER_BYTES, check_not_lfs_pointer
from serl_ray.files.uris import locate, open_input
from serl_ray.utils.memory import free_memory


def open_parquet(path: str) -> pq.ParquetFile:
    """A Parquet file by local path or URI.

    Raises:
        ValueError: the file is cut off or not Parquet, or a column has an Arrow extension type; one that Ray registers
            unpickles its values.
    """
    file_system, name = locate(path)
    try:
        file = pq.ParquetFile(name, filesystem=file_system, page_checksum_verification=True)
    except (pa.ArrowException, OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # an error of the file system, not of the contents
            raise
        with open_input(path) as raw:
            check_not_lfs_pointer(path, raw.read(MAX_POINTER_BYTES))
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
    """The columns of a row group; `where` names the group in errors.

    Raises:
        ValueError: the group cannot be read, or needs more memory than is free.
    """
    described = file.metadata.row_group(group)  # pyarrow crashes on columns without metadata
    row = sum(_width(column.type) for column in file.schema_arrow)
    check_memory(max(described.total_byte_size, described.num_rows * row), where)
    try:
        table = file.read_row_group(group, columns=list(columns))
        table.validate(full=True)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise ValueError(f"{where}: its row group cannot be read ({error}). Copy the file again.") from error
    return table


def check_memory(num_bytes: int, where: str) -> None:
    """Raises ValueError for a size that is negative or larger than the free memory."""
    available = free_memory()
    if not 0 <= num_bytes <= available:
        raise ValueError(
            f"{where}: it claims to hold {num_bytes / 1e9:.3g} GB, but {available / 1e9:.3g} GB of memory are free. "
            "Copy the file again, or split it into smaller ones."
        )


def _width(kind: pa.DataType) -> int:
    """Bytes of a value of this type in memory; for strings and lists of variable length only those of the offset."""
    if pa.types.is_fixed_size_list(kind):
        return int(kind.list_size) * _width(kind.value_type)
    if pa.types.is_struct(kind):
        return sum(_width(kind.field(index).type) for index in range(kind.num_fields))
    try:
        return -(-int(kind.bit_width) // 8)
    except ValueError:  # types without a fixed width
        return 8
