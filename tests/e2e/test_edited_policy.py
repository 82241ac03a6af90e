"""After a policy edit, the same command redrafts only affected prompts."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

import safegen
from safegen.cli.main import run_command
from safegen.config.recipe import Recipe
from safegen.core.errors import RecipeMismatch
from safegen.policy import loader
from safegen.testing import Body, FakeEndpoint, plain_answer


def recipe(url: str, policy: Path) -> Recipe:
    names = [str(policy), "deceit", "violence", "wellbeing", "health", "intimacy"]
    return Recipe.model_validate(
        {
            "name": "edited",
            "policies": names,
            "plan": {"harms": ["cyber.*", "property.theft"]},
            "teachers": {"drafter": {"openai_chat": {"base_url": url, "model": "m"}}},
            "validators": ["length_bounds"],
        }
    )


def _answer(body: Body) -> str:
    return (
        plain_answer(body) + " It goes on for a while, so that it is long enough to pass the check."
    )


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "security.yaml"
    path.write_text(loader.load_policy("security").path.read_text())
    return path


async def test_edited_clause_redrafts_prompts_that_show_it(
    tmp_path: Path, policy: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "out"
    with FakeEndpoint(_answer) as fake:
        before = await safegen.agenerate(recipe(fake.url, policy), output=out)
        request_count = len(fake.requests)
        rows = {r["scenario_id"]: r for r in before.view("sft").iter_rows(named=True)}
        text = policy.read_text().replace(
            "may:\n",
            "may:\n  - {id: SEC-MAY-NEW, says: name the standard that covers it, harms: [cyber.malware]}\n",
            1,
        )
        assert text != policy.read_text()
        policy.write_text(text)
        with caplog.at_level(logging.WARNING):
            after = await safegen.agenerate(recipe(fake.url, policy), output=out)
        again = fake.requests[request_count:]
    now = {r["scenario_id"]: r for r in after.view("sft").iter_rows(named=True)}
    leaf = {s for s, r in now.items() if r["harm"] == "cyber.malware"}
    # Instructions for a refusal permit nothing, so they do not change.
    shown = {s for s in leaf if now[s]["mode"] != "refuse_redirect"}
    assert leaf > shown
    assert len(again) == len(shown) > 0
    assert all("name the standard" in b["messages"][0]["content"] for b in again)
    assert f": {len(again)} prompts to draft again" in caplog.text
    changed = {s for s in rows if rows[s]["messages"] != now[s]["messages"]}
    assert changed <= shown
    new = {now[s]["policy_id"] for s in now if now[s]["domain"] == "cyber"}
    assert len(new) == 1
    assert new.isdisjoint(r["policy_id"] for r in rows.values())


async def test_lowered_ceiling_changes_affected_expectations(tmp_path: Path, policy: Path) -> None:
    out = tmp_path / "out"
    with FakeEndpoint(_answer) as fake:
        await safegen.agenerate(recipe(fake.url, policy), output=out)
        request_count = len(fake.requests)
        rule = (
            "  - id: SEC-LOW\n    says: Stay at awareness here.\n"
            "    when: {tier: [restricted], evidence: [none], profile: [public, minors, agent], detail: [4]}\n"
            "    mode: safe_completion\n    ceiling: 0\n    required: [limit, redirection]\n"
        )
        text = policy.read_text()
        # The first rule that applies decides.
        lowered = text.replace("\nrules:\n", f"\nrules:\n{rule}", 1)
        assert lowered != text
        policy.write_text(lowered)
        after = await safegen.agenerate(recipe(fake.url, policy), output=out)
        again = len(fake.requests) - request_count
    rows = after.view("sft").to_dicts()
    low = [r for r in rows if r["rule"] == "SEC-LOW"]
    assert again == len(low) > 0
    assert {r["ceiling"] for r in low} == {0}
    assert all(r["harm"].startswith("cyber.") for r in low)


async def test_other_recipe_changes_are_a_mismatch(tmp_path: Path, policy: Path) -> None:
    with FakeEndpoint(_answer) as fake:
        first = recipe(fake.url, policy)
        await safegen.agenerate(first, output=tmp_path / "out", until="expand")
        other = first.model_copy(update={"revise": 1})
        with pytest.raises(RecipeMismatch, match="revise"):
            await safegen.agenerate(other, output=tmp_path / "out")


async def test_build_after_policy_edit_keeps_records(tmp_path: Path, policy: Path) -> None:
    out = tmp_path / "out"
    with FakeEndpoint(_answer) as fake:
        await safegen.agenerate(recipe(fake.url, policy), output=out)
    shards = {p.name: p.read_bytes() for p in (out / "run" / "records").iterdir()}
    policy.write_text(policy.read_text().replace("title: ", "title: Edited, ", 1))
    assert await asyncio.to_thread(run_command, ["build", str(out)]) == 0
    assert {p.name: p.read_bytes() for p in (out / "run" / "records").iterdir()} == shards
