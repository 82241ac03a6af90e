"""The settings of an endpoint, checked before a request is sent."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, cast, get_args
from urllib.parse import SplitResult, parse_qsl, urlsplit

from safegen.core.types import Sampling
from safegen.teachers._bounded_body import MAX_REPLY_BYTES
from safegen.teachers._endpoint import CachedAddress, Endpoint
from safegen.teachers._request_options import (
    check_expanded,
    check_key_name,
    check_options,
    read_options,
    read_secret,
)

StructuredSetting = Literal["auto", "json_schema", "json_object", "text"]
ReasoningEffort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
RESERVED_FIELDS = frozenset({"messages", "model", "stream", "n", "response_format"})
"""Fields of the body that safegen sets."""
MAX_ANSWER_TOKENS = 2**31 - 1
"""Servers read the number as 32 bits."""
USER_INFO = re.compile(r"(?<=:)//[^/]*@|\A[^/]*@")
NAMED_FIELDS = frozenset({"temperature", "top_p", "max_tokens", "max_completion_tokens", "seed"})
"""Fields of the body that have a parameter of the same name."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of one endpoint; `validate` checks them."""

    endpoint: Endpoint
    sampling: Sampling
    concurrency: int
    attempts: int
    timeout_s: float
    structured: StructuredSetting
    max_completion_tokens: int | None = None
    extra: Mapping[str, object] = field(default_factory=dict[str, object])
    max_reply_bytes: int = MAX_REPLY_BYTES
    fold_system: bool = False
    reasoning_effort: ReasoningEffort | None = None

    def validate(self) -> Settings:
        """Check the bounds and return the settings.

        Raises:
            ValueError: a number is out of bounds.
        """
        bounds: list[tuple[str, float | None, float, float]] = [
            ("temperature", self.sampling.temperature, 0, 2),
            ("top_p", self.sampling.top_p, 1e-6, 1),
            ("max_tokens", self.sampling.max_tokens, 1, MAX_ANSWER_TOKENS),
            ("max_completion_tokens", self.max_completion_tokens, 1, MAX_ANSWER_TOKENS),
            ("concurrency", self.concurrency, 1, 10_000),
            ("attempts", self.attempts, 1, 100),
            ("max_reply_bytes", self.max_reply_bytes, 1_000, 2**31),
            ("timeout_s", self.timeout_s, 0.001, 86_400),
        ]
        for name, value, low, high in bounds:
            if value is not None and not low <= value <= high:
                raise ValueError(f"`{name}` is `{value}`; it must be from {low:,} to {high:,}")
        if self.sampling.max_tokens is not None and self.max_completion_tokens is not None:
            raise ValueError("`max_tokens` and `max_completion_tokens` are both set; keep one")
        if self.reasoning_effort is not None and "reasoning_effort" in self.extra:
            raise ValueError("`reasoning_effort` is also in `extra`; keep one")
        if self.reasoning_effort not in (None, *get_args(ReasoningEffort)):
            known = ", ".join(f"`{name}`" for name in get_args(ReasoningEffort))
            raise ValueError(
                f"`reasoning_effort` is `{self.reasoning_effort}`; it must be one of {known};"
                " another value can be set in `extra`"
            )
        return self

    def body_fields(self, sample: int) -> dict[str, object]:
        """Return the body's fields other than the messages; unset fields are left out."""
        sampling = self.sampling
        optional = {
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_tokens": sampling.max_tokens,
            "max_completion_tokens": self.max_completion_tokens,
            "reasoning_effort": self.reasoning_effort,
            "seed": None if sampling.seed is None else sampling.seed + sample,
        }
        return {k: v for k, v in optional.items() if v is not None} | dict(self.extra)


def make_endpoint(
    base_url: str,
    model: str,
    api_key_env: str | None,
    *,
    headers: Mapping[str, object] | None = None,
    query: Mapping[str, object] | None = None,
    cache_address: str | None = None,
) -> Endpoint:
    """Check address, model and options, and read the secrets from the environment.

    Raises:
        ValueError: the address, the model, an option or a variable's name is invalid.
        ConfigError: a variable is not set, or holds no key.
    """
    if not model.strip():
        raise ValueError("`model` is empty; give the name that the endpoint uses")
    check_expanded("`model`", model)
    address, fields = split_base_url(base_url)
    if api_key_env is not None:
        check_key_name(api_key_env)
    if twice := fields.keys() & (query or {}).keys():
        raise ValueError(f"`{min(twice)}` is in `query` and in `base_url`; keep one")
    options = read_options("headers", headers)
    if api_key_env is not None and any(o.name.lower() == "authorization" for o in options):
        raise ValueError("`api_key_env` and the header `Authorization` are both set; keep one")
    cached_as = None
    if cache_address is not None:
        cached_address, cached_fields = split_base_url(cache_address, parameter="cache_address")
        cached_query = read_options("query", {**cached_fields, **(query or {})})
        cached_as = CachedAddress(cached_address, cached_query)
    return Endpoint(
        address,
        model,
        api_key_env,
        read_secret(api_key_env) if api_key_env is not None else "",
        headers=options,
        query=read_options("query", {**fields, **(query or {})}),
        cached_as=cached_as,
    )


