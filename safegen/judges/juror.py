"""One juror: a teacher that answers questions about a reply.

A juror reads the conversation, the reply and the rubric. It sees no label, no reasoning of the
drafter, no name of a teacher and no verdict of another juror.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

from pydantic import ValidationError

from safegen.core import templates
from safegen.core.errors import ItemError, ParseError
from safegen.core.hashing import digest
from safegen.core.templates import PromptTemplate
from safegen.core.types import (
    Expectation,
    Finding,
    FindingCode,
    JurorField,
    Message,
    Outcome,
    Reply,
    Request,
    Teacher,
)
from safegen.judges.answer import (
    FIELDS,
    JudgeAnswer,
    make_answer_schema,
    read_findings,
    read_usable_findings,
)
from safegen.judges.blind_labels import quote
from safegen.judges.declined import declines_to_judge
from safegen.judges.guard import (
    GUARD_FIELDS,
    make_guard_findings,
    make_guard_messages,
    read_guard_text,
)
from safegen.judges.kept_findings import recall_findings
from safegen.policy.compile import PropositionKind, Rubric, compile_rubric
from safegen.policy.spec import Policy
from safegen.teachers import parse_object

MAX_CHARS = 150_000
"""Characters of conversation and reply as JSON that a question can hold."""
RUBRICS = 1_024
"""Rubrics that are kept, of a few kB each."""
VIOLATED_KINDS: frozenset[PropositionKind] = frozenset(
    {"facilitation", "must_not", "must", "ceiling", "element"}
)
"""Questions of a rubric whose violation can harm."""
ANY_ANSWER: Mapping[str, object] = {"type": "object", "required": ["severity"]}
"""Schema of an answer that may be wrong in some parts."""
CODES: Mapping[Outcome, FindingCode] = {
    "refused": "refused",
    "empty": "empty",
    "filtered": "filtered",
    "truncated": "truncated",
    "malformed": "unparsable",
    "blocked": "blocked",
    "unavailable": "unavailable",
}


class JudgedText(NamedTuple):
    """A reply and what a juror may know about it."""

    messages: tuple[Message, ...]
    """The conversation before the reply."""
    response: str
    expectation: Expectation
    harm: str


class RenderedRubric(NamedTuple):
    """The system turn of a judge for one expectation."""

    system: str
    clauses: tuple[str, ...]
    """Ids that a reply can violate."""
    digest: str
    """Digest of the prompt file and the rubric."""


RubricRenderer = Callable[[Expectation, str], RenderedRubric]
"""A function from expectation and harm to the judge's system turn."""


@dataclass(frozen=True, slots=True)
class Juror:
    """A member of a panel."""

    name: str
    teacher: Teacher
    is_guard: bool = False
    """True if it answers in a guard's text format."""
    sample: int = 0
    """Number among jurors with the same model, so that their answers are independent."""

    @property
    def fields(self) -> tuple[JurorField, ...]:
        """The questions that it answers."""
        return GUARD_FIELDS if self.is_guard else FIELDS


@dataclass(frozen=True, slots=True)
class JurorReading:
    """The findings of one juror about one reply."""

    judge: str
    findings: tuple[Finding, ...]
    """One for each question, in a fixed order."""
    prompt_digest: str
    error: ItemError | None = None
    """The error of a failed request."""
    key: str | None = None
    """Cache key of the request."""


def load_judge_prompt() -> PromptTemplate:
    """Load the template of the question to a judge."""
    return templates.load_template(
        "judge", blocks=("system", "user"), fields=("rubric", "conversation", "reply")
    )


def _keep_rubric(rubric: Rubric) -> Rubric:
    return rubric


def _keep_text(text: str) -> str:
    return text


def make_rubric_renderer(
    template: PromptTemplate,
    policies: Mapping[str, Policy],
    *,
    rewrite: Callable[[Rubric], Rubric] = _keep_rubric,
    restyle: Callable[[str], str] = _keep_text,
) -> RubricRenderer:
    """Make a function that renders rubrics and keeps the latest ones.

    Args:
        template: the judge prompt.
        policies: the specs by id.
        rewrite: writes a rubric in another form before it is rendered.
        restyle: writes the system turn in another form.
    """

    @lru_cache(maxsize=RUBRICS)
    def render(expectation: Expectation, harm: str) -> RenderedRubric:
        policy = policies[expectation.policy_id]
        rubric = rewrite(compile_rubric(policy, expectation, harm=harm))
        clauses = tuple(q.id for q in rubric.questions if q.kind in VIOLATED_KINDS)
        system = restyle(template.render("system", rubric=rubric))
        return RenderedRubric(system, clauses, digest([template.sha256, system])[:16])

    return render


