from __future__ import annotations

import asyncio
import io
import re
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console
from rich.text import Text

from safegen.cli.preview import Pager, browse_pages
from safegen.config import language_pack
from safegen.config.plan import Plan
from safegen.config.recipe import Judges, PluginRef, Recipe, Teachers
from safegen.core.types import PlannedScenario, Reply, Request
from safegen.pipeline import api
from safegen.pipeline.preflight.preview import Preview, choose_sets, preview_recipe
from safegen.pipeline.records import RecordLabels
from safegen.pipeline.resolve import ResolvedRecipe, resolve_recipe
from safegen.pipeline.session import plan_first_round
from safegen.scenarios.context import PlanningContext
from safegen.scenarios.written import plan_sets
from safegen.testing import FakeEndpoint
from tests.cli.harness import RECIPE, call, write_recipe


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of temporary folders."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def inputs(**plan: object) -> ResolvedRecipe:
    made = {"harms": ["cyber.intrusion"]} | plan
    return resolve_recipe(Recipe(name="k", policies=("security",), plan=Plan.model_validate(made)))


def planned(**plan: object) -> Iterator[list[PlannedScenario]]:
    resolved = resolve_recipe(Recipe(name="k", plan=Plan.model_validate(plan)))
    return plan_sets(
        PlanningContext.create(
            resolved.recipe.plan, resolved.tree, resolved.policies, resolved.locale
        )
    )


def kinds(sets: list[list[PlannedScenario]]) -> set[str]:
    names = set[str]()
    for first, *_ in sets:
        styles = [a.value for a in first.scenario.attributes if a.axis == "turn_style"]
        names.add(first.scenario.contrast or (styles[0] if styles else "plain"))
    return names


def test_chosen_sets_spread_over_domains_then_leaves() -> None:
    chosen = choose_sets(planned(), 15)
    assert len({s[0].scenario.domain for s in chosen}) == 15
    more = choose_sets(planned(), 30)
    assert set(Counter(s[0].scenario.domain for s in more).values()) == {2}
    twice = [h for h, n in Counter(s[0].scenario.harm for s in more).items() if n > 1]
    assert twice == ["minors.endangerment"]  # the domain's only leaf that is no red line
    assert more[:15] == chosen


def test_chosen_sets_spread_over_kinds() -> None:
    plan = {"dialogues": ["escalation", "recovery"], "contrast": ["homonyms"]}
    chosen = choose_sets(planned(**plan), 4)
    assert kinds(chosen) == {"plain", "homonyms", "escalation", "recovery"}
    assert len({s[0].scenario.domain for s in chosen}) == 4


def test_chosen_sets_are_at_most_the_plan() -> None:
    every = list(planned(harms=["cyber.intrusion"]))
    chosen = choose_sets(planned(harms=["cyber.intrusion"]), 100)
    assert len(chosen) == len(every) > 1


