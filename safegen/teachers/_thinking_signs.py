"""Signs in the words of a text that it is thinking about the request and not an answer to it."""

from __future__ import annotations

import re

# Labels that an answer hardly uses. "Thought", "Thinking" and "Reasoning" also head exercises and reports.
CLEAR_LABEL = re.compile(
    r"[💭🤔🧠]\W{0,6}thinking|thinking process|thought process|thought for|chain.of.thought|\bcot\b|internal|\binner\b|scratch.?pad|monolog"
    r"|note to self|analysis of the|intent analysis|(?:思考|推理)(?:过程|過程)|思维|【|내부|Denkprozess|denken|Gedankengang",
    re.IGNORECASE,
)
PAIR_LABEL = re.compile(
    r"thinking|reasoning|raisonnement|razonamiento|ragionamento|рассуждени|推[理論]|추론",
    re.IGNORECASE,
)
PAIR_ANSWER = re.compile(
    r"answer|final|antwort|réponse|respuesta|risposta|resposta|ответ|回答|答案|答复|答え|답변",
    re.IGNORECASE,
)
_USER = r"\bthe (?:user|requester|asker|person asking)"
_WE = r"(?:(?:i|we)(?:['’]ll| (?:should|must|need to|kept))|i (?:will|have to|am going to))\b"
# An answer speaks to the user, so it does not say what "the user" wants.
_WANTS = (
    r"(?: \w+ly| just| also| now| only| is| has| would)?"
    r" (?:wants?|seeks?|asks?|asking|asked|requests?|requesting|requested|seems?|like|looking|trying)\b"
)
USER_WANTS = re.compile(rf"{_USER}{_WANTS}", re.IGNORECASE)
USER_WORDS = re.compile(
    rf"{_USER}['’]s (?:request|query|question|prompt|message|intent)\b", re.IGNORECASE
)
OWN_ANSWER = re.compile(
    rf"\b{_WE} (?:to )?(?:answer|respond|reply|refuse|decline|comply|redirect)\b"
    r"|\b(?:the|our|my) (?:policy|polic(?:y|ies)['’]s?|guidelines?|spec|system prompt)\b[^.\n]{0,60}"
    r"\b(?:level|ceiling|caps?|prompt|request|i|we)\b"
    r"|\bso (?:i|we) kept\b|\blevel \d\b[^.\n]{0,40}\b(?:policy|ceiling|request)\b|\bsafe.completion\b"
    r"|我(?:需要|应该|应当|得|要)(?:回答|回复|拒绝|解释|考虑)|用户(?:问|想|要求|希望|询问)",
    re.IGNORECASE,
)
# Enough after a label such as "Rationale" at the end; the words of a report may contain it too.
REQUEST_WORDS = re.compile(
    r"\b(?:the|this) (?:prompt|request|question|query) (?:asks?|is about|wants?|seems?|touches|concerns|involves)\b"
    r"|\b(?:ceiling|policy|guidelines)\b[^.\n]{0,40}\b(?:caps?|limits?|allows?|forbids?|applies|permits?)\b"
    r"|\bcomplied\b|\b(?:at|to|within) level \d\b",
    re.IGNORECASE,
)
PLAN = re.compile(
    rf"\b{_WE}|\blet(?:['’]s| me| us)\b|\bshould (?:answer|respond)\b|\bbe (?:careful|cautious)\b",
    re.IGNORECASE,
)
NAMES = ("user", "User", "requester", "asker", "person asking")
PLAN_CHARS = 240
"""Characters around a sign in which a second one counts."""


def is_clear_label(label: str) -> bool:
    """Check if a label names thinking and no part of an answer.

    Example:
        >>> is_clear_label("**Thinking process:**"), is_clear_label("**Thought:**")
        (True, False)
    """
    return CLEAR_LABEL.search(label) is not None


def is_thinking_pair(label: str, answer: str) -> bool:
    """Check if two labels divide a reply into thinking and answer.

    "Thought … Response" is an exercise, so such a pair is not clear.

    Example:
        >>> is_thinking_pair("**Reasoning:**", "**Answer:**"), is_thinking_pair("Thought:", "Response:")
        (True, False)
    """
    return PAIR_LABEL.search(label) is not None and PAIR_ANSWER.search(answer) is not None


def thinks_about_request(text: str) -> bool:
    """Check if a block of text considers the user, the policy or the answer to give.

    Example:
        >>> thinks_about_request("The user asks about tea, so I kept it short.")
        True
    """
    return any(sign.search(text) for sign in (USER_WANTS, USER_WORDS, OWN_ANSWER))


def decides_by_policy(text: str) -> bool:
    """Check if a text says how a policy or the kind of answer decides, which only thinking does.

    Example:
        >>> decides_by_policy("The user wants tea. I must refuse."), decides_by_policy("I should call.")
        (True, False)
    """
    return OWN_ANSWER.search(text) is not None or REQUEST_WORDS.search(text) is not None


def may_consider_request(text: str) -> bool:
    """Check if a block has weaker signs than `thinks_about_request`.

    Example:
        >>> may_consider_request("The request is about tea, and the policy allows it.")
        True
    """
    return thinks_about_request(text) or REQUEST_WORDS.search(text) is not None


def plans_an_answer(text: str) -> bool:
    """Check if a text of any form says what the user wants and, near it, what to do.

    Example:
        >>> plans_an_answer("The user wants tea. I should warn of the heat.")
        True
    """
    return any(name in text for name in NAMES) and any(
        PLAN.search(text, max(sign.start() - PLAN_CHARS, 0), sign.end() + PLAN_CHARS)
        for sign in USER_WANTS.finditer(text)
    )
