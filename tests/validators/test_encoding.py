from __future__ import annotations

import pytest

from safegen.validators.encoding import Code, encoding
from tests.validators.validator_cases import context, judge

BAD: dict[str, tuple[Code, str]] = {
    "undecoded": ("replacement_character", "The caf\ufffd is open."),
    "half-character": ("replacement_character", "The \ud800 key."),
    "mojibake": ("mojibake", "It isn\u00e2\u20ac\u2122t locked, and costs \u00c2\u00a34."),
    "escape": ("control_character", "A \x1b[1mbold\x1b[0m key."),
    "reversed": ("control_character", "Open \u202egnp.exe now."),
    "embedding": ("control_character", "A \u202bkey\u202c."),
    "private": ("private_use", "\uf0b7 One key."),
    "joiner": ("zero_width", "A se\u200bcret key."),
    "byte-order": ("zero_width", "\ufeffThe key is blue."),
    "cyrillic": ("mixed_script", "Type the p\u0430ssword."),
    "disguised": ("mixed_script", "The word \u0441\u043e\u0440 is wrong."),
    "bold-letters": ("mixed_script", "It is \U0001d5ff\U0001d5f2\U0001d5ee\U0001d5f9 gold."),
    "full-width": ("mixed_script", "\uff34\uff48\uff45 key."),
    "token": ("control_token", "The key.<|im_end|>"),
    "fence": ("unbalanced_fence", "Run:\n\n```sh\nls\n"),
    "longer-fence": ("unbalanced_fence", "````\n```\nls\n```\n"),
    "escapes": ("escaped_text", "One.\\n\\nTwo &amp; three."),
}
GOOD = {
    "accents": "Na\u00efve fa\u00e7ade, \u00a34, \u201cquoted\u201d \u2013 and \u2026",
    "emoji": "\U0001f469\u200d\U0001f469\u200d\U0001f467 \u2764\ufe0f 1\ufe0f\u20e3",
    "flag": "\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f",
    "formula": "\u0394x < 3 \u03bcm, 4.7 k\u03a9, \u03b2-carotene, \u03bdmax",
    "persian": "\u0645\u06cc\u200c\u0631\u0648\u0646\u062f",
    "hebrew": "\u2067\u05e9\u05dc\u05d5\u05dd\u2069",
    "russian": "The word is \u0434\u043e\u043c in Russian.",
    "token-in-code": "Write `<|im_end|>` or `&amp;&lt;`.",
    "fence": "```sh\nls\n```\n\n~~~\n```\n~~~\n",
    "line-ends": "One\ttwo\r\nthree",
    "one-escape": "Write \\n for a line feed.",
}


@pytest.mark.parametrize(("code", "text"), BAD.values(), ids=BAD.keys())
def test_damaged_text_fails_with_its_code(code: Code, text: str) -> None:
    verdict = judge(encoding(), text, context())
    assert (verdict.passed, verdict.code) == (False, code)
    assert verdict.evidence.isprintable()


@pytest.mark.parametrize("text", GOOD.values(), ids=GOOD.keys())
def test_intact_text_passes(text: str) -> None:
    assert judge(encoding(), text, context()).code == "clean_text"


def test_inflected_abbreviation_passes_in_russian() -> None:
    text = "\u041e\u0442\u043f\u0440\u0430\u0432\u044c SMS\u043a\u0443."
    assert judge(encoding(), text, context(language="ru")).passed is True
    assert judge(encoding(), text, context(language="en")).passed is False


def test_evidence_shows_invisible_characters_as_escapes() -> None:
    verdict = judge(encoding(), BAD["joiner"][1], context())
    assert verdict.evidence == "A se\\u200bcret key."
