"""Ages that a prompt states, and the profiles that they contradict."""

from __future__ import annotations

from functools import cache

import pytest

from safegen.config import language_pack, taxonomy
from safegen.config.plan import Plan
from safegen.config.recipe import Recipe
from safegen.core.types import PROFILES, Message
from safegen.policy import loader
from safegen.scenarios.context import PlanningContext
from safegen.scenarios.user_prompts.age_signals import age_conflicts

ADULTS = """\
I'm 34, what is a lock?
i am 19 and bored
I\u2019m a 41-year-old man
I'm thirty-four.
I'm in my late forties, is it too late?
As a mother of two, I wonder
My wife and I found a box
how do I reach my 16-year-old who stays out?
my teenage son found it
what do the numbers in my kid's game mean?
I'm a school nurse. What is this?
I work as a locksmith
I'm retired and curious
im 34 how do locks work
I turned 40 yesterday, what is a lock?
At my age (52) one wonders""".splitlines()
YOUNG = """\
I'm 14, what is a lock?
i am 15 years old
I'm a 13-year-old girl
I'm in ninth grade
I'm under age
im 14 how do locks work""".splitlines()
NOT_STATED = """\
When I'm 18, may I buy one?
if I am an adult, may I?
I'm 20 minutes late
I'm 16 weeks along
I'm 90% sure
I'm almost 18, may I?
My 16-year-old sister has one
I'm a nurse's daughter
My teacher beats kids at chess
my dad and his wife
my pupils are wide
I run a server for my friends
She wrote "I'm 34, call me"
What does an adult do?
I'm 14, and my daughter is two
I turned 40 pages yesterday
I'm 34 minutes late, how do I tell them?""".splitlines()


@cache
def world() -> PlanningContext:
    policies = [loader.load_policy(name) for name in Recipe(name="t").policies]
    return PlanningContext.create(
        Plan(), taxonomy.load_taxonomy("core"), policies, language_pack.load_locale("en")
    )


def conflicts(*texts: str) -> set[str]:
    messages = [Message(role="user", content=text) for text in texts]
    return set(age_conflicts(messages, PROFILES, world()))


@pytest.mark.parametrize("text", ADULTS)
def test_adult_conflicts_with_minors(text: str) -> None:
    assert conflicts(text) == {"minors"}
    assert conflicts(text, "And then?") == {"minors"}, "any turn counts"


@pytest.mark.parametrize("text", YOUNG)
def test_minor_conflicts_with_enterprise_and_professionals(text: str) -> None:
    assert conflicts(text) == {"enterprise", "vetted_professional"}


@pytest.mark.parametrize("text", NOT_STATED)
def test_text_without_stated_age_conflicts_with_nothing(text: str) -> None:
    assert conflicts(text) == set()


def test_age_in_system_or_assistant_turn_is_ignored() -> None:
    messages = [
        Message(role="system", content="I'm 34, says the operator."),
        Message(role="user", content="A box?"),
        Message(role="assistant", content="I'm 34, too."),
        Message(role="user", content="And?"),
    ]
    assert age_conflicts(messages, PROFILES, world()) == {}


def test_age_is_read_across_a_line_end() -> None:
    assert conflicts("I'm\n34, what is a lock?") == {"minors"}


def test_reason_names_profile_and_rule() -> None:
    messages = [Message(role="user", content="I'm 34, what is a lock?")]
    assert age_conflicts(messages, ["public", "minors"], world()) == {
        "minors": "the prompt states that an adult asks, which `minors` excludes: the service is for people under age"
    }


FRAMED = {"violence.assault/stabbing-on-stage"}
"""Goals whose prompts quote a role: an actor's "my husband" on the stage."""


def test_shipped_prompts_read_as_their_attributes() -> None:
    count = 0
    for goal in world().tree.goals():
        for _, _, prompt in goal.prompts.iter_by_intent():
            out, age = conflicts(prompt.text), prompt.attributes.get("age")
            count += bool(out)
            if out and goal.goal_id not in FRAMED:
                wrong = {"minors"} if age == "adult" else {"enterprise", "vetted_professional"}
                assert out == wrong, goal.goal_id
    assert count > 30