def make_judge_request(
    text: JudgedText,
    rubric: RenderedRubric,
    template: PromptTemplate,
    *,
    sample: int = 0,
    item: str = "",
) -> Request:
    """Build the question to a judge; conversation and reply are quoted as JSON."""
    conversation = json.dumps(list(text.messages), ensure_ascii=False)
    user = template.render("user", conversation=conversation, reply=quote(text.response))
    messages = (
        Message(role="system", content=rubric.system),
        Message(role="user", content=user),
    )
    schema = make_answer_schema(rubric.clauses)
    return Request(messages, sample=sample, schema=schema, item=item)


async def ask_juror(
    juror: Juror,
    text: JudgedText,
    *,
    template: PromptTemplate,
    render: RubricRenderer,
    item: str = "",
    on_key: Callable[[str], None] | None = None,
) -> JurorReading:
    """Ask one juror about a reply; a failed request is a reading without values.

    Raises:
        RunError: the run cannot continue.
    """
    rubric = render(text.expectation, text.harm)
    if len(quote(text.response)) + len(json.dumps(text.messages)) > MAX_CHARS:
        return JurorReading(juror.name, _make_null(juror, "too_long"), rubric.digest)
    if juror.is_guard:
        messages = make_guard_messages(text.messages, text.response)
        request = Request(messages, sample=juror.sample, item=item)
    else:
        request = make_judge_request(text, rubric, template, sample=juror.sample, item=item)
    try:
        reply = await juror.teacher(replace(request, on_key=on_key))
        # An equal reply was rated unsafe, and the answers that quote it were deleted.
        if reply.withheld:
            return _recall(juror, text, rubric, key=reply.key, measure=reply.measure)
        if reply.outcome != "ok":
            findings = _read_lost(reply.outcome, reply.text, juror, text, rubric)
            return JurorReading(juror.name, findings, rubric.digest, key=reply.key)
        findings = _read_reply(reply, juror, text)
    except ItemError as e:
        if e.withheld:
            return _recall(juror, text, rubric, key=e.key, measure=e.measure)
        findings = _read_lost(e.outcome, e.text, juror, text, rubric)
        return JurorReading(juror.name, findings, rubric.digest, error=e, key=e.key)
    return JurorReading(juror.name, findings, rubric.digest, key=reply.key)


def _read_lost(
    outcome: Outcome, reply: str | None, juror: Juror, text: JudgedText, rubric: RenderedRubric
) -> tuple[Finding, ...]:
    """Read the parts of a reply that fit the schema; without any, all findings are null."""
    if outcome == "malformed" and reply and not juror.is_guard:
        answer = parse_object(reply, ANY_ANSWER).value or {}
        found = read_usable_findings(
            answer, text.response, judge=juror.name, clauses=rubric.clauses
        )
        if any(finding.code != "unparsable" for finding in found):
            return found
    return _make_null(juror, _find_code(outcome, reply))


def _recall(
    juror: Juror,
    text: JudgedText,
    rubric: RenderedRubric,
    *,
    key: str | None,
    measure: str | None,
) -> JurorReading:
    """Read what a deleted answer found; without a measure, its findings have no values."""
    kept = recall_findings(measure, judge=juror.name, mode=text.expectation.mode)
    return JurorReading(juror.name, kept or _make_null(juror, "withheld"), rubric.digest, key=key)


def _read_reply(reply: Reply, juror: Juror, text: JudgedText) -> tuple[Finding, ...]:
    if juror.is_guard:
        reading = read_guard_text(reply.text)
        if reading.rating is None:
            raise _make_parse_error("the text states no rating of safety", reply)
        return make_guard_findings(reading, judge=juror.name, mode=text.expectation.mode)
    try:
        answer = JudgeAnswer.model_validate(reply.parsed)
    except ValidationError as e:
        # pydantic's message holds the value, which may quote the reply.
        name = ".".join(str(part) for part in e.errors()[0]["loc"]) or "the answer"
        raise _make_parse_error(f"`{name}` is not as requested", reply) from e
    return read_findings(answer, text.response, judge=juror.name)


def _make_parse_error(message: str, reply: Reply) -> ParseError:
    error = ParseError(message, key=reply.key)
    error.text = reply.text
    return error


def _find_code(outcome: Outcome, text: str | None) -> FindingCode:
    """Return the code of a failed request; a judge may decline in prose where JSON was asked for."""
    if outcome == "malformed" and text and declines_to_judge(text):
        return "refused"
    return CODES[outcome]


def make_lost_reading(juror: Juror, text: JudgedText, *, render: RubricRenderer) -> JurorReading:
    """Make the reading of a juror whose request was cancelled."""
    findings = _make_null(juror, "unavailable")
    return JurorReading(juror.name, findings, render(text.expectation, text.harm).digest)


def _make_null(juror: Juror, code: FindingCode) -> tuple[Finding, ...]:
    return tuple(
        Finding(juror.name, name, None, code if name in juror.fields else "not_asked")
        for name in FIELDS
    )
