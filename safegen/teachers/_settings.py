"""What an endpoint is told, checked before anything is sent."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, cast
from urllib.parse import urlsplit

from safegen.core.errors import ConfigError
from safegen.core.types import Sampling
from safegen.teachers._errors import Endpoint

StructuredSetting = Literal["auto", "json_schema", "json_object", "text"]
KEY_NAME = re.compile(r"[A-Z][A-Z0-9_]*_API_KEY")
MAX_KEY_NAME = 100
RESERVED_FIELDS = frozenset({"messages", "model", "stream", "n", "response_format"})
"""Fields of the body that safegen decides."""
NAMED_FIELDS = frozenset({"temperature", "top_p", "max_tokens", "max_completion_tokens", "seed"})
"""Fields of the body that are parameters by their own name."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What an endpoint was told, checked by `openai_chat`."""

    endpoint: Endpoint
    sampling: Sampling
    concurrency: int
    attempts: int
    timeout_s: float
    structured: StructuredSetting
    max_completion_tokens: int | None = None
    extra: Mapping[str, object] = field(default_factory=dict[str, object])

    def validate(self) -> Settings:
        """These settings.

        Raises:
            ValueError: a number out of its bounds.
        """
        bounds: list[tuple[str, float | None, float, float]] = [
            ("temperature", self.sampling.temperature, 0, 2),
            ("top_p", self.sampling.top_p, 1e-6, 1),
            ("max_tokens", self.sampling.max_tokens, 1, math.inf),
            ("max_completion_tokens", self.max_completion_tokens, 1, math.inf),
            ("concurrency", self.concurrency, 1, 10_000),
            ("attempts", self.attempts, 1, 100),
            ("timeout_s", self.timeout_s, 0.001, 86_400),
        ]
        for name, value, least, most in bounds:
            if value is not None and not least <= value <= most:
                raise ValueError(f"`{name}` is `{value}`; it must be from {least:g} to {most:g}")
        if self.sampling.max_tokens is not None and self.max_completion_tokens is not None:
            raise ValueError("`max_tokens` and `max_completion_tokens` are both set; keep one")
        return self

    def body_fields(self, sample: int) -> dict[str, object]:
        """The fields of a body beside the messages; those that are not set are left out."""
        sampling = self.sampling
        optional = {
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_tokens": sampling.max_tokens,
            "max_completion_tokens": self.max_completion_tokens,
            "seed": None if sampling.seed is None else sampling.seed + sample,
        }
        return {k: v for k, v in optional.items() if v is not None} | dict(self.extra)


def make_endpoint(base_url: str, model: str, api_key_env: str | None) -> Endpoint:
    """Who asks whom, with the key read from the environment.

    Raises:
        ValueError: an address, model or variable's name that cannot be.
        ConfigError: the variable is not set.
    """
    if not model.strip():
        raise ValueError("`model` is empty; give the name that the endpoint uses")
    return Endpoint(_check_url(base_url), model, api_key_env, _read_key(api_key_env))


def check_key_name(variable: object) -> None:
    """Refuse what is no variable's name; it is not repeated, since it may be a key.

    Raises:
        ValueError: it is none.
    """
    named = isinstance(variable, str) and KEY_NAME.fullmatch(variable)
    if not named or len(str(variable)) > MAX_KEY_NAME:
        raise ValueError(
            "`api_key_env` must name a variable that ends in `_API_KEY`, in capitals; the key itself"
            " stands in no file (what was given is not shown, it may be one)"
        )


def check_extra(extra: Mapping[str, object] | None) -> dict[str, object]:
    """Further fields of the body; a recipe's scalars are text, so `20`, `true` and the like are read as JSON.

    Raises:
        ValueError: a field that is safegen's or a parameter's, or what JSON cannot hold.
    """
    plain = {name: _parse_scalar(value) for name, value in (extra or {}).items()}
    for name in plain:
        if name in RESERVED_FIELDS:
            raise ValueError(f"`extra` may not hold `{name}`; safegen sets it")
        if name in NAMED_FIELDS:
            raise ValueError(f"`extra` may not hold `{name}`; set the parameter `{name}`")
    try:
        json.dumps(plain, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as e:
        raise ValueError(f"`extra` holds what JSON cannot ({e})") from e
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


def _check_url(base_url: str) -> str:
    parts = urlsplit(base_url)
    if parts.username is not None or parts.password is not None:
        raise ValueError("`base_url` holds user info; put the key into a variable, `api_key_env`")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"`base_url` is `{base_url}`; it must begin with http:// or https://")
    try:
        sane = parts.port != 0 and parts.hostname.isprintable() and " " not in parts.hostname
    except ValueError:
        sane = False
    if not sane:
        raise ValueError(f"`base_url` is `{base_url}`; its host or port cannot be")
    if parts.query or parts.fragment:
        raise ValueError("`base_url` holds a query or a fragment; end it with the path")
    return base_url.rstrip("/")


def _read_key(variable: str | None) -> str:
    if variable is None:
        return ""
    check_key_name(variable)
    key = os.environ.get(variable, "").strip()
    if not key:
        raise ConfigError(f"environment variable `{variable}` is not set; set it to the key")
    if not key.isascii() or not key.isprintable():
        raise ConfigError(f"environment variable `{variable}` holds what cannot be a key; set it")
    return key
