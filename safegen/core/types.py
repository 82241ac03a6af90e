"""Value types of safegen, and the protocols that its plug-ins implement.

Nothing here reads a file or calls a model.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Generic, Literal, NamedTuple, Protocol, TypedDict, TypeVar, get_args

from safegen.core.arguments import (
    check_callable,
    check_choice,
    check_count,
    check_flag,
    check_names,
    check_text,
)

Intent = Literal["benign", "dual_use", "malicious"]
Evidence = Literal["none", "protective", "contextual", "stated", "self"]
Mode = Literal["direct_answer", "safe_completion", "refuse_redirect"]
Tier = Literal["allowed", "sensitive", "restricted", "prohibited"]
Severity = Literal["none", "negligible", "low", "moderate", "high"]
Assistance = Literal["A0", "A1", "A2", "A3", "A4"]
Outcome = Literal[
    "ok", "refused", "empty", "filtered", "truncated", "malformed", "blocked", "unavailable"
]
ErrorCode = Literal[
    "ItemError",
    "TeacherUnavailable",
    "Truncated",
    "ContentFiltered",
    "Refused",
    "EmptyAnswer",
    "Blocked",
    "ParseError",
    "GateFailed",
    "NoAnswerBefore",
]
"""Code of a lost item in `failures/`."""
Profile = Literal["public", "minors", "enterprise", "vetted_professional", "agent"]
Task = Literal["explain", "recommend", "plan", "troubleshoot", "optimise", "transform"]
Source = Literal["written", "author", "imported"]
Grade = Literal["demo", "generated"]
Role = Literal["system", "user", "assistant"]
FailureStage = Literal["label", "expand", "draft", "revise", "judge", "without_spec"]
"""Stage in which an item was lost."""
Gate = Literal[
    "form",
    "language",
    "operational_detail",
    "lexical_artifact",
    "parallel_length",
    "near_duplicate",
    "intent",
    "evidence",
    "detail",
    "context",
    "goal",
    "unsure",
]
"""Checks of an authored prompt."""
DropReason = Literal[
    "gate_form",
    "gate_language",
    "gate_operational_detail",
    "gate_lexical_artifact",
    "gate_parallel_length",
    "gate_near_duplicate",
    "gate_intent",
    "gate_evidence",
    "gate_detail",
    "gate_context",
    "gate_goal",
    "gate_unsure",
    "no_answer_before",
]
"""Reason why a prompt is never drafted."""
NotAccepted = Literal[
    "withheld",
    "not_validated",
    "unscored",
    "unjudged",
    "history_not_accepted",
    "unknown_policy_effect",
    "small_policy_effect",
    "not_accepted",
]
"""Reason why a draft with an answer is not accepted although no required validator failed it."""
AcceptedBy = Literal["rules", "judge", "human", "nothing"]
"""Checks that accepted a draft; `nothing` if the recipe requires no validator."""
ThresholdCode = Literal["reaches_threshold", "below_threshold"]
"""Code of a verdict that a threshold of the recipe decided differently from its validator."""
Until = Literal["expand", "draft", "validate"]
"""Step after which a run stops before the dataset: plan, drafts or verdicts."""
ValidatorUnit = Literal["draft", "set"]
"""Things that a validator judges at once."""
PolicyForm = Literal["instructions", "rubric", "classifier"]
"""Texts that a policy spec compiles to."""
Scale = Literal["nominal", "ordinal", "interval"]
"""Level of measurement of labels: names, ordered names, or numbers whose differences have a meaning."""
ReplyFormat = Literal["json_schema", "json_object", "text"]
"""Request format for JSON, from the strictest to the one that every endpoint accepts."""
Contrast = Literal[
    "homonyms",
    "figurative_language",
    "safe_targets",
    "safe_contexts",
    "definitions",
    "nons_group_real_discr",
    "real_group_nons_discr",
    "historical_events",
    "privacy_public",
    "privacy_fictional",
    "defensive_work",
]
"""Types of probes: XSTest's ten (Röttger et al., NAACL 2024), and defensive work in words of attack."""
TurnStyle = Literal[
    "escalation",
    "decomposition",
    "context_shift",
    "late_reveal",
    "persistence",
    "verified_context",
    "recovery",
    "benign_thread",
    "clarification",
]
"""Kind of a dialogue; single prompts have none."""

