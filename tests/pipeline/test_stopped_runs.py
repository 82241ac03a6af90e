"""A stop or a retry in the middle of judged drafts: which text stays in the journal, and which record."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

import safegen
from safegen.config.recipe import Recipe
from safegen.core.errors import RunError
from safegen.core.hashing import digest
from safegen.core.progress import Progress
from safegen.core.types import Record, Reply, Request, Teacher
from safegen.judges.juror import Juror
from safegen.pipeline import shard
from safegen.pipeline.process_set import Drafter
from safegen.pipeline.resolve import resolve_recipe
from safegen.pipeline.session import reset_failures
from safegen.pipeline.workers import WorkerFactory
from safegen.store.journal import Journal
from safegen.store.run_folder import RunFolder
from safegen.store.scrub import finish_scrub
from safegen.teachers import CachedTeacher, Meter, StructuredTeacher
from safegen.testing import Body, FakeEndpoint, make_judge_answer, read_judged_reply
from tests.pipeline.test_judging import TEXT, answer_with, recipe, records

SECRET = "MARZIPAN-SENTINEL"
SPILLED = f"{SECRET} is the word of the glaze recipe, and this sentence goes on for a while."
HIGH = {"severity": "high", "rule": "facilitation"}
DOWN = "down"
Answer = Callable[[Request], str]


def files_with(folder: Path, text: str) -> list[str]:
    return sorted(
        p.relative_to(folder).as_posix()
        for p in folder.rglob("*")
        if p.is_file() and text.encode() in p.read_bytes()
    )


def judge(values: Mapping[str, str]) -> Answer:
    def answer(request: Request) -> str:
        response = read_judged_reply(request.messages).response
        return make_judge_answer(response, **(values if SECRET in response else {}))

    return answer


def draft(request: Request) -> str:
    return SPILLED if request.sample == 0 else f"{TEXT}, number {request.sample}"


def revise(_: Request) -> str:
    return f"{TEXT}, better, and without {SECRET}."


ANSWERS: Mapping[str, Answer] = {
    "drafter": draft,
    "reviser": revise,
    "a": judge(HIGH),
    "b": judge({}),
}


@dataclass
class Session:
    """The teachers of one session; an answer may wait for another role, or stop the run."""

    answers: Mapping[str, Answer] = field(default_factory=lambda: ANSWERS)
    waits: Mapping[str, str] = field(default_factory=dict[str, str])
    """Roles that wait until the answer of another is stored, or is about to be; a number is a candidate."""
    stops: tuple[str, ...] = ()
    """Roles that stop the run in place of an answer."""
    asked: Counter[str] = field(default_factory=Counter[str])
    stored: dict[str, asyncio.Event] = field(default_factory=dict[str, asyncio.Event])

    def event(self, role: str) -> asyncio.Event:
        return self.stored.setdefault(role, asyncio.Event())

    def make_teacher(self, role: str, journal: Journal) -> Teacher:
        async def answer(request: Request, /) -> Reply:
            self.asked[role] += 1
            name = f"{role} {request.sample}" if request.sample else role
            if before := self.waits.get(name):
                await self.event(before).wait()
            if name in self.stops:
                raise RunError("the endpoint is down")
            self.event(f"{role} in flight").set()
            return Reply(self.answers[role](request), "m")

        def key(request: Request) -> str:
            return digest([role, request.messages, request.sample, request.revision])

        cached = StructuredTeacher(CachedTeacher(answer, key=key, journal=journal))

        async def ask(request: Request, /) -> Reply:
            reply = await cached(request)
            self.event(role).set()
            return reply

        return ask

    async def run(self, output: Path, made: Recipe) -> list[Record]:
        """Run the first shard as a session does, and return its records."""
        folder = RunFolder(output)
        await finish_scrub(folder)
        journal = Journal(folder.journal)
        factory = WorkerFactory(resolve_recipe(made), journal=journal, meter=Meter(), teachers={})
        workers = factory.make_workers(Progress(), validating=True)
        assert workers.panel is not None
        jurors = tuple(Juror(name, self.make_teacher(name, journal)) for name in ("a", "b"))
        workers = replace(
            workers,
            drafters=(Drafter("d", self.make_teacher("drafter", journal), "generated"),),
            reviser=Drafter("r", self.make_teacher("reviser", journal), "generated"),
            panel=replace(workers.panel, jurors=jurors),
        )
        try:
            await shard.run_shard(folder, 0, workers)
        finally:
            await workers.scrub(sorted(workers.unsafe))
            await journal.aclose()
            for teacher in factory.teachers:
                await teacher.aclose()  # pyright: ignore[reportAttributeAccessIssue]
        return folder.read_records(0)


@pytest.fixture
def fake() -> Iterator[FakeEndpoint]:
    with FakeEndpoint(answer_with({})) as endpoint:
        yield endpoint


async def plan_run(output: Path, made: Recipe) -> None:
    await safegen.agenerate(made, output=output, until="expand")


def one_prompt(fake: FakeEndpoint, *, candidates: int = 1, revise: int = 0) -> Recipe:
    plan = {"intents": ["benign"], "candidates": candidates}
    return recipe(fake, "judge-a", "judge-b", plan=plan, revise=revise)


async def test_stop_deletes_what_one_juror_rated_unsafe(tmp_path: Path, fake: FakeEndpoint) -> None:
    made = one_prompt(fake)
    await plan_run(tmp_path, made)
    with pytest.raises(RunError, match="down"):
        await Session(stops=("b",), waits={"b": "a"}).run(tmp_path, made)
    assert files_with(tmp_path, SECRET) == []
    resumed = Session()
    made_records = await resumed.run(tmp_path, made)
    assert {(r.draft.withheld, r.severity, r.reason) for r in made_records} == {
        (True, "high", "withheld")
    }
    codes = {v.judge: v.code for v in made_records[0].verdicts if v.validator == "juror"}
    assert codes == {"a": "unsafe", "b": "unavailable"}
    assert made_records[0].draft.response_sha256
    assert resumed.asked == {}
    assert files_with(tmp_path, SECRET) == []


async def test_stop_keeps_unrated_text_as_a_reply(tmp_path: Path, fake: FakeEndpoint) -> None:
    made = one_prompt(fake)
    await plan_run(tmp_path, made)
    with pytest.raises(RunError, match="down"):
        await Session(stops=("a", "b")).run(tmp_path, made)
    assert [Path(name).name for name in files_with(tmp_path, SECRET)] == ["journal.sqlite"]
    resumed = Session()
    made_records = await resumed.run(tmp_path, made)
    assert set(resumed.asked) == {"a", "b"}
    assert {(r.draft.withheld, r.severity) for r in made_records} == {(True, "high")}
    assert files_with(tmp_path, SECRET) == []


def stop_at_revision(request: Request) -> str:
    if "better" in read_judged_reply(request.messages).response:
        raise RunError("the endpoint is down")
    return ANSWERS["a"](request)


async def test_stop_deletes_the_copy_of_a_reviser(tmp_path: Path, fake: FakeEndpoint) -> None:
    made = one_prompt(fake, revise=1)
    await plan_run(tmp_path, made)
    # No juror rated the revision, and it quotes the draft that it repairs.
    session = Session(answers={**ANSWERS, "a": stop_at_revision})
    with pytest.raises(RunError, match="down"):
        await session.run(tmp_path, made)
    assert session.asked["reviser"] > 0
    assert files_with(tmp_path, SECRET) == []
    first, *_ = await Session().run(tmp_path, made)
    codes = {v.judge: v.code for v in first.verdicts if v.validator == "juror"}
    assert (first.draft.withheld, codes) == (True, {"a": "unsafe", "b": "acceptable"})
    assert first.draft.response_sha256


async def test_stop_deletes_replies_whose_request_was_cancelled(
    tmp_path: Path, fake: FakeEndpoint
) -> None:
    made = one_prompt(fake, candidates=2, revise=1)
    await plan_run(tmp_path, made)
    # The second candidate stops the run while the reviser of the first one writes its copy.
    session = Session(stops=("drafter 1",), waits={"drafter 1": "reviser in flight"})
    with pytest.raises(RunError, match="down"):
        await session.run(tmp_path, made)
    assert files_with(tmp_path, SECRET) == []


def judge_on_endpoint(body: Body) -> str:
    """Answer as a drafter and as two judges; the second one breaks its JSON about one draft."""
    if not str(body["model"]).startswith("judge"):
        if len(body["messages"]) > 3:
            return f"{TEXT}, better, {len(body['messages'][1]['content'])}"
        is_spilled = digest(body["messages"][-1]["content"]) < "8"
        return SPILLED if is_spilled else f"{TEXT}, {body['messages'][-1]['content']}"
    response = read_judged_reply(body["messages"]).response
    if body["model"] == "judge-b" and "better" not in response and SECRET not in response:
        return "no JSON"
    harmful = HIGH if body["model"] == "judge-a" and SECRET in response else {}
    return make_judge_answer(response, **harmful)


@pytest.mark.parametrize("revisions", [0, 1])
def test_retry_keeps_the_records_of_deleted_texts(
    revisions: int, tmp_path: Path, fake: FakeEndpoint
) -> None:
    fake.answer = judge_on_endpoint
    made = recipe(fake, "judge-a", "judge-b", revise=revisions)
    before = records(safegen.generate(made, output=tmp_path))
    deleted = {r.draft.draft_id: r for r in before if r.draft.withheld}
    assert deleted
    assert len(deleted) < len(before)
    fake.requests.clear()
    assert reset_failures(RunFolder(tmp_path)) > 0
    run = safegen.generate(made, output=tmp_path)
    # The failed requests alone: no drafter and no reviser writes again.
    assert {body["model"] for body in fake.requests} == {"judge-b"}
    assert records(run) == before
    assert not (tmp_path / "run" / "settled" / "00000.parquet").exists()
    assert files_with(tmp_path, SECRET) == []
