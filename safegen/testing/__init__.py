"""Fakes for tests of teachers, validators and views: no network beyond loopback, no key, no pytest.

    from safegen.testing import FakeEndpoint, check_validator, make_context, make_draft, scripted

    def test_my_validator() -> None:
        check_validator(no_shouting)
        assert judge(no_shouting(), make_draft(response="No!!!!"), make_context()).passed is False

No other part of safegen imports this package.
"""

from __future__ import annotations

from safegen.teachers.scripted import ScriptedTeacher, scripted
from safegen.testing.conformance import (
    HOSTILE_TEXTS,
    check_factory,
    check_validator,
    check_verdict,
    judge,
    judge_set,
)
from safegen.testing.endpoint import FAULTS, STATUS, Body, FakeEndpoint, plain_answer
from safegen.testing.judges import (
    BIASED_JUDGES,
    JudgedReply,
    answering_judge,
    make_findings,
    make_judge_answer,
    read_judged_reply,
    scripted_judge,
)
from safegen.testing.records import (
    make_context,
    make_draft,
    make_expectation,
    make_knowledge,
    make_messages,
    make_pair,
    make_record,
    make_scenario,
    make_verdict,
    policy,
)
from safegen.testing.stand_ins import SWAYED_JUDGES, biased_judge, honest_judge, read_honestly

__all__ = [
    "BIASED_JUDGES",
    "FAULTS",
    "HOSTILE_TEXTS",
    "STATUS",
    "SWAYED_JUDGES",
    "Body",
    "FakeEndpoint",
    "JudgedReply",
    "ScriptedTeacher",
    "answering_judge",
    "biased_judge",
    "check_factory",
    "check_validator",
    "check_verdict",
    "honest_judge",
    "judge",
    "judge_set",
    "make_context",
    "make_draft",
    "make_expectation",
    "make_findings",
    "make_judge_answer",
    "make_knowledge",
    "make_messages",
    "make_pair",
    "make_record",
    "make_scenario",
    "make_verdict",
    "plain_answer",
    "policy",
    "read_honestly",
    "read_judged_reply",
    "scripted",
    "scripted_judge",
]