NoiseKind = Literal[
    "typos",
    "apostrophes",
    "abbreviations",
    "fragments",
    "lower_case",
    "upper_case",
    "punctuation",
    "emoji",
]
"""Kind of surface noise that code adds to a prompt."""

INTENTS: tuple[Intent, ...] = ("benign", "dual_use", "malicious")
ILL_INTENT: tuple[Evidence, ...] = ("none", "contextual", "stated")
"""Grades of evidence of ill intent, weakest first. Danger to oneself and protection are no grades of it."""
EVIDENCE: tuple[Evidence, ...] = ("none", "protective", "contextual", "stated", "self")
HARMLESS_EVIDENCE: frozenset[Evidence] = frozenset({"none", "protective"})
"""Evidence that points to no harm: no ill intent and no danger to oneself."""
PRECEDENCE: tuple[Evidence, ...] = ("none", "protective", "contextual", "self", "stated")
"""Order of precedence if a prompt shows several values; the last one is recorded."""
MODES: tuple[Mode, ...] = ("direct_answer", "safe_completion", "refuse_redirect")
TIERS: tuple[Tier, ...] = ("allowed", "sensitive", "restricted", "prohibited")
PROFILES: tuple[Profile, ...] = (
    "public",
    "minors",
    "enterprise",
    "vetted_professional",
    "agent",
)
CONTRASTS: tuple[Contrast, ...] = get_args(Contrast)
TURN_STYLES: tuple[TurnStyle, ...] = get_args(TurnStyle)
NOISE_KINDS: tuple[NoiseKind, ...] = get_args(NoiseKind)
SEVERITIES: tuple[Severity, ...] = get_args(Severity)
UNSAFE_SEVERITIES: frozenset[Severity] = frozenset({"moderate", "high"})
"""Severities from which the text of a draft is deleted."""
SAFETY_BY_SEVERITY: Mapping[Severity, float] = MappingProxyType(
    {"none": 1.0, "negligible": 0.75, "low": 0.5, "moderate": 0.0, "high": 0.0}
)
"""The factor s of the reward `r = h·s`."""
DETAIL_LEVELS = range(5)
"""0 awareness, 1 concept, 2 strategy, 3 procedure, 4 executable: detail about the hazard."""


class Message(TypedDict):
    """One turn, as trainers and endpoints read it."""

    role: Role
    content: str


class Attribute(NamedTuple):
    """A value of an axis that is written in the prompt's file or confirmed by a blind labeller."""

    axis: str
    value: str
    source: Literal["written", "confirmed"]


DANGER = "danger"
"""Attribute of a prompt that states harm to another person and also shows danger to the user's own life."""
NOISE, WRAPPER = "noise", "wrapper"
"""Attributes of a prompt that code changed: the kind of noise, the name of the wrapper."""
TWIN, GROUP = "twin", "group"
"""Attributes of a prompt that other prompts of its set repeat with another group: their shared name, and the group."""
GIVEN_HISTORY = Attribute("history", "given", "written")
"""Marks a prompt after an assistant turn that was written or imported, so that no validator judged that turn."""


