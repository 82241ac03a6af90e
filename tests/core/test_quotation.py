"""Words of a prompt are hidden in a server's message, however the server echoes them."""

from __future__ import annotations

import html
import json
from urllib.parse import quote, quote_plus

import pytest

from safegen.core.quotation import hide_quotation

PROMPT = 'Where do I keep the "big" box?\nAnd the soufflé: don\'t tilt it & let it rest, please.'
ECHOES = {
    "verbatim": PROMPT,
    "upper case": PROMPT.upper(),
    "one line": " ".join(PROMPT.split()),
    "json": json.dumps(PROMPT),
    "json in json": json.dumps(json.dumps(PROMPT)),
    "json with letters": json.dumps(PROMPT, ensure_ascii=False),
    "python": repr(PROMPT),
    "html": html.escape(PROMPT),
    "url": quote(PROMPT),
    "form": quote_plus(PROMPT),
    "curly quotes": PROMPT.replace("'", "\u2019").replace('"', "\u201c"),
    "no accents": PROMPT.replace("é", "e"),
    "decomposed accents": PROMPT.replace("é", "e\u0301"),
    "no punctuation": PROMPT.translate(dict.fromkeys(map(ord, '?:,."&'))),
    "emphasis": PROMPT.replace("keep", "**keep**"),
}


@pytest.mark.parametrize("echo", ECHOES.values(), ids=ECHOES)
def test_echo_of_a_prompt_is_hidden(echo: str) -> None:
    hidden = hide_quotation(f"bad request 17: [{echo}] see the manual", [PROMPT])
    assert hidden.startswith("bad request 17: [")
    assert hidden.endswith("] see the manual")
    assert "…" in hidden
    assert not [word for word in ("keep", "box", "tilt", "rest") if word in hidden.lower()]


@pytest.mark.parametrize("cut", range(len("Where do I keep the"), len(PROMPT)))
def test_cut_echo_is_hidden_to_its_end(cut: int) -> None:
    hidden = hide_quotation(f"cannot read: {PROMPT[:cut]}", [PROMPT])
    assert hidden.rstrip("\"?:,&. \n'") == "cannot read: …"


@pytest.mark.parametrize("start", range(1, 12))
def test_echo_without_its_start_is_hidden(start: int) -> None:
    assert hide_quotation(PROMPT[start:], [PROMPT]).lstrip(" ") == "…."


@pytest.mark.parametrize(
    "message",
    [
        "rate limit: 20 requests per minute",
        "where do I keep requests",
        "the box is full, and the soufflé is gone",
        "",
        "…",
    ],
)
def test_own_words_of_the_server_stay(message: str) -> None:
    assert hide_quotation(message, [PROMPT, ""]) == message


def test_short_prompt_is_hidden_as_a_whole() -> None:
    assert hide_quotation("cannot read `open the jar`", ["Open the jar!"]) == "cannot read `…`"
    assert hide_quotation("cannot open the lid", ["Open the jar!"]) == "cannot open the lid"
    assert hide_quotation("a jar is a jar", ["Jar?"]) == "a jar is a jar"


def test_script_without_blanks_is_hidden() -> None:
    assert (
        hide_quotation("拒绝「请告诉我怎么做汤」原因一", ["请告诉我怎么做汤"]) == "拒绝「…」原因一"
    )


def test_two_sources_are_hidden_apart() -> None:
    sources = ["one two three four five", "six seven eight nine ten"]
    message = "a: six seven eight nine ten, b: one two three four five"
    assert hide_quotation(message, sources) == "a: …, b: …"
