"""The teacher for any endpoint with OpenAI's chat completions."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from safegen.core.finding import DoctorFinding
from safegen.core.types import Reply, Request, Sampling, TeacherTraits
from safegen.store.journal import Journal
from safegen.teachers import _settings
from safegen.teachers._bounded_body import MAX_REPLY_BYTES
from safegen.teachers._compose import ModelSource, compose
from safegen.teachers._endpoint import Endpoint
from safegen.teachers._meter import Meter
from safegen.teachers._rate_limit import RateLimiter, RateLimiters
from safegen.teachers._settings import ReasoningEffort, Settings, StructuredSetting
from safegen.teachers._structured_output import apply_format, choose_first_format
from safegen.teachers._transport import ChatTransport

# Strict servers reject a seed that the recipe did not set for them.
TRAITS = TeacherTraits(
    takes_seed=False,
    operational=frozenset(
        ["api_key_env", "attempts", "concurrency", "max_reply_bytes", "timeout_s"]
    ),
    identity_values={"cache_address": "base_url"},
    check_params=_settings.check_endpoint_params,
)


def openai_chat(
    *,
    base_url: str,
    model: str,
    api_key_env: str | None = None,
    temperature: float | None = None,
    top_p: float | None = None,
    max_tokens: int | None = None,
    max_completion_tokens: int | None = None,
    seed: int | None = None,
    reasoning_effort: ReasoningEffort | None = None,
    headers: Mapping[str, object] | None = None,
    query: Mapping[str, object] | None = None,
    extra: Mapping[str, object] | None = None,
    concurrency: int = 64,
    attempts: int = 6,
    timeout_s: float = 120,
    structured: StructuredSetting = "auto",
    max_reply_bytes: int = MAX_REPLY_BYTES,
    fold_system: bool = False,
    cache_address: str | None = None,
    guard: bool = False,
    journal: Journal | None = None,
    meter: Meter | None = None,
    limiters: RateLimiters | None = None,
) -> OpenAIChatTeacher:
    """Build a teacher from an OpenAI-compatible endpoint.

    Args:
        base_url: such as `https://api.example.org/v1`; http or https, without user info. An address
            of an Azure deployment, `…/openai/deployments/NAME`, gets the key in the header `api-key`
            and needs the query `api-version`.
        model: the endpoint's name of the model.
        api_key_env: environment variable with the key, ending in `_API_KEY`; None sends no key.
        temperature: 0 to 2; None uses the endpoint's default (also for the next four).
        top_p: above 0, at most 1.
        max_tokens: at least 1.
        max_completion_tokens: at least 1; OpenAI's reasoning models take it instead of `max_tokens`.
        seed: the body's `seed` is this plus the sample number, so that samples differ. The recipe's
            own seed is never sent, because strict servers reject the field.
        reasoning_effort: `none`, `minimal`, `low`, `medium`, `high`, `xhigh` or `max`, for models that
            think; None uses the endpoint's default.
        headers: further headers of every request. A value is a text, or `{"env": "NAME_API_KEY"}` for
            a secret in an environment variable. The cache key has names and texts, no secrets.
        query: query parameters of every request, with the same values as `headers`.
        extra: further fields of the body, such as `top_k`; part of the cache key.
        concurrency: requests in flight at most; 1 to 10 000.
        attempts: attempts per request, the first included; 1 to 100.
        timeout_s: seconds per attempt; at most 86 400.
        structured: reply format of requests for JSON; `auto` starts with the strictest and steps
            down if the endpoint rejects it.
        max_reply_bytes: decoded bytes of an answer at most; a longer one costs its item.
        fold_system: put the system turn into the first user turn, for models without that role.
        cache_address: address in the cache key in place of `base_url`. The former `base_url` after a
            host moved lets the run resume with its cached replies.
        guard: the model is a guard, which rates a conversation in a text format of its own; for
            `judges.panel`.
        journal: caches replies; None caches none.
        meter: counts and bounds requests and tokens; None bounds nothing.
        limiters: shared by teachers, so that `concurrency` bounds all teachers with one address, key,
            headers and query together; the smallest counts.

    Raises:
        ValueError: a value is out of bounds or invalid.
        ConfigError: the variable of a secret is not set.

    Example:
        >>> teacher = openai_chat(base_url="http://127.0.0.1:8000/v1", model="my-model")
    """
    settings = Settings(
        endpoint=_settings.make_endpoint(
            base_url,
            model,
            api_key_env,
            headers=headers,
            query=query,
            cache_address=cache_address,
        ),
        sampling=Sampling(temperature, top_p, max_tokens, seed),
        concurrency=concurrency,
        attempts=attempts,
        timeout_s=timeout_s,
        structured=structured,
        max_completion_tokens=max_completion_tokens,
        extra=_settings.check_extra(extra),
        max_reply_bytes=max_reply_bytes,
        fold_system=fold_system,
        reasoning_effort=reasoning_effort,
    ).validate()
    return OpenAIChatTeacher(settings, journal=journal, meter=meter, limiters=limiters, guard=guard)


class OpenAIChatTeacher:
    """A teacher over HTTP, inside all layers of `_compose`.

    It is bound to the event loop of its first call. Close it with `aclose`.
    """

    name = "openai_chat"

    def __init__(
        self,
        settings: Settings,
        *,
        journal: Journal | None = None,
        meter: Meter | None = None,
        limiters: RateLimiters | None = None,
        guard: bool = False,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.model = settings.endpoint.model
        self.concurrency = settings.concurrency
        self.guard = guard
        self._settings = settings
        limiter = _limiter(settings, limiters, sleep)
        self._transport = ChatTransport(settings, on_quota=limiter.record_quota)
        self._layers = compose(
            ModelSource(self._transport, self.request_key, self.model),
            limiter=limiter,
            attempts=settings.attempts,
            structured=settings.structured,
            journal=journal,
            meter=meter,
            formats=limiters.formats_for(*settings.endpoint.account, self.model)
            if limiters
            else None,
            sleep=sleep,
        )

    @property
    def endpoint(self) -> Endpoint:
        """Address, model and key."""
        return self._settings.endpoint

    def __repr__(self) -> str:
        return f"OpenAIChatTeacher({self._settings.endpoint.base_url!r}, {self.model!r})"

    async def __call__(self, request: Request, /) -> Reply:
        """Answer one request, from the journal if it holds the reply.

        Raises:
            ItemError: this request is lost.
            RunError: the endpoint or the budget stops the run, or the journal cannot be used.
        """
        return await self._layers(request)

    def request_key(self, request: Request) -> str:
        """Return the cache key, which is also `Reply.key`: the digest of address, body and sample.

        The body has the configured reply format, so that a step down to another format does not
        change the key.
        """
        return self._transport.key(
            apply_format(request, choose_first_format(self._settings.structured))
        )

    async def probe(self) -> list[DoctorFinding]:
        """Probe the endpoint with one GET and a few requests as `generate` sends them."""
        from safegen.teachers._health import probe

        return await probe(self._settings)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._transport.aclose()


def _limiter(
    settings: Settings, limiters: RateLimiters | None, sleep: Callable[[float], Awaitable[None]]
) -> RateLimiter:
    endpoint = settings.endpoint
    if limiters is None:
        return RateLimiter(settings.concurrency, sleep=sleep)
    return limiters.limiter_for(*endpoint.account, limit=settings.concurrency)