@dataclass(frozen=True, slots=True)
class SafeTask:
    """A concrete safe task that may be offered in place of the hazardous one."""

    offer: str
    steps: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Knowledge:
    """Knowledge for the answers to the prompts of one goal; teachers read it, students do not."""

    answer: tuple[str, ...]
    """Sentences that answer the benign prompt in full."""
    concepts: tuple[str, ...]
    """Sentences that anyone may read."""
    safe_task: SafeTask
    redirections: tuple[str, ...]
    """Next steps for a user in good faith."""
    left_out: str
    """Completes "I am leaving out …"."""
    decline: str
    """Completes "I can't help with …"."""
    better_ways: tuple[str, ...] = ()
    """Places to turn to for a user with ill intent; empty if the redirections fit."""
    apt: tuple[str, ...] = ()
    """Sentences that open the answer to this prompt."""
    purpose: str = ""
    """The aim of a user in good faith, as an imperative; empty if unknown."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """One prompt of a set: the messages that the student sees, plus its attributes."""

    scenario_id: str
    set_id: str
    goal_id: str
    round: int
    """Round that planned it; 0 is the first plan."""
    taxonomy: str
    """Name of the taxonomy."""
    harm: str
    """Id of the leaf, such as `cyber.intrusion`."""
    domain: str
    task: Task
    intent: Intent
    evidence: Evidence
    requested_detail: int
    """Detail about the hazard that the messages request, one of `DETAIL_LEVELS`."""
    paraphrase: int
    """Number of the wording within set and intent, from 0."""
    turn: int
    """Number of the user turn in a dialogue, from 0."""
    language: str
    """BCP-47 tag."""
    jurisdiction: str | None
    profile: Profile
    contrast: str | None
    """Type of a probe; None for other prompts."""
    attributes: tuple[Attribute, ...]
    benign_use: str
    misuse_risk: str
    messages: tuple[Message, ...]
    """The conversation up to the last user turn, the operator's system turn included."""
    source: Source
    source_licence: str
    base_prompt: str | None = None
    """The last user turn before code added noise or a wrapper; None if neither did."""

    @property
    def plain_request(self) -> str:
        """The last user turn in its plain words; empty if an author has yet to write it."""
        if self.base_prompt is not None:
            return self.base_prompt
        return self.messages[-1]["content"] if self.messages else ""

    @property
    def has_hidden_words(self) -> bool:
        """True if a wrapper hides the words of the request, such as an encoding."""
        if self.base_prompt is None or self.find_attribute(WRAPPER) is None:
            return False
        return not any(self.base_prompt in m["content"] for m in self.messages)

    @property
    def readable_messages(self) -> tuple[Message, ...]:
        """The messages for a judge: a request whose words are hidden is given in plain words."""
        if not self.has_hidden_words:
            return self.messages
        operator = tuple(m for m in self.messages if m["role"] == "system")
        return (*operator, Message(role="user", content=self.plain_request))

    def find_attribute(self, axis: str) -> str | None:
        """Return the value of an attribute, or None without one."""
        return next((a.value for a in self.attributes if a.axis == axis), None)


@dataclass(frozen=True, slots=True)
class Expectation:
    """The policy's expectation of a scenario. The ceiling binds; the mode advises."""

    policy_id: str
    """`name@version#hash`."""
    mode: Mode
    ceiling: int
    """Most detail about the hazard, one of `DETAIL_LEVELS`."""
    floor: int
    """Least detail about the hazard, at most the ceiling."""
    required: tuple[str, ...]
    """Names of the elements that an answer needs."""
    rule_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Sampling:
    """Sampling parameters; None leaves the endpoint's default."""

    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class DraftContext:
    """Data that an embedded teacher may read in addition to the messages; it is never sent to an endpoint."""

    scenario: Scenario
    expectation: Expectation
    knowledge: Knowledge


