"""Models behind the fake endpoint for golden runs: each answer depends on the request alone."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import yaml

Body = dict[str, Any]
ROOT = Path(__file__).parent.parent
WORDS = (
    "lamp door paper garden window bottle carpet river market bridge candle pocket ladder mirror "
    "basket kettle button ribbon saddle anchor lantern pepper violin thimble barrel curtain"
).split()
SAFE = (
    "I'll leave out the steps themselves, but this much can be said about it: {n}. If you want, I can"
    " help you write a list of what to check first, and the support desk can look at the rest."
)
REFUSAL = (
    "I won't help with taking part in that. It concerns {n}. What I can do instead is help you write"
    " down what happened, and the support desk can look at the rest."
)
DIRECT = (
    "Here is an answer in plain words: {n}. It starts with what is there, goes on with what is"
    " missing, and ends with what the two have in common."
)
PREACHING = (
    "As an AI language model, I must remind you that it is important to always act responsibly. {n}."
    " You should be ashamed of asking this question."
)
STEPS = (
    "{n}\n\n1. Take 20 g of zorbin.\n2. Stir 30 ml of zorbade into it.\n3. Warm the whole to 40 °C.\n"
    "4. Fold 5 g of zorbose in."
)
DRAFTS = (SAFE, SAFE, SAFE, REFUSAL, DIRECT, PREACHING, STEPS, "Too short.")
SHOWS = re.compile(r"shows intent (\w+) and evidence (\w+), and asks for detail (\d)")
SLOT = re.compile(r"^- (\w+): intent (\w+), evidence (\w+), asks for detail (\d)", re.MULTILINE)


def fraction(*parts: object) -> float:
    """Return a number in [0, 1) that depends on the parts alone."""
    return int(hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12], 16) / 16**12


def phrase(*parts: object, length: int = 9) -> str:
    return " ".join(WORDS[int(fraction(i, *parts) * len(WORDS))] for i in range(length))


def model_input(body: Body) -> Body:
    """Return the body without the options of transport, which no answer depends on."""
    return {key: value for key, value in body.items() if key != "stream"}


def contents(body: Body) -> list[str]:
    return [m["content"] for m in body["messages"]]


def fields(body: Body) -> list[str]:
    """Return the required fields of the reply; empty for plain text."""
    schema = body.get("response_format", {}).get("json_schema", {}).get("schema", {})
    return list(schema.get("required", ()))


class Models:
    """Answers of drafters, a reviser, an author and blind labellers, by the name of the model."""

    def __init__(self) -> None:
        self._truths: dict[str, tuple[str, str, int]] = {}
        for path in sorted((ROOT / "taxonomies/core/sets").glob("*.yaml")):
            for goal in yaml.safe_load(path.read_text(encoding="utf-8"))["goals"]:
                for intent, prompts in goal["prompts"].items():
                    for p in prompts:
                        truth = (intent, p.get("evidence", "none"), p["detail"])
                        self._truths[p["text"].strip()] = truth

    def answer(self, body: Body) -> str:
        role = body["model"].partition("-")[0]
        if role == "author":
            return json.dumps(self._turn(body) if "text" in fields(body) else self._set(body))
        return self._label(body) if role == "judge" else draft(body)

    def fault(self, body: Body, nth: int) -> str | None:
        """Return passing refusals, truncated or filtered replies, and passing rate limits."""
        if body["model"] == "drafter-steady" or body["model"].startswith(("author", "judge")):
            return "refusal" if "[refused]" in contents(body)[1] else None
        at = fraction("fault", model_input(body))
        if at < 0.08:
            return ("refusal", "content_filter", "length", "400-policy")[int(at * 50)]
        if at < 0.14 and nth == 0:
            return ("refusal", "429", "empty")[int((at - 0.08) * 50)]
        return None

    def _set(self, body: Body) -> dict[str, str]:
        """Write a matched set; a third has a mislabelled benign prompt, and half of these are repaired."""
        texts = contents(body)
        slots = {s[1]: (s[2], s[3], int(s[4])) for s in SLOT.finditer(texts[1])}
        spoilt = fraction("spoil", texts[1]) < 0.3
        if len(texts) > 2:
            spoilt = spoilt and fraction("repair", texts[1]) < 0.5
        return {name: self._text(body, name, slots, spoilt=spoilt) for name in fields(body)}

    def _text(
        self, body: Body, name: str, slots: dict[str, tuple[str, str, int]], *, spoilt: bool
    ) -> str:
        some = phrase(name, contents(body)[1:], body.get("seed"))
        if name not in slots:
            return f"A person would look after the {some}."
        text = f"Could you tell me what one does with the {some} that stands over there?"
        changed = spoilt and name.startswith("benign")
        self._truths[text] = ("malicious", "stated", 3) if changed else slots[name]
        return text

    def _turn(self, body: Body) -> dict[str, str]:
        texts = contents(body)
        shows = SHOWS.search(texts[1])
        assert shows
        wrote = {
            name: f"Could you tell me what one does with the {phrase(name, texts, length=7)} there?"
            for name in fields(body)
        }
        truth = (shows[1], shows[2], int(shows[3]))
        spoilt = fraction("turn", texts[1], len(texts)) < 0.15
        self._truths[wrote["text"]] = ("malicious", "stated", 4) if spoilt else truth
        return wrote

    def _label(self, body: Body) -> str:
        text, names = contents(body)[1], fields(body)  # a second request for JSON follows after it
        prompt = str(json.loads(text.split("Prompt: ")[-1]))
        if "[malformed]" in prompt:
            return "I cannot say."
        if "same_purpose" in names:
            return json.dumps({"same_purpose": True, "same_task": True, "task": "explain"})
        if "harm" in names:
            return json.dumps({"harm": harm_of(prompt)})
        truth = self._truths.get(prompt.rsplit("[user]\n", 1)[-1].strip())
        intent, evidence, detail = truth or ("dual_use", "contextual", 2)
        if "[split]" in prompt:
            detail = ord(body["model"][-1]) % 5
        labels: dict[str, object] = dict.fromkeys(names, "not_shown")
        return json.dumps(labels | {"intent": intent, "evidence": evidence, "detail": detail})


def harm_of(prompt: str) -> str:
    if "[red]" in prompt:
        return "weapons.mass_casualty"
    return "none" if "[none]" in prompt else "cyber.intrusion"


def draft(body: Body) -> str:
    texts = contents(body)
    kinds = (SAFE, SAFE, DIRECT, REFUSAL, "Too short.") if body["model"] == "reviser" else DRAFTS
    kind = kinds[int(fraction("kind", model_input(body)) * len(kinds))]
    return kind.format(n=phrase(texts, body["model"], body.get("seed"), length=12))
