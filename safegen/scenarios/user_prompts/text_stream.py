"""The lines of a text file, decompressed, with bounds against a file that is not what it seems."""

from __future__ import annotations

import codecs
import gzip
import io
import re
import zlib
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, cast

from safegen.core.errors import ConfigError
from safegen.scenarios.user_prompts.input_files import (
    MAX_BYTES,
    InputFile,
    check_head,
    translate_os_errors,
)

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

MAX_LINE = 8 * 2**20
"""Characters of a line or of an object in a JSON document, at most."""
MAX_BLANK_LINES = 1_000_000
"""Blank lines in a row, at most; a small compressed file can hold any number of them."""
SNIFF_BYTES = 1 << 16
_ESCAPED_BYTE = re.compile("[\udc80-\udcff]")


class TextLine(NamedTuple):
    """A line with its end."""

    number: int
    """From 1."""
    text: str


@contextmanager
def open_text(source: InputFile, *, newline: str) -> Generator[io.TextIOWrapper]:
    """Open a text file: UTF-8, or UTF-16 with a byte order mark; bytes that are not UTF-8 are escaped.

    Raises:
        ConfigError: the file cannot be read or decompressed, or is not text.
    """
    with _translate_errors(source), _open_bytes(source) as raw:
        stream = io.BufferedReader(_BoundedBytes(source, raw), SNIFF_BYTES)
        encoding = _detect_encoding(source, stream.peek(SNIFF_BYTES))
        # Escaped bytes keep their place, so that the error names line and byte.
        errors = "surrogateescape" if encoding == "utf-8-sig" else "strict"
        # BufferedReader is one of the types that TextIOWrapper takes; the stubs disagree on `seek`.
        yield io.TextIOWrapper(stream, encoding=encoding, errors=errors, newline=newline)


@contextmanager
def _open_bytes(source: InputFile) -> Generator[BinaryIO]:
    if source.compression is None:
        with source.path.open("rb") as file:
            yield file
    elif source.compression == "gzip":
        with gzip.open(source.path, "rb") as file:
            yield cast("BinaryIO", file)
    else:
        import pyarrow as pa

        with pa.input_stream(str(source.path), compression="zstd") as file:
            yield cast("BinaryIO", file)


class _BoundedBytes(io.RawIOBase):
    """Decompressed bytes up to `MAX_BYTES`, so that a small file cannot expand without end."""

    def __init__(self, source: InputFile, raw: BinaryIO) -> None:
        self.source, self.raw, self.total = source, raw, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        view = memoryview(buffer)
        data = self.raw.read(len(view))
        self.total += len(data)
        if self.total > MAX_BYTES:
            raise ConfigError(
                f"{self.source.path}: is larger than {MAX_BYTES // 2**30} GiB; split it"
            )
        view[: len(data)] = data
        return len(data)


@contextmanager
def _translate_errors(source: InputFile) -> Generator[None]:
    """Translate errors of the decompression; an ArrowInvalid is a ValueError."""
    with translate_os_errors(source.path):
        try:
            yield
        except (EOFError, zlib.error, ValueError, OSError) as e:
            # An error of the system has a number; one of the decompression has none.
            is_system = isinstance(e, OSError) and e.errno is not None
            if source.compression is None or isinstance(e, UnicodeDecodeError) or is_system:
                raise
            raise _make_damage_error(source, e) from e


def _make_damage_error(source: InputFile, e: Exception) -> ConfigError:
    reason = str(e).splitlines()[0][:160] if str(e) else type(e).__name__
    return ConfigError(
        f"{source.path}: is damaged, or has other bytes after its {source.compression} data"
        f" ({reason}); download or compress it again"
    )


def _detect_encoding(source: InputFile, head: bytes) -> str:
    if source.compression:
        check_head(source.path, head[:8], expected=source.format)
        if head[257:262] == b"ustar":
            raise ConfigError(f"{source.path}: is an archive; unpack it first and name its files")
    if head.startswith(codecs.BOM_UTF8 * 2):
        raise ConfigError(
            f"{source.path}: begins with two byte order marks; save the file as UTF-8 without one"
        )
    if head.startswith((b"\xff\xfe\0\0", b"\0\0\xfe\xff")):
        raise ConfigError(f"{source.path}: is UTF-32; save the file as UTF-8")
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    if b"\0" in head:
        raise ConfigError(
            f"{source.path}: contains NUL bytes and is not text; save it as UTF-8 text"
        )
    return "utf-8-sig"


def iter_lines(source: InputFile, file: io.TextIOWrapper) -> Iterator[TextLine]:
    """Yield lines of bounded length, so that a binary file cannot fill the memory.

    Raises:
        ConfigError: a line is too long or cannot be decoded as UTF-16, or too many lines are blank.
    """
    number = blank = 0
    while True:
        number += 1
        try:
            text = file.readline(MAX_LINE)
        except UnicodeDecodeError as e:
            raise ConfigError(
                f"{source.path}: is not valid UTF-16 near line {number}; save the file as UTF-8"
            ) from e
        if not text:
            return
        if len(text) == MAX_LINE:
            raise ConfigError(f"{source.path}:{number}: line is longer than {MAX_LINE} characters")
        blank = blank + 1 if text.isspace() else 0
        if blank > MAX_BLANK_LINES:
            raise ConfigError(
                f"{source.path}:{number}: more than {MAX_BLANK_LINES:,} blank lines in a row; remove them"
            )
        yield TextLine(number, text)


def describe_bad_byte(text: str) -> str | None:
    """Describe the first byte of a text that is not UTF-8; None if there is none."""
    escaped = None if text.isascii() else _ESCAPED_BYTE.search(text)
    if escaped is None:
        return None
    return f"byte 0x{ord(escaped[0]) - 0xDC00:02x} is not UTF-8; save the file as UTF-8"