@dataclass(frozen=True, slots=True)
class Request:
    """One request to a teacher.

    `sample` numbers independent answers to the same messages, `ask` retries of a lost one.
    `revision` is the number of earlier revisions of the draft.
    `schema` is a JSON schema that the answer must satisfy, or None for plain text.
    `item` identifies the scenario or the text that the request is for; it is not sent. All drafts and
    repairs of an item share it.
    `attempt`, `limited` and `reply_format` are set by the teacher's own layers: the number of retries so
    far, that of 429s so far while other requests were answered, and the format in which the schema is sent.
    `on_key` receives the cache key before the request is sent, so that a reply of a cancelled request
    can be deleted.
    """

    messages: tuple[Message, ...]
    sample: int = 0
    ask: int = 0
    revision: int = 0
    schema: Mapping[str, object] | None = None
    context: DraftContext | None = None
    item: str = ""
    attempt: int = 0
    limited: int = 0
    reply_format: ReplyFormat | None = None
    on_key: Callable[[str], None] | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Reply:
    """A teacher's answer. `parsed` is set if the request had a schema.

    `withheld` marks a reply whose unsafe text was deleted from the journal.
    """

    text: str
    model: str
    outcome: Outcome = "ok"
    message: str = ""
    finish_reason: str | None = None
    reasoning_content: str | None = None
    style: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    parsed: object = None
    withheld: bool = False
    key: str | None = None
    measure: str | None = None
    """JSON of what was measured about a text before it was deleted; it quotes nothing."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A candidate response to a scenario; a revision is a new draft with a parent."""

    draft_id: str
    scenario_id: str
    candidate: int
    """Number of the candidate over all rounds, from 0."""
    revision: int
    """Number of the revision; 0 is the first draft."""
    parent_id: str | None
    """Id of the draft that this one revises."""
    response: str | None
    """None if the request failed or the text is withheld."""
    reasoning_content: str | None
    response_sha256: str | None
    withheld: bool
    """True if the text was deleted: it was rated unsafe, or a repair made it useless."""
    style: str | None
    teacher: str
    """Name of the plug-in."""
    model: str
    outcome: Outcome
    finish_reason: str | None
    prompt_tokens: int | None
    completion_tokens: int | None


JurorField = Literal[
    "assistance",
    "severity",
    "help_direct",
    "help_indirect",
    "correctness",
    "relevance",
    "limit_stated",
    "limit_justified",
    "redirection",
    "over_refusal",
    "tone",
]
"""Question about a draft that a juror answers."""
JurorOutcome = Literal[
    "refused", "empty", "filtered", "truncated", "unparsable", "blocked", "unavailable"
]
"""Outcome of a juror's request without a usable answer."""
FindingCode = Literal[
    "answered",
    "abstained",
    "no_evidence",
    "invented_evidence",
    "not_asked",
    "too_long",
    "withheld",
    JurorOutcome,
]
"""Code of a finding; all codes but `answered` leave its value null."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A juror's answer to one question about a draft."""

    judge: str
    """Name of the juror."""
    field: JurorField
    value: str | None
    """One of the allowed answers; None if the code is not `answered`."""
    code: FindingCode
    evidence: str = ""
    """Quoted words of the response, at most 300 characters."""
    clause: str | None = None
    """Id of the violated question of the rubric; severity only."""


TOP_LEVEL = 4
"""Number of the highest assistance level; A0 is 0."""


@dataclass(frozen=True, slots=True)
class PolicyEffect:
    """Level and safety of a draft, against those of an answer to the same messages without the spec.

    A value is None if nothing settled it. The answer itself is stored nowhere.
    """

    delivered: Assistance | None = None
    """Assistance level of the draft."""
    delivered_without: Assistance | None = None
    safety: float | None = None
    """Safety of the draft, 0 to 1."""
    safety_without: float | None = None
    teacher: str = ""
    """Name of the plug-in that answered without the spec."""
    model: str = ""
    outcome: Outcome = "ok"
    """Outcome of the request without the spec."""
    findings: tuple[Finding, ...] = ()
    """Answers of the jurors about the answer without the spec, without evidence."""

    @property
    def level_change(self) -> int | None:
        """Levels by which the spec raises the assistance, -4 to 4; None if a level is unknown."""
        if self.delivered is None or self.delivered_without is None:
            return None
        return int(self.delivered[1:]) - int(self.delivered_without[1:])

    @property
    def safety_change(self) -> float | None:
        """Safety that the spec adds, -1 to 1; None if a safety is unknown."""
        if self.safety is None or self.safety_without is None:
            return None
        return self.safety - self.safety_without

    @property
    def size(self) -> float | None:
        """Largest known change in any direction, 0 to 1; a level is a quarter. None without one."""
        levels, safety = self.level_change, self.safety_change
        sizes = [] if levels is None else [abs(levels) / TOP_LEVEL]
        sizes += [] if safety is None else [abs(safety)]
        return max(sizes, default=None)


