"""Rewards for trainers: `r = h·s`, its parts, and rule validators.

import safegen as sg

async def judge(messages, response, columns):
    return sg.ResponseScores(helpfulness=0.8, severity="none")

reward = sg.reward(judge)
GRPOTrainer(..., reward_funcs=[reward.trl_async])   # TRL
compute_score = reward.verl                         # verl: custom_reward_function.name
reward_func = reward.openrlhf                       # OpenRLHF: --remote_rm_url FILE
Rubric(funcs=[reward.verifiers])                    # verifiers
await reward.nemo_gym(body)                         # NeMo Gym: in `verify`
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from importlib import import_module
from itertools import pairwise
from numbers import Real
from typing import Literal, NamedTuple, Protocol, TypeAlias, TypeGuard, TypeVar, cast, get_args

from safegen.core.arguments import (
    check_callable,
    check_choice,
    check_count,
    describe_argument,
    raise_user_errors,
)
from safegen.core.errors import RunError, Unscorable, UserError
from safegen.core.types import (
    SAFETY_BY_SEVERITY,
    SEVERITIES,
    DraftValidator,
    Message,
    Severity,
)
from safegen.pipeline.reward_engine import (
    PartsFunction,
    RewardEngine,
    RewardPart,
    RewardParts,
    finish,
)
from safegen.pipeline.reward_inputs import (
    RewardItem,
    read_nemo_gym_item,
    read_openrlhf_batch,
    read_trl_batch,
    read_verifiers_item,
    read_verl_item,
)
from safegen.pipeline.validator_rewards import make_validator_parts

logger = logging.getLogger(__name__)
FunctionT = TypeVar("FunctionT", bound=Callable[..., object])
Rewards = list[float | None]
UnscorableChoice: TypeAlias = Literal["raise", "none"] | float


class ResponseScores(NamedTuple):
    """A judge's scores of a response; None if it abstains."""

    helpfulness: float | None
    """In [0, 1]."""
    severity: Severity | None


class ResponseScorer(Protocol):
    """A function that scores a response; only async ones score several at once."""

    def __call__(
        self, messages: tuple[Message, ...], response: str, columns: Mapping[str, object], /
    ) -> Awaitable[ResponseScores] | ResponseScores:
        """Return the scores of a response to a conversation.

        Args:
            messages: the conversation before the response.
            response: the answer, without thinking.
            columns: the columns of the row, such as `mode` and `policy_text`.

        Raises:
            ItemError: the response could not be scored.
        """
        ...


class RequestModel(Protocol):
    """A pydantic model of a request, as NeMo Gym passes it."""

    def model_dump(self) -> dict[str, object]:
        """Return the fields."""
        ...


def reward(
    scorer: ResponseScorer | None = None,
    *,
    validator: str | DraftValidator | None = None,
    safety: Mapping[Severity, float] = SAFETY_BY_SEVERITY,
    unscorable: UnscorableChoice = "raise",
    in_flight: int = 32,
    cached: int = 100_000,
    language: str = "en",
) -> Reward:
    """Make a reward for trainers.

    Args:
        scorer: scores helpfulness h and severity; the reward is h·s, and 0 if s is 0.
        validator: a rule validator in place of a scorer, by name or as a function; the reward is its
            score. It reads the columns `mode` and `language`, and `requested_detail`, `ceiling`,
            `floor`, `evidence`, `profile`, `required` and `policy_id` if it needs them.
        safety: s by severity; all five, in [0, 1], never rising with the severity.
        unscorable: `raise` an `Unscorable`, `none` for a null (TRL only), or a number of your choice.
        in_flight: calls of the scorer at once, over all batches.
        cached: scores in the cache at most; equal rows are scored once.
        language: language pack of a validator that is given by name.

    Raises:
        UserError: an argument is wrong.

    Example:
        >>> reward(validator="length_bounds").name
        'length_bounds'
    """
    remake = partial(
        reward,
        scorer,
        validator=validator,
        unscorable=unscorable,
        in_flight=in_flight,
        cached=cached,
        language=language,
    )
    with raise_user_errors():
        check_count("in_flight", in_flight)
        check_count("cached", cached, least=0)
        _check_unscorable(unscorable)
    if (scorer is None) == (validator is None):
        raise UserError("give either `scorer` or `validator`")
    if validator is not None:
        name, score = make_validator_parts(validator, language=language)
        engine = RewardEngine(score, in_flight=in_flight, cached=cached)
        return Reward(engine, name, unscorable=unscorable, parts=("reward",), remake=remake)
    assert scorer is not None
    with raise_user_errors():
        check_callable("scorer", scorer)
    factors = _check_safety(safety)
    engine = RewardEngine(_product(scorer, factors), in_flight=in_flight, cached=cached)
    # The default is a proxy, which cannot be pickled.
    remake = partial(remake, safety=dict(safety))
    return Reward(engine, "reward", unscorable=unscorable, remake=remake)


def _remake_part(remake: Callable[[], Reward], name: RewardPart) -> Reward:
    return remake().part(name)


