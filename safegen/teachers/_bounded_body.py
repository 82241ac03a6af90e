"""Reads and decodes a response body with a bound on its decoded size."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator, Iterator

MAX_REPLY_BYTES = 4_000_000
"""Default bound; the longest answers of today's models are below 1 MB."""
ACCEPTED_ENCODINGS = "gzip, deflate"
"""Only these can be decoded in steps with a bound."""
# A compressed byte may stand for a thousand, so memory must not follow the compressed size.
STEP_BYTES = 256 * 1024
DECODED = frozenset({"gzip", "x-gzip", "deflate"})
GZIP_START = b"\x1f\x8b"
# A proxy may compress a body that the server has compressed.
MAX_ENCODINGS = 3


class BodyTooLarge(Exception):
    """The decoded body exceeds the bound."""


class UnknownEncoding(Exception):
    """The body has a content encoding that was not requested; its text is the header."""


class DamagedBody(Exception):
    """The compressed body cannot be decompressed, or ends early."""


async def iter_bounded(
    chunks: AsyncIterator[bytes], *, encoding: str, limit: int
) -> AsyncIterator[bytes]:
    """Decode a body chunk by chunk; at most `limit` bytes and one step are held.

    Args:
        chunks: the body as it is sent.
        encoding: the header `Content-Encoding`; empty for none.
        limit: decoded bytes at most.

    Raises:
        BodyTooLarge: the decoded body is longer.
        UnknownEncoding: the encoding is neither gzip nor deflate.
        DamagedBody: the compressed body is invalid or ends early.
    """
    names = [name.strip().lower() for name in encoding.split(",")]
    names = [name for name in names if name not in ("", "identity")]
    known = all(name in DECODED for name in names)
    if not known or len(names) > MAX_ENCODINGS:
        raise UnknownEncoding(", ".join(names))
    decoder = _Chain(len(names)) if names else None
    size = 0
    async for chunk in chunks:
        for part in [chunk] if decoder is None else decoder.feed(chunk):
            size += len(part)
            if size > limit:
                raise BodyTooLarge
            yield part
    if decoder is not None and not decoder.is_complete:
        raise DamagedBody("it ends early")


class _Chain:
    """Decoders of encodings that were applied one after the other."""

    def __init__(self, count: int) -> None:
        self._decoders = [_Decoder() for _ in range(count)]

    @property
    def is_complete(self) -> bool:
        return all(decoder.is_complete for decoder in self._decoders)

    def feed(self, chunk: bytes, depth: int = 0) -> Iterator[bytes]:
        if depth == len(self._decoders):
            yield chunk
            return
        for part in self._decoders[depth].feed(chunk):
            yield from self.feed(part, depth + 1)


class _Decoder:
    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(zlib.MAX_WBITS | 32)
        self._pending = b""
        self._is_begun = self._is_gzip = self._is_ended = False

    @property
    def is_complete(self) -> bool:
        """True at the end of a member, and for a body without a byte."""
        return self._is_ended or not (self._is_begun or self._pending)

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        data = self._pending + chunk
        self._pending = b""
        # One step at a time, so that a compressed bomb is never held as a whole.
        while data:
            if self._is_ended or not self._is_begun:
                if len(data) < len(GZIP_START):
                    self._pending = data
                    return
                if not self._begin(data):
                    return
            try:
                part = self._zlib.decompress(data, STEP_BYTES)
            except zlib.error as e:
                raise DamagedBody("it cannot be decompressed") from e
            self._is_ended = self._zlib.eof
            data = self._zlib.unused_data if self._is_ended else self._zlib.unconsumed_tail
            yield part

    def _begin(self, data: bytes) -> bool:
        """Begin the first or the next member; return False if padding follows the last one."""
        is_gzip = data.startswith(GZIP_START)
        if self._is_ended and not (self._is_gzip and is_gzip):
            return False
        self._is_gzip = is_gzip
        # 32 added to the window size detects gzip and zlib headers. Some servers send `deflate`
        # without the zlib header.
        has_header = is_gzip or data[0] & 0x0F == 8
        self._zlib = zlib.decompressobj(zlib.MAX_WBITS | 32 if has_header else -zlib.MAX_WBITS)
        self._is_begun, self._is_ended = True, False
        return True