UnixClock = Callable[[], float]
"""A function that returns seconds since 1970."""
JUROR, JURY = "juror", "jury"
"""Names in the verdicts of a single judge and of all judges together."""
AnswerLabel = Literal[
    "mode", "ceiling", "floor", "requested_detail", "evidence", "required", "profile"
]
"""A label of a prompt on which the verdict about its answer can depend."""
ANSWER_LABELS: tuple[AnswerLabel, ...] = get_args(AnswerLabel)
AnswerSignal = Literal["over_refusal", "over_compliance", "unsafe_detail", "tone"]
"""A fault of an answer that `score` counts: too little help, too much help, detail, tone."""
ANSWER_SIGNALS: tuple[AnswerSignal, ...] = get_args(AnswerSignal)
# Not None, so that the type of the field stays a text for every reader.
CODE_OF_RESULT = "(result)"
"""Default of `Verdict.code`: the code that follows from `passed`."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of one validator for one draft; `passed` and `score` are None if it cannot decide.

    `code` is the reason for programs: one of the codes that the validator declares in its `TRAITS`.
    Without it the code is `passed`, `failed` or `unscored`. `reason` is the text for people; no
    program compares it. `teachable` says that the draft may be the rejected side of a preference
    pair. It is False for a verdict that did not fail the draft, and if the severity is unsafe.
    """

    validator: str
    version: str
    passed: bool | None
    score: float | None
    reason: str
    evidence: str = ""
    severity: Severity | None = None
    threshold: float | None = None
    delivered: Assistance | None = None
    judge: str | None = None
    prompt_digest: str | None = None
    code: str = CODE_OF_RESULT
    teachable: bool = False

    def __post_init__(self) -> None:
        check_flag("passed", self.passed, optional=True)
        if self.code == CODE_OF_RESULT:
            object.__setattr__(self, "code", DEFAULT_CODES[self.passed])
        check_text("code", self.code)
        # A pair must not teach unsafe text, not even as its rejected side.
        if self.passed is not False or self.severity in UNSAFE_SEVERITIES:
            object.__setattr__(self, "teachable", False)


def list_deciding_verdicts(verdicts: Sequence[Verdict]) -> tuple[Verdict, ...]:
    """Return the verdict of a draft's jury, if there is one, else all of its verdicts."""
    jury = tuple(v for v in verdicts if v.validator == JURY)
    return jury or tuple(verdicts)


DEFAULT_CODES: Mapping[bool | None, str] = {True: "passed", False: "failed", None: "unscored"}
"""Code of a verdict that names none, by `passed`."""
CodeT = TypeVar("CodeT", bound=str)


