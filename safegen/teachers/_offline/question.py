"""Turns the question of a prompt into a clause for use inside a sentence."""

from __future__ import annotations

import re

SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")
OWN_QUESTION = re.compile(
    r"(?:(?:and|so|but|then|ok|hi),? )*(?P<what>(?:how|what|where|when|who)(?: (?:on earth|now))?)"
    r" (?P<verb>do|can|should|could|must) (?P<who>i|we) (?P<rest>[^?]+)\?",
    re.IGNORECASE,
)
"""A question about the asker's own action."""
SWAPPED_PERSON = {
    "i": "you",
    "me": "you",
    "we": "you",
    "us": "you",
    "my": "your",
    "our": "your",
    "mine": "yours",
    "ours": "yours",
    "myself": "yourself",
    "ourselves": "yourselves",
    "i'm": "you're",
    "i've": "you've",
    "i'd": "you'd",
    "i'll": "you'll",
    "we're": "you're",
    "we've": "you've",
    "am": "are",
}
UNUSABLE_CLAUSE = re.compile(
    r"\byou|(?:,|,? and) (?:how|what|who|where|when|why|which|can|will)\b", re.I
)
"""Words to the assistant, or a second question in the same sentence; such questions become no clause."""
POSSESSION_VERBS = ("need ", "have ", "want ", "know ")
MAX_CHARS = 130
"""Most characters of a question inside a sentence."""


def question_clause(prompt: str, *, language: str) -> str:
    """Return the last question of a prompt as the object of a sentence, or '' if there is no clause for it.

    Args:
        prompt: the user's text.
        language: a BCP-47 tag; only English questions become clauses.
    """
    if language.split("-")[0] != "en":
        return ""
    sentences = [s.strip() for s in SENTENCE.split(prompt.strip().replace("’", "'"))]
    questions = [s for s in sentences if s.endswith("?") and _is_usable(s)]
    return _to_clause(questions[-1]) if questions else ""


def _is_usable(question: str) -> bool:
    return len(question) <= MAX_CHARS and not any(mark in question for mark in '"“”')


def _to_clause(question: str) -> str:
    # `How do I …?` becomes `how to …`, `What can I …?` becomes `what you can …`.
    match = OWN_QUESTION.fullmatch(question)
    if not match or UNUSABLE_CLAUSE.search(match["rest"]):
        return ""
    rest = " ".join(_swap_person(word) for word in match["rest"].split())
    question_word, verb = match["what"].lower(), match["verb"].lower()
    if verb == "do":
        return f"{question_word} {'you' if rest.startswith(POSSESSION_VERBS) else 'to'} {rest}"
    return f"{question_word} you {verb} {rest}"


def _swap_person(word: str) -> str:
    core = word.rstrip(",;:.")
    return SWAPPED_PERSON.get(core.lower(), core) + word[len(core) :]
