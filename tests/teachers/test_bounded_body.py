from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from safegen.core.errors import ParseError, TeacherRejected, TeacherUnavailable
from safegen.teachers._bounded_body import BodyTooLarge, DamagedBody, UnknownEncoding, iter_bounded
from tests.teachers.test_openai_chat import endpoint, request_of

ANSWER = json.dumps(
    {"choices": [{"message": {"content": "Add oil."}, "finish_reason": "stop"}]}
).encode()
RAW = zlib.compressobj(wbits=-zlib.MAX_WBITS)
RAW_DEFLATE = RAW.compress(ANSWER) + RAW.flush()


async def pieces(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), 7):
        yield body[start : start + 7]


async def decode(body: bytes, encoding: str, limit: int = 10_000) -> bytes:
    return b"".join([p async for p in iter_bounded(pieces(body), encoding=encoding, limit=limit)])


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        (ANSWER, ""),
        (ANSWER, "identity"),
        (gzip.compress(ANSWER), "gzip"),
        (zlib.compress(ANSWER), "deflate"),
        (RAW_DEFLATE, "Deflate"),
        (gzip.compress(gzip.compress(ANSWER)), "gzip, gzip"),
        (gzip.compress(zlib.compress(ANSWER)), "deflate,x-gzip"),
        (gzip.compress(ANSWER), "identity, gzip"),
        (gzip.compress(ANSWER[:9]) + gzip.compress(b"") + gzip.compress(ANSWER[9:]), "gzip"),
        (gzip.compress(ANSWER) + bytes(40), "gzip"),
        (b"", "gzip"),
    ],
    # The header of gzip holds the time, so ids from the bytes would differ between test processes.
    ids=[
        "none",
        "identity",
        "gzip",
        "deflate",
        "raw deflate",
        "twice",
        "mixed",
        "with identity",
        "members",
        "padded",
        "no byte",
    ],
)
async def test_body_is_decoded(body: bytes, encoding: str) -> None:
    assert await decode(body, encoding) == (ANSWER if body else b"")


@pytest.mark.parametrize("encoding", ["", "gzip"])
async def test_large_body_is_refused(encoding: str) -> None:
    body = b" " * 20_000
    with pytest.raises(BodyTooLarge):
        await decode(gzip.compress(body) if encoding else body, encoding)


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, br", "gzip, gzip, gzip, gzip"])
async def test_unknown_encoding_is_refused(encoding: str) -> None:
    with pytest.raises(UnknownEncoding, match=encoding):
        await decode(ANSWER, encoding)


@pytest.mark.parametrize(
    "body",
    [ANSWER, gzip.compress(ANSWER)[:-9], gzip.compress(ANSWER)[:1], b"\x1f\x8b" + ANSWER],
    # Not the bytes: gzip writes the time into them, and xdist's workers must collect equal ids.
    ids=["plain", "cut", "one byte", "false head"],
)
async def test_damaged_body_is_refused(body: bytes) -> None:
    with pytest.raises(DamagedBody):
        await decode(body, "gzip")


@pytest.mark.parametrize(
    ("encoding", "says"),
    [
        ("br", "encoding of the answer is unknown: `br`"),
        ("gzip", "the compressed answer is damaged"),
    ],
)
async def test_undecodable_body_is_named_after_retries(encoding: str, says: str) -> None:
    async def send(_: web.Request) -> web.Response:
        return web.Response(body=ANSWER, headers={"Content-Encoding": encoding})

    runner, url = await serve(send)
    async with endpoint(url, attempts=3) as teacher:
        with pytest.raises(TeacherUnavailable, match=says):
            await teacher(request_of())
    await runner.cleanup()


async def serve(handler: Any) -> tuple[web.AppRunner, str]:
    app = web.Application()
    app.router.add_post("/v1/chat/completions", handler)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    return runner, f"http://127.0.0.1:{runner.addresses[0][1]}/v1"


async def answer(request: web.Request) -> web.Response:
    text = await request.text()
    body = b" " * 5_000_000 if "large" in text else ANSWER
    return web.Response(body=gzip.compress(body), headers={"Content-Encoding": "gzip"})


async def test_large_answer_costs_one_item() -> None:
    runner, url = await serve(answer)
    async with endpoint(url) as teacher:
        assert (await teacher(request_of())).text == "Add oil."
        with pytest.raises(ParseError, match="max_reply_bytes"):
            await teacher(request_of("large"))
        assert (await teacher(request_of("again"))).text == "Add oil."
    await runner.cleanup()


async def only_large(_: web.Request) -> web.Response:
    return web.Response(body=b" " * 5_000_000)


async def test_only_large_answers_stop_the_run() -> None:
    runner, url = await serve(only_large)
    async with endpoint(url) as teacher:
        for i in range(4):
            with pytest.raises(ParseError):
                await teacher(request_of(f"large {i}"))
        with pytest.raises(TeacherRejected, match="max_reply_bytes"):
            await teacher(request_of("large"))
    await runner.cleanup()


def spoken(text: str, encoding: str) -> bytes:
    choice = {"message": {"content": text}, "finish_reason": "stop"}
    return json.dumps({"choices": [choice]}, ensure_ascii=False).encode(encoding)


@pytest.mark.parametrize(
    ("text", "encoding", "content_type"),
    [
        ("Crème brûlée", "latin-1", "application/json; charset=ISO-8859-1"),
        ("Crème brûlée", "utf-8", "application/json; charset=ISO-8859-1"),
        ("Crème brûlée", "utf-8-sig", "application/json"),
        ("Crème brûlée", "utf-16", "application/json"),
        ("抹茶のケーキ", "shift_jis", 'application/json; charset="Shift_JIS"'),
        ("抹茶のケーキ", "iso2022_jp", "application/json; charset=iso-2022-jp"),
    ],
)
async def test_answer_is_decoded_by_its_charset(
    text: str, encoding: str, content_type: str
) -> None:
    async def send(_: web.Request) -> web.Response:
        return web.Response(body=spoken(text, encoding), headers={"Content-Type": content_type})

    runner, url = await serve(send)
    async with endpoint(url) as teacher:
        assert (await teacher(request_of())).text == text
    await runner.cleanup()


@pytest.mark.parametrize("charset", ["", "; charset=utf-8", "; charset=kitchen-8"])
async def test_answer_without_a_valid_charset_fails(charset: str) -> None:
    async def send(_: web.Request) -> web.Response:
        body = spoken("Crème brûlée", "latin-1")
        return web.Response(body=body, headers={"Content-Type": f"application/json{charset}"})

    runner, url = await serve(send)
    async with endpoint(url, attempts=1) as teacher:
        with pytest.raises(TeacherUnavailable, match="is not UTF-8"):
            await teacher(request_of())
    await runner.cleanup()


STREAM = b'data: {"choices": [{"delta": {"content": "Add"}}]}\n\ndata: [DONE]\n\n'


@pytest.mark.parametrize(
    ("status", "body", "says"),
    [
        (201, b"{}", "HTTP `201`"),
        (204, b"", "HTTP `204` .* an empty body"),
        (206, b'{"success": false, "result": "no oven"}', "HTTP `206` .* no oven"),
        (200, STREAM, "HTTP `200` .* an event stream"),
    ],
)
async def test_success_without_answer_shows_its_status(status: int, body: bytes, says: str) -> None:
    async def send(_: web.Request) -> web.Response:
        return web.Response(body=body or None, status=status)

    runner, url = await serve(send)
    async with endpoint(url, attempts=1) as teacher:
        with pytest.raises(TeacherUnavailable, match=says):
            await teacher(request_of())
    await runner.cleanup()