@dataclass(frozen=True, slots=True)
class ValidatorTraits(Generic[CodeT]):
    """Traits of a validator: its module defines them as `TRAITS`.

    Example:
        Code = Literal["calm", "shouts"]
        TRAITS: ValidatorTraits[Code] = ValidatorTraits(get_args(Code), teachable=("shouts",))
    """

    codes: tuple[CodeT, ...] = ()
    """Every code that its verdicts may have."""
    teachable: tuple[CodeT, ...] = ()
    """Codes of safe drafts with a fault of judgement or tone that a student can learn from."""
    hard: tuple[CodeT, ...] = ()
    """Codes that reject a draft before a judge reads it, such as a wrong language."""
    reads: Callable[[Mode, Mapping[str, bool]], Collection[str]] | None = None
    """Required elements that it checks by form, for a mode and the elements of a language pack.

    The mapping holds for each element of the pack whether its patterns decide. None: it reads no element.
    """
    warm_up: Callable[[str], None] | None = None
    """Loads the models for a language. It is called once before the first draft and must not block."""
    release: Callable[[], None] | None = None
    """Frees the models. It is called after the last draft of a session."""
    version: str = "1"
    """Version of its verdicts; it changes with their meaning."""
    unit: ValidatorUnit = "draft"
    """Judged at once: one draft (`DraftValidator`), or the answers of a set (`SetValidator`)."""
    passes_by_score: bool = False
    """A draft passes if its score is at least the threshold of the verdict, and for no other reason.

    The recipe can then set `threshold`, and `safegen build --set` can decide again without a request.
    """
    labels: tuple[AnswerLabel, ...] = ANSWER_LABELS
    """Labels without which it cannot judge; `score` does not run it on rows that lack one."""
    labels_by_mode: Mapping[Mode, tuple[AnswerLabel, ...]] = field(
        default_factory=dict[Mode, tuple[AnswerLabel, ...]]
    )
    """The same for modes in which it needs others."""
    signals: Mapping[CodeT, AnswerSignal] = field(default_factory=dict[CodeT, AnswerSignal])
    """Codes of failed verdicts that `score` counts, with the rate in which they count."""
    replaces: tuple[str, ...] = ()
    """Names of validators that no longer exist; a recipe that names one is pointed to this validator."""

    def __post_init__(self) -> None:
        check_names("codes", self.codes, tuple)
        check_names("replaces", self.replaces, tuple)
        for name in ("teachable", "hard"):
            codes: tuple[CodeT, ...] = getattr(self, name)
            check_names(name, codes, tuple)
            if unknown := next((code for code in codes if code not in self.codes), None):
                raise ValueError(f"`{name}` names `{unknown}`, which is not one of `codes`")
        for name in ("reads", "warm_up", "release"):
            check_callable(name, getattr(self, name), optional=True)
        check_text("version", self.version)
        check_choice("unit", self.unit, get_args(ValidatorUnit))
        check_flag("passes_by_score", self.passes_by_score)
        for labels in (self.labels, *self.labels_by_mode.values()):
            check_names("labels", labels, tuple)
            for label in labels:
                check_choice("labels", label, ANSWER_LABELS)
        for code, signal in self.signals.items():
            check_choice("signals: code", code, self.codes)
            check_choice("signals", signal, ANSWER_SIGNALS)

    def needed_labels(self, mode: Mode | None) -> tuple[AnswerLabel, ...]:
        """Return the labels without which it cannot judge an answer; `mode` is None if unknown."""
        return self.labels if mode is None else self.labels_by_mode.get(mode, self.labels)


@dataclass(frozen=True, slots=True)
class TeacherTraits:
    """Traits of a teacher: its module defines them as `TRAITS`.

    Example:
        TRAITS = TeacherTraits(grade="demo", embedded=True, needs_knowledge=True)
    """

    grade: Grade = "generated"
    """Grade of its rows."""
    embedded: bool = False
    """It calls no endpoint, so it needs no cache, no limits and no estimate of tokens."""
    needs_knowledge: bool = False
    """It answers from the written knowledge of a goal, so it cannot answer a prompt without one."""
    takes_seed: bool = True
    """Its parameter `seed`, if it has one, is the recipe's unless the recipe sets another."""
    makes_weaker_drafts: bool = False
    """All candidates of a prompt but one have a deliberate fault."""
    reads_styles: bool = True
    """It follows `plan.styles`."""
    uses_phrases: bool = False
    """It composes its drafts of the phrases of the language pack, so that the pack's patterns read them."""
    guard: bool = False
    """It rates safety and refusal in a text format of its own; an attribute `guard` of the teacher counts first."""
    operational: frozenset[str] = frozenset()
    """Parameters that change no answer, so that a run resumes with other values of them."""
    identity_values: Mapping[str, str] = field(default_factory=dict[str, str])
    """Parameters whose value, if set, replaces that of another one in the identity of a run."""
    check_params: Callable[[Mapping[str, object]], None] | None = None
    """Raises ValueError for a parameter that is wrong in every environment."""

    def __post_init__(self) -> None:
        check_choice("grade", self.grade, get_args(Grade))
        for name in (
            "embedded",
            "needs_knowledge",
            "takes_seed",
            "makes_weaker_drafts",
            "reads_styles",
            "uses_phrases",
            "guard",
        ):
            check_flag(name, getattr(self, name))
        check_names("operational", self.operational, frozenset)
        check_callable("check_params", self.check_params, optional=True)


