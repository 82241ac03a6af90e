"""Who asks, as far as a user's words say it outright, and the profiles that this rules out."""

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
UNTOLD = """\
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


def ruled_out(*texts: str) -> set[str]:
    said = [Message(role="user", content=text) for text in texts]
    return set(age_conflicts(said, PROFILES, world()))


@pytest.mark.parametrize("text", ADULTS)
def test_an_adult_is_not_asked_under_a_service_for_the_young(text: str) -> None:
    assert ruled_out(text) == {"minors"}
    assert ruled_out(text, "And then?") == {"minors"}, "whichever turn tells it"


@pytest.mark.parametrize("text", YOUNG)
def test_somebody_under_age_is_no_employee_and_no_professional(text: str) -> None:
    assert ruled_out(text) == {"enterprise", "vetted_professional"}


@pytest.mark.parametrize("text", UNTOLD)
def test_what_is_not_said_outright_of_the_asker_rules_nothing_out(text: str) -> None:
    assert ruled_out(text) == set()


def test_the_words_of_an_operator_and_of_an_assistant_are_not_the_askers() -> None:
    said = [
        Message(role="system", content="I'm 34, says the operator."),
        Message(role="user", content="A box?"),
        Message(role="assistant", content="I'm 34, too."),
        Message(role="user", content="And?"),
    ]
    assert age_conflicts(said, PROFILES, world()) == {}


def test_a_line_may_end_before_the_age() -> None:
    assert ruled_out("I'm\n34, what is a lock?") == {"minors"}


def test_the_reason_names_the_profile_and_the_rule() -> None:
    said = [Message(role="user", content="I'm 34, what is a lock?")]
    assert age_conflicts(said, ["public", "minors"], world()) == {
        "minors": "the prompt states that an adult asks, which `minors` excludes: the service is for people under age"
    }


FRAMED = {"violence.assault/stabbing-on-stage"}
"""An actor's "my husband" on the stage."""


def test_no_shipped_prompt_is_read_otherwise_than_its_attributes_say() -> None:
    told = 0
    for goal in world().tree.goals():
        for _, _, prompt in goal.prompts.iter_by_intent():
            out, age = ruled_out(prompt.text), prompt.attributes.get("age")
            told += bool(out)
            if out and goal.goal_id not in FRAMED:
                wrong = {"minors"} if age == "adult" else {"enterprise", "vetted_professional"}
                assert out == wrong, goal.goal_id
    assert told > 30