class Reward:
    """A reward in the signatures of trainers; `reward` makes it.

    | trainer | attribute |
    |---|---|
    | TRL | `trl`, `trl_async` |
    | verl | `verl`, `verl_async` |
    | OpenRLHF | `openrlhf` |
    | verifiers | `verifiers` |
    | NeMo Gym | `nemo_gym` |
    """

    def __init__(
        self,
        engine: RewardEngine,
        name: str,
        *,
        unscorable: UnscorableChoice,
        remake: Callable[[], Reward],
        part: RewardPart = "reward",
        parts: Sequence[RewardPart] = get_args(RewardPart),
    ) -> None:
        self.name = name
        """Name of the functions, under which TRL logs them."""
        self._engine = engine
        self._unscorable: UnscorableChoice = unscorable
        self._remake = remake
        self._part: RewardPart = part
        self._parts = tuple(parts)

    def part(self, name: RewardPart) -> Reward:
        """Return a part as a reward: `helpfulness` or `safety`. It shares calls and cache.

        Raises:
            UserError: there is no such part.
        """
        with raise_user_errors():
            check_choice("part", name, self._parts)
        return Reward(
            self._engine,
            name,
            unscorable=self._unscorable,
            remake=partial(_remake_part, self._remake, name),
            part=name,
            parts=self._parts,
        )

    def score(self, items: Sequence[RewardItem]) -> Rewards:
        """Score items.

        Raises:
            Unscorable: an item has no score, and `unscorable` is `raise`.
        """
        return self._resolve(self._engine.wait(items, part=self._part))

    async def ascore(self, items: Sequence[RewardItem]) -> Rewards:
        """Score items as `score` does, from a coroutine."""
        return self._resolve(await asyncio.wrap_future(self._engine.submit(items, part=self._part)))

    def close(self) -> None:
        """Stop the thread that scores; the next call starts it again."""
        self._engine.close()

    def __reduce__(self) -> tuple[Callable[[], Reward], tuple[()]]:
        """Pickle the arguments; the copy has calls, cache and thread of its own."""
        return self._remake, ()

    def __enter__(self) -> Reward:
        """Return the reward; the end of the block closes it."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the reward."""
        self.close()

    @property
    def trl(self) -> Callable[..., Rewards]:
        """A reward function of TRL's GRPO and RLOO trainers."""

        def trl(prompts: list[object], completions: list[object], **columns: object) -> Rewards:
            return self.score(read_trl_batch(prompts, completions, columns))

        return _named(trl, self.name)

    @property
    def trl_async(self) -> Callable[..., Awaitable[Rewards]]:
        """The same as a coroutine function, which TRL runs together with others."""

        async def trl(
            prompts: list[object], completions: list[object], **columns: object
        ) -> Rewards:
            return await self.ascore(read_trl_batch(prompts, completions, columns))

        return _named(trl, self.name)

    @property
    def verl(self) -> Callable[..., float]:
        """The `compute_score` of verl; the prompt must be in `extra_info`."""
        self._refuse_none("verl")

        def compute_score(
            data_source: object,
            solution_str: str,
            ground_truth: object,
            extra_info: object = None,
            **_: object,
        ) -> float:
            item = read_verl_item(data_source, solution_str, ground_truth, extra_info)
            return _number(self.score([item])[0])

        return _named(compute_score, self.name)

    @property
    def verl_async(self) -> Callable[..., Awaitable[float]]:
        """The same as a coroutine function."""
        self._refuse_none("verl")

        async def compute_score(
            data_source: object,
            solution_str: str,
            ground_truth: object,
            extra_info: object = None,
            **_: object,
        ) -> float:
            item = read_verl_item(data_source, solution_str, ground_truth, extra_info)
            return _number((await self.ascore([item]))[0])

        return _named(compute_score, self.name)

    @property
    def openrlhf(self) -> Callable[..., dict[str, object]]:
        """The `reward_func` of OpenRLHF; labels may be JSON text with columns."""
        self._refuse_none("OpenRLHF")

        def reward_func(
            queries: list[str], prompts: list[str], labels: list[object], **_: object
        ) -> dict[str, object]:
            values = [_number(r) for r in self.score(read_openrlhf_batch(queries, prompts, labels))]
            rewards = _to_tensor(values)
            return {"rewards": rewards, "scores": rewards, "extra_logs": {self.name: rewards}}

        return _named(reward_func, self.name)

    @property
    def verifiers(self) -> Callable[..., Awaitable[float]]:
        """A reward function of a `Rubric` of verifiers.

        verifiers replaces an exception by 0, so an unscorable response gives NaN under `raise`. A wrong
        input or a failed run gives NaN and is logged.
        """

        async def reward_func(
            prompt: object,
            completion: object,
            answer: object = "",
            info: object = None,
            **_: object,
        ) -> float:
            try:
                item = read_verifiers_item(prompt, completion, answer, info)
                (parts,) = await asyncio.wrap_future(self._engine.submit([item], part=self._part))
            except (UserError, RunError) as e:
                logger.warning("reward `%s` gives NaN: %s", self.name, e)
                return math.nan
            value = getattr(parts, self._part)
            if value is None and not isinstance(self._unscorable, str):
                return float(self._unscorable)
            return math.nan if value is None else float(value)

        return _named(reward_func, self.name)

    @property
    def nemo_gym(self) -> Callable[..., Awaitable[dict[str, object]]]:
        """The work of a `verify` method of NeMo Gym: the request's keys and `reward`."""
        self._refuse_none("NeMo Gym")

        async def verify(body: Mapping[str, object] | RequestModel) -> dict[str, object]:
            payload = body if isinstance(body, Mapping) else body.model_dump()
            value = _number((await self.ascore([read_nemo_gym_item(payload)]))[0])
            return {**payload, "reward": value}

        return _named(verify, self.name)

    def _resolve(self, scored: Sequence[RewardParts]) -> Rewards:
        values: Rewards = [getattr(parts, self._part) for parts in scored]
        missing = [n for n, value in enumerate(values) if value is None]
        if not missing or self._unscorable == "none":
            return values
        if self._unscorable == "raise":
            code = scored[missing[0]].problem or "no score"
            raise Unscorable(
                f"{len(missing)} of {len(values)} responses have no `{self._part}`; the first is"
                f" number {missing[0] + 1} of the batch (`{code}`); `unscorable=` takes `none` or a"
                " number"
            )
        replacement = float(self._unscorable)
        return [replacement if value is None else value for value in values]

    def _refuse_none(self, trainer: str) -> None:
        if self._unscorable == "none":
            raise UserError(f"{trainer} takes no null reward; use `unscorable='raise'` or a number")


