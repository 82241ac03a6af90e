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


class BodyTooLarge(Exception):
    """The decoded body exceeds the bound."""


class UnknownEncoding(Exception):
    """The body has a content encoding that was not requested."""


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
    """
    name = encoding.strip().lower()
    if name not in ("", "identity", "gzip", "x-gzip", "deflate"):
        raise UnknownEncoding(name)
    decoder = _Decoder() if name not in ("", "identity") else None
    size = 0
    async for chunk in chunks:
        for part in [chunk] if decoder is None else decoder.feed(chunk):
            size += len(part)
            if size > limit:
                raise BodyTooLarge
            yield part


class _Decoder:
    def __init__(self) -> None:
        # 32 added to the window size detects gzip and zlib headers.
        self._zlib = zlib.decompressobj(zlib.MAX_WBITS | 32)
        self._is_first = True

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        if self._is_first and chunk:
            self._is_first = False
            # Some servers send `deflate` without the zlib header.
            if chunk[0] & 0x0F != 8 and chunk[:2] != b"\x1f\x8b":
                self._zlib = zlib.decompressobj(-zlib.MAX_WBITS)
        # One step at a time, so that a compressed bomb is never held as a whole.
        while chunk:
            yield self._zlib.decompress(chunk, STEP_BYTES)
            chunk = self._zlib.unconsumed_tail
