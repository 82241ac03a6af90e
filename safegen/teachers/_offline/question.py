"""Turns the question of a prompt into words for use inside a sentence: a clause or a quotation."""

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
"""Words to the assistant, or a second question in the same sentence; such questions are quoted."""
POSSESSION_VERBS = ("need ", "have ", "want ", "know ")
MIN_WORDS, MAX_CHARS = 5, 130
"""Fewest words with which any question names its topic; most characters inside a sentence."""


def question_clause(prompt: str, *, language: str, quoting: str, requesting: str) -> str:
    """Return the question of a prompt as the object of a sentence, or '' if no part is usable.

    Args:
        prompt: the user's text.
        language: a BCP-47 tag; English questions become clauses, others are quoted.
        quoting: template for a quoted question, with `{quote}`.
        requesting: template for a prompt that is one request and no question, with `{quote}`.
    """
    sentences = [s.strip() for s in SENTENCE.split(prompt.strip().replace("’", "'")) if s.strip()]
    usable = [s for s in sentences if _is_usable(s)]
    questions = [s for s in usable if s.endswith("?")]
    if questions:
        clause = _to_clause(questions[-1]) if language.split("-")[0] == "en" else ""
        return clause or quoting.replace("{quote}", questions[-1])
    return requesting.replace("{quote}", usable[0].rstrip(".!")) if usable == sentences else ""


def _is_usable(question: str) -> bool:
    if any(mark in question for mark in '"“”') or len(question) > MAX_CHARS:
        return False
    return len(question.split()) >= MIN_WORDS or OWN_QUESTION.fullmatch(question) is not None


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