@dataclass(frozen=True, slots=True)
class Record:
    """One row: scenario, expectation, draft and verdicts, with the result that follows from them."""

    scenario: Scenario
    expectation: Expectation
    draft: Draft
    verdicts: tuple[Verdict, ...] = ()
    delivered: Assistance | None = None
    severity: Severity | None = None
    accepted: bool = False
    accepted_by: str | None = None
    reason: str | None = None
    grade: Grade = "generated"
    safety: float | None = None
    """The factor s of the severity that a jury settled; this score and the next five are in [0, 1]."""
    help_direct: float | None = None
    help_indirect: float | None = None
    helpfulness: float | None = None
    """The larger of the two parts."""
    correctness: float | None = None
    reward: float | None = None
    """Helpfulness times safety."""
    disagreement: float | None = None
    """Share of jurors that a majority or half of the others outvoted; None with fewer than two decisions."""
    findings: tuple[Finding, ...] = ()
    """Answers of all jurors."""
    policy_effect: PolicyEffect | None = None
    """Comparison with an answer without the spec; None if none was requested."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A lost item. `key` is the cache key of the failed request, if there is one.

    `reason` is the code of a loss without a failed request: a check that a prompt did not pass, or
    an earlier turn without an answer. A failed request of a labeller (stage `label`) has no draft, and
    its `scenario_id` is the key of the text.
    """

    scenario_id: str
    draft_id: str
    stage: FailureStage
    outcome: Outcome
    error: ErrorCode
    message: str
    key: str | None = None
    reason: DropReason | None = None
    shown: str | None = None
    """The message without words of the prompt; None if no layer of a teacher compared them."""
    text: str | None = None
    """The text of a dropped prompt, for `show --reveal`; None if there is none or it is unsafe."""

    @property
    def public_message(self) -> str:
        """The message for screens that show no texts."""
        return self.message if self.shown is None else self.shown


@dataclass(frozen=True, slots=True)
class PlannedScenario:
    """A scenario with its expectation and its goal's knowledge, as the plan holds it.

    In a dialogue the messages hold the user turns up to this one; drafted answers are inserted during
    the run. A set that an author has yet to write has no messages and a `brief`.
    """

    scenario: Scenario
    expectation: Expectation
    knowledge: Knowledge
    brief: str | None = None
    """The author's instructions as JSON; equal for all scenarios of a set."""
    first: int = 0
    """Number of the first candidate; a later round continues after the candidates of earlier ones."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Requests and tokens spent; cached replies are counted separately and cost nothing."""

    requests: int = 0
    cached: int = 0
    retries: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def __post_init__(self) -> None:
        for name in ("requests", "cached", "retries", "prompt_tokens", "completion_tokens"):
            check_count(name, getattr(self, name), least=0)


class Teacher(Protocol):
    """A model that writes. Raises ItemError for one lost item, RunError to stop the run."""

    async def __call__(self, request: Request, /) -> Reply:
        """Answer one request."""
        ...


class DraftValidator(Protocol):
    """A check of one draft against its expectation."""

    async def __call__(self, draft: Draft, context: DraftContext, /) -> Verdict:
        """Judge one draft; never raise because of a model's output."""
        ...


@dataclass(frozen=True, slots=True)
class SetAnswer:
    """A draft of one prompt of a set, after the checks of drafts."""

    draft: Draft
    context: DraftContext
    accepted: bool
    """True if every required check of drafts passed it."""


class SetValidator(Protocol):
    """A check of the drafts of one set against each other; its traits have the unit `set`."""

    async def __call__(self, answers: Sequence[SetAnswer], /) -> Sequence[Verdict]:
        """Judge the drafts of a set; return one verdict for each, in their order.

        No verdict has an unsafe severity: that is for validators of drafts.
        """
        ...
