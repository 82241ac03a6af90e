"""What a prompt asks, as words that stand within a sentence: a clause where it can be turned, else the question quoted."""

from __future__ import annotations

import re

SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")
OWN_QUESTION = re.compile(
    r"(?:(?:and|so|but|then|ok|hi),? )*(?P<what>(?:how|what|where|when|who)(?: (?:on earth|now))?)"
    r" (?P<verb>do|can|should|could|must) (?P<who>i|we) (?P<rest>[^?]+)\?",
    re.IGNORECASE,
)
"""A question about what the asker is to do."""
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
"""Words to the assistant, and a second question in the same sentence: both are quoted rather than turned."""
POSSESSION_VERBS = ("need ", "have ", "want ", "know ")
MIN_CHARS, MAX_CHARS = 5, 130
"""Words from which any question says what it is about, and characters that still fit into a sentence."""


def question_clause(prompt: str, *, language: str, quoting: str, requesting: str) -> str:
    """What the prompt asks, as the object of a sentence; '' where no part of it stands on its own.

    Args:
        prompt: the words of the person who asks.
        language: a BCP-47 tag; English questions are turned, others quoted.
        quoting: how a question is quoted, with `{quote}` in it.
        requesting: how a request is quoted that is no question; only one that is the whole prompt.
    """
    sentences = [s.strip() for s in SENTENCE.split(prompt.strip().replace("’", "'")) if s.strip()]
    fitting = [s for s in sentences if _fits(s)]
    questions = [s for s in fitting if s.endswith("?")]
    if questions:
        turned = _to_clause(questions[-1]) if language.split("-")[0] == "en" else ""
        return turned or quoting.replace("{quote}", questions[-1])
    return requesting.replace("{quote}", fitting[0].rstrip(".!")) if fitting == sentences else ""


def _fits(question: str) -> bool:
    if any(mark in question for mark in '"“”') or len(question) > MAX_CHARS:
        return False
    return len(question.split()) >= MIN_CHARS or OWN_QUESTION.fullmatch(question) is not None


def _to_clause(question: str) -> str:
    """`how to …` or `what you …` of a question about the asker, seen from the other side."""
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