def _product(scorer: ResponseScorer, safety: Mapping[Severity, float]) -> PartsFunction:
    async def score(item: RewardItem) -> RewardParts:
        result = await finish(scorer(item.messages, item.response, item.columns))
        h, severity = _check_scores(result)
        s = None if severity is None else safety[severity]
        product = None if h is None or s is None else h * s
        if s == 0:
            product = 0.0
        return RewardParts(product, h, s, "" if product is not None else "abstained")

    return score


def _check_scores(scores: object) -> ResponseScores:
    """Check the result of a user's function.

    Raises:
        UserError: it is no pair of a helpfulness in [0, 1] and a severity, each or None.
    """
    is_pair = isinstance(scores, tuple) and len(cast("tuple[object, ...]", scores)) == 2
    if not is_pair:
        allowed = "`ResponseScores(helpfulness, severity)`"
        raise UserError(describe_argument("result of the scorer", cast("object", scores), allowed))
    h, severity = cast("tuple[object, object]", scores)
    if h is not None and not (_is_number(h) and 0 <= h <= 1):
        raise UserError(describe_argument("helpfulness", h, "a number in [0, 1] or None"))
    if severity is not None and severity not in SEVERITIES:
        allowed = f"one of {', '.join(f'`{name}`' for name in SEVERITIES)} or None"
        raise UserError(describe_argument("severity", severity, allowed))
    return ResponseScores(None if h is None else float(h), severity)


def _check_safety(safety: object) -> Mapping[Severity, float]:
    """Check that a mapping has every severity, numbers in [0, 1], and never rises.

    Raises:
        UserError: with the first fault.
    """
    values: Mapping[str, object] = (
        cast("Mapping[str, object]", safety) if isinstance(safety, Mapping) else {}
    )
    if set(values) != set(SEVERITIES):
        raise UserError(f"`safety` needs a number for each of {', '.join(SEVERITIES)}")
    factors: dict[Severity, float] = {}
    for severity in SEVERITIES:
        value = values[severity]
        if not (_is_number(value) and 0 <= value <= 1):
            raise UserError(describe_argument(f"safety: {severity}", value, "a number in [0, 1]"))
        factors[severity] = float(value)
    for lower, higher in pairwise(SEVERITIES):
        if factors[higher] > factors[lower]:
            raise UserError(
                f"`safety` rises from `{lower}` ({factors[lower]:g}) to `{higher}`"
                f" ({factors[higher]:g}); a higher severity may not pay more"
            )
    return factors


def _check_unscorable(value: object) -> None:
    if value not in ("raise", "none") and not (_is_number(value) and math.isfinite(value)):
        raise ValueError(
            describe_argument("unscorable", value, "`raise`, `none` or a finite number")
        )


def _is_number(value: object) -> TypeGuard[float]:
    # `Real` includes the floats of numpy.
    return not isinstance(value, bool) and isinstance(value, Real) and not math.isnan(value)


def _number(value: float | None) -> float:
    assert value is not None
    return value


def _to_tensor(values: list[float]) -> object:
    """Return a tensor, which OpenRLHF needs; a list if torch is not installed."""
    try:
        torch = import_module("torch")
    except ModuleNotFoundError:
        return values
    return torch.tensor(values)


def _named(function: FunctionT, name: str) -> FunctionT:
    function.__name__ = name
    return function