def test_preview_hides_texts_and_keeps_no_files(
    workdir: Path, scratch: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_recipe(workdir)
    result = call(capsys, "preview", "recipe.yaml", "-n", "2")
    assert result.code == 0
    forecast, first, *more = result.out.split("\n\n")
    assert "2 sets of kitchen 0.1.0; nothing was kept" in forecast
    for name in ("goal", "scenario", "asked", "expected", "of security@", "draft", "accepted"):
        assert name in first
    assert all(part.count("scenario ") <= 1 for part in [first, *more]), "each is shown once"
    assert re.search(r"too_general +rejected  response_form: too general", result.out)
    assert "\n  response\n" not in result.out
    assert "characters / 4: the teacher gives no counts" in result.out
    assert list(scratch.iterdir()) == []
    assert {p.name for p in workdir.iterdir()} == {"recipe.yaml", "scratch"}


def test_reveal_shows_the_texts(workdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_recipe(workdir)
    result = call(capsys, "preview", "recipe.yaml", "-n", "1", "--reveal")
    assert "\n  user\n" in result.out
    assert "\n  response\n" in result.out


def test_json_has_a_line_per_record_and_estimate(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_recipe(workdir)
    *records, last = call(capsys, "preview", "recipe.yaml", "-n", "2", "--json").lines
    assert len({r["set_id"] for r in records}) == last["sets"] == 2
    assert all("response" not in r and "messages" not in r for r in records)
    assert last["drafts"] == len(records) == last["forecast"]["measured"]
    revealed = call(capsys, "preview", "recipe.yaml", "-n", "1", "--json", "--reveal").lines
    assert all(r["messages"] for r in revealed[:-1])


def test_full_preview_estimates_the_cost_of_the_run(workdir: Path) -> None:
    with FakeEndpoint() as endpoint:
        params = {"base_url": endpoint.url, "model": "fake"}
        made = resolve_recipe(
            Recipe(
                name="k",
                policies=("security",),
                plan=Plan(harms=("cyber.intrusion",), candidates=2),
                teachers=Teachers(drafter=(PluginRef(use="openai_chat", params=params),)),
                revise=1,
            )
        )
        preview = asyncio.run(preview_recipe(made, sets=100))
        run = api.generate(made.recipe, output=workdir / "out")
    ahead = preview.estimate
    assert (ahead.counted, ahead.source) == (ahead.measured, "as the endpoint counts them")
    assert (ahead.calls, ahead.prompt_tokens, ahead.answer_tokens) == (
        run.usage.requests,
        run.usage.prompt_tokens,
        run.usage.completion_tokens,
    )
    assert ahead.drafts < ahead.calls <= ahead.most_calls == 2 * ahead.drafts


def test_uncounted_tokens_are_estimated_and_marked() -> None:
    async def some(request: Request) -> Reply:
        counts = (70, 30) if request.sample == 0 else (None, None)
        return Reply("x" * 80, "m", prompt_tokens=counts[0], completion_tokens=counts[1])

    preview = asyncio.run(
        preview_recipe(inputs(candidates=2), sets=100, teachers={"drafter": some})
    )
    ahead = preview.estimate
    half = ahead.measured // 2
    assert ahead.counted == half
    assert ahead.source == f"as the endpoint counts {half} drafts, characters / 4 for {half}"
    assert ahead.answer_tokens == half * 30 + half * 80 / 4


def test_rejecting_endpoint_stops_preview_and_leaves_nothing(
    workdir: Path, scratch: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with FakeEndpoint(fault=lambda body, nth: "401") as endpoint:
        teacher = f"{{openai_chat: {{base_url: '{endpoint.url}', model: fake}}}}"
        write_recipe(workdir, f"{RECIPE}teachers: {{drafter: {teacher}}}\n")
        result = call(capsys, "preview", "recipe.yaml", "-n", "1")
    assert (result.code, result.out) == (1, "")
    assert "HTTP `401`" in result.err
    assert list(scratch.iterdir()) == []


@pytest.fixture(scope="module")
def shown() -> Preview:
    return asyncio.run(preview_recipe(inputs(), sets=1))


class Screen:
    """A terminal of a given height that records its pages."""

    def __init__(
        self,
        preview: Preview,
        *,
        height: int = 24,
        reveal: bool = False,
        opening: tuple[str, ...] = (),
    ) -> None:
        self.file = io.StringIO()
        console = Console(file=self.file, force_terminal=True, width=80, height=height)
        self.pages = Pager(
            console,
            preview,
            RecordLabels({}, {}, language_pack.load_locale("en")),
            opening,
            reveal=reveal,
        )

    def press(self, keys: str) -> list[str]:
        """Press the keys and return every page that was drawn."""
        browse_pages(self.pages, iter(keys))
        return self.file.getvalue().split("\x1b[2J")[1:]


def test_keys_turn_pages_within_bounds(shown: Preview) -> None:
    screen = Screen(shown, height=40)
    pages = screen.press("pnn p")
    plain = [Text.from_ansi(page).plain.strip().split("\n")[-1] for page in pages]
    assert [foot.split(" · ")[0] for foot in plain] == [
        f"set 1 of 1, draft {n} of {len(shown.records)}" for n in (1, 1, 2, 3, 4, 3)
    ]
    ids = [r.draft.draft_id for r in shown.records]
    assert [next(i for i in ids if i in page) for page in pages] == [
        ids[n] for n in (0, 0, 1, 2, 3, 2)
    ]


def test_footer_counts_sets_and_drafts() -> None:
    preview = asyncio.run(preview_recipe(inputs(), sets=2))
    per_set = Counter(r.scenario.set_id for r in preview.records)
    pages = Screen(preview, height=40).press("n" * len(preview.records))
    feet = [Text.from_ansi(page).plain.strip().split("\n")[-1] for page in pages]
    wanted = [
        f"set {n} of 2, draft {draft} of {size}"
        for n, size in enumerate(per_set.values(), 1)
        for draft in range(1, size + 1)
    ]
    assert [foot.split(" · ")[0] for foot in feet] == wanted


def test_estimate_comes_before_the_first_record(shown: Preview) -> None:
    screen = Screen(shown, opening=("about 12 calls",))
    pages = [Text.from_ansi(page).plain for page in screen.press("pnp")]
    first = [page for page in pages if "about 12 calls" in page]
    assert [page in first for page in pages] == [True, True, False, True]
    assert all("estimate · n next" in page for page in first)


def test_r_key_toggles_texts(shown: Preview) -> None:
    text = (shown.records[0].draft.response or "").split()[0]
    hidden, open_, closed = Screen(shown, height=60).press("rr")
    assert (text in hidden, text in open_, text in closed) == (False, True, False)
    assert "r show texts" in hidden
    assert "r hide texts" in open_


def test_q_key_and_last_page_end_the_preview(shown: Preview) -> None:
    assert len(Screen(shown, height=40).press("qnnn")) == 1
    assert len(Screen(shown, height=40).press("n" * 50)) == len(shown.records)


@pytest.mark.parametrize("height", [3, 8, 24])
def test_long_record_is_split_into_pages(shown: Preview, height: int) -> None:
    screen = Screen(shown, height=height, reveal=True)
    pages = screen.press("n" * 500)
    assert len(pages) > len(shown.records)
    assert all(page.count("\n") < height for page in pages)
    text = " ".join("".join(pages).split())
    for record in shown.records:
        assert (record.draft.response or "").split()[-1] in text


def test_back_key_opens_last_page_of_previous_record(shown: Preview) -> None:
    screen = Screen(shown, height=10, reveal=True)
    parts = len(screen.pages.parts)
    screen.press("n" * parts + "p")
    assert (screen.pages.index, screen.pages.part_index) == (0, parts - 1)


def test_preview_with_target_mentions_further_rounds(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_recipe(workdir, f"{RECIPE}target: {{accepted: 3}}\n")
    result = call(capsys, "preview", "recipe.yaml", "-n", "1")
    assert "top-up rounds for `target` are not counted" in result.out


def test_authored_sets_are_their_own_kind() -> None:
    recipe = Recipe(
        name="k",
        plan=Plan(authored=1),
        teachers=Teachers(author=PluginRef(use="offline")),
        judges=Judges(labellers=(PluginRef(use="offline"),)),
    )
    chosen = choose_sets(plan_first_round(resolve_recipe(recipe)), 4)
    assert [bool(set_[0].brief) for set_ in chosen] == [False, True, False, True]
    assert len({set_[0].scenario.domain for set_ in chosen}) == 4
