"""The rows of Parquet and Arrow files."""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterator
from contextlib import contextmanager

from safegen.core.errors import ConfigError, StoreDamaged
from safegen.scenarios.user_prompts.input_files import InputFile, translate_os_errors
from safegen.scenarios.user_prompts.raw_rows import RawRow, require_column_names
from safegen.store import parquet


def list_arrow_columns(source: InputFile) -> list[str]:
    """List the columns of a file in order.

    Raises:
        ConfigError: the file cannot be read, or two columns have one name.
    """
    with _translate_errors(source):
        read_schema = (
            parquet.read_schema if source.format == "parquet" else parquet.read_arrow_schema
        )
        return require_column_names(source.path, list(read_schema(source.path).names))


def read_arrow(source: InputFile, columns: Collection[str], *, before: int = 0) -> Iterator[RawRow]:
    """Yield the rows of a file with some of its columns, with one batch in memory.

    Args:
        source: the file.
        columns: the columns to read.
        before: number of the rows in the files before.

    Raises:
        ConfigError: the file cannot be read.
    """
    # Columns that no field uses can be large, such as embeddings.
    names = [name for name in list_arrow_columns(source) if name in columns]
    number = before
    with _translate_errors(source):
        read = parquet.read_batches if source.format == "parquet" else parquet.read_arrow_batches
        for batch in read(source.path, names):
            for row in batch:
                number += 1
                yield RawRow(number, f"{source.path}: row {number}", row)


@contextmanager
def _translate_errors(source: InputFile) -> Generator[None]:
    title = "Parquet" if source.format == "parquet" else "Arrow"
    try:
        with translate_os_errors(source.path):
            yield
    except ConfigError:
        raise
    except (StoreDamaged, ValueError, OverflowError) as e:  # bytes that are not UTF-8, odd dates
        reason = str(e.__cause__ or e).splitlines()[0][:160]
        raise ConfigError(
            f"{source.path}: is not readable {title} ({reason}); write it again"
        ) from e