def check_endpoint_params(params: Mapping[str, object]) -> None:
    """Check everything that may hold a secret, without reading the environment.

    Raises:
        ValueError: a secret is in plain text, or an option is invalid.
    """
    if params.get("api_key_env") is not None:
        check_key_name(params["api_key_env"])
    check_options("headers", params.get("headers"))
    check_options("query", params.get("query"))
    for parameter in ("base_url", "cache_address"):
        if isinstance(address := params.get(parameter), str):
            split_base_url(address, parameter=parameter)


def check_extra(extra: Mapping[str, object] | None) -> dict[str, object]:
    """Return the further fields of the body, with texts such as `20` and `true` read as JSON.

    Raises:
        ValueError: safegen or a parameter sets the field, or JSON cannot hold the value.
    """
    # A recipe's scalars are text.
    plain = {name: _parse_scalar(value) for name, value in (extra or {}).items()}
    for name in plain:
        if name in RESERVED_FIELDS:
            raise ValueError(f"`extra` may not hold `{name}`; safegen sets it")
        if name in NAMED_FIELDS:
            raise ValueError(f"`extra` may not hold `{name}`; set the parameter `{name}`")
    try:
        json.dumps(plain, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as e:
        raise ValueError(f"`extra` holds a value that JSON cannot hold ({e})") from e
    return plain


def _parse_scalar(value: object) -> object:
    if isinstance(value, Mapping):
        return {k: _parse_scalar(v) for k, v in cast("Mapping[str, object]", value).items()}
    if isinstance(value, list | tuple):
        return [_parse_scalar(v) for v in cast("list[object]", value)]
    if not isinstance(value, str):
        return value
    try:
        read = json.loads(value)
    except (ValueError, RecursionError):
        return value
    return read if isinstance(read, bool | int | float) else value


class SplitAddress(NamedTuple):
    """An address and the fields of its query."""

    address: str
    query: dict[str, str]


def split_base_url(base_url: str, *, parameter: str = "base_url") -> SplitAddress:
    """Check an address and split its query off.

    Raises:
        ValueError: the address is invalid, or its query holds a secret.
    """
    # `urlsplit` drops line breaks, so they are checked first.
    if not base_url.isprintable() or " " in base_url:
        raise ValueError(f"`{parameter}` holds a blank or a control character; remove it")
    check_expanded(f"`{parameter}`", base_url)
    parts = _split_host(base_url, parameter)
    if parts.username is not None or parts.password is not None:
        raise ValueError(
            f"`{parameter}` holds user info (`user:password@`); name the key's variable in `api_key_env`"
        )
    if parts.fragment:
        raise ValueError(f"`{parameter}` holds a fragment; end it with the path or the query")
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise ValueError(f"`{parameter}` holds a query with one name twice; keep one")
    check_options("query", fields)
    address = base_url.partition("?")[0].rstrip("/")
    if address.endswith("/chat/completions"):
        raise ValueError(f"`{parameter}` must end before `/chat/completions`")
    return SplitAddress(address, fields)


def _split_host(base_url: str, parameter: str) -> SplitResult:
    # An address that is wrong may still hold a secret.
    shown = USER_INFO.sub("//", base_url.partition("?")[0])
    try:
        parts = urlsplit(base_url)
        host = parts.hostname or ""
        is_valid = parts.port != 0 and host.isprintable() and " " not in host
    except ValueError:
        is_valid, parts = False, None
    if parts is not None and parts.scheme not in ("http", "https"):
        raise ValueError(f"`{parameter}` is `{shown}`; it must begin with http:// or https://")
    if parts is None or not is_valid:
        raise ValueError(f"`{parameter}` is `{shown}`; its host or port is invalid")
    if not parts.hostname:
        raise ValueError(f"`{parameter}` is `{shown}`; it names no host")
    return parts
