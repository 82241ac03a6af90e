"""Headers and query parameters of every request to an endpoint; secret values stay in variables."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Literal, NamedTuple, cast

from safegen.core.errors import ConfigError

OptionKind = Literal["headers", "query"]
# A recipe is untrusted: the ending keeps it from sending other parts of the environment.
KEY_NAME = re.compile(r"[A-Z][A-Z0-9_]*_API_KEY")
VARIABLE_ENDINGS = ("_KEY", "_TOKEN", "_SECRET", "_PASSWORD", "_CREDENTIAL", "_CREDENTIALS")
"""Endings of the variables that `headers` and `query` may name."""
VARIABLE_NAME = re.compile(rf"[A-Z][A-Z0-9_]*(?:{'|'.join(VARIABLE_ENDINGS)})")
# A key that signs or decrypts is never sent, so its name in a recipe is a mistake or an attack.
UNSENT_KEY = re.compile(r"(?:.*_)?(?:SECRET_ACCESS|PRIVATE|SSH|GPG|SIGNING|ENCRYPTION)_KEY")
# Credentials of code hosts, registries and clouds are often set where recipes run, and no model
# endpoint needs them under these names.
UNSENT_SERVICE = re.compile(
    r"(?:ACTIONS|AWS|AZDO|BITBUCKET|BUILDKITE|CARGO|CI|CIRCLE|CODECOV|CONSUL|DATABASE|DB|DISCORD|DOCKER"
    r"|GCP|GH|GIT|GITHUB|GITLAB|HEROKU|JENKINS|KUBE|LDAP|MYSQL|NETLIFY|NODE_AUTH|NPM|PGP|PG|POSTGRES"
    r"|PYPI|REDIS|SENTRY|SLACK|SMTP|SONAR|SUDO|TELEGRAM|TRAVIS|TWINE|UV|VAULT|VERCEL)_.*"
)
# Forms of shells, of GitHub's workflows and of Windows
UNEXPANDED = re.compile(r"\$\{\{.*?\}\}|\$\{?[A-Za-z_]\w*\}?|\{env:[^{}]*\}|%[A-Z_]{3,}%")
MAX_KEY_NAME = 100
MAX_VALUE_CHARS = 8_000
HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
"""A token of RFC 9110, section 5.6.2."""
RESERVED_HEADERS = frozenset(
    "accept accept-encoding connection content-encoding content-length content-type expect host"
    " keep-alive proxy-authorization proxy-connection te trailer transfer-encoding upgrade".split()
)
"""Headers that the HTTP client sets."""
SECRET_ENDINGS = ("key", "token", "secret")
SECRET_WORDS = frozenset(
    "auth authorization bearer cookie credential credentials passwd password sig signature".split()
)


class Option(NamedTuple):
    """A header or a query parameter with its value."""

    name: str
    value: str
    is_secret: bool
    """True if the value is from the environment: it is never shown, and identifies no reply."""

    def __repr__(self) -> str:
        return f"Option({self.name!r})"


def check_key_name(variable: object, *, parameter: str = "api_key_env") -> None:
    """Check that a parameter names an environment variable.

    Raises:
        ValueError: it does not. The message omits the value, because it may be a key.
    """
    is_name = isinstance(variable, str) and KEY_NAME.fullmatch(variable)
    if not is_name or len(str(variable)) > MAX_KEY_NAME:
        raise ValueError(
            f"`{parameter}` must name an environment variable in capitals that ends in `_API_KEY`;"
            " put no key into a file (the value is not shown, because it may be a key)"
        )


def check_expanded(parameter: str, text: str) -> None:
    """Check that a text holds no variable of a shell, because a recipe replaces none.

    Raises:
        ValueError: it holds one.
    """
    if variable := UNEXPANDED.search(text):
        raise ValueError(
            f"{parameter} holds `{variable[0]}`, and a recipe replaces no variables; write the value,"
            " or name the variable of a secret with `{env: NAME_API_KEY}` in `headers` or `query`"
        )


def check_variable(variable: object, *, parameter: str) -> None:
    """Check that an option names an environment variable that holds a secret for an endpoint.

    Raises:
        ValueError: it does not. The message omits the value, because it may be a key.
    """
    is_name = isinstance(variable, str) and VARIABLE_NAME.fullmatch(variable)
    unsent = (UNSENT_KEY, UNSENT_SERVICE)
    if (
        not is_name
        or len(str(variable)) > MAX_KEY_NAME
        or any(pattern.fullmatch(str(variable)) for pattern in unsent)
    ):
        *endings, last = (f"`{ending}`" for ending in VARIABLE_ENDINGS)
        raise ValueError(
            f"`{parameter}` must name an environment variable in capitals that ends in"
            f" {', '.join(endings)} or {last}, and neither a key that signs or decrypts, such as"
            " `…_PRIVATE_KEY`, nor a credential of another service, such as `GITHUB_TOKEN`; put no key into a file (the value is not shown, because it may be a key)"
        )


def check_options(kind: OptionKind, values: object) -> None:
    """Check names and values without reading the environment.

    Raises:
        ValueError: a name or a value is invalid, reserved, or a secret in plain text.
    """
    if values is None:
        return
    is_mapping = isinstance(values, Mapping)
    if not is_mapping:
        raise ValueError(f"`{kind}` must map names to values, such as `{{X-Tenant: kitchen}}`")
    seen: set[str] = set()
    for name, value in cast("Mapping[object, object]", values).items():
        _check_name(kind, name)
        lowered = str(name).lower()
        if lowered in seen:
            raise ValueError(f"`{kind}` holds `{name}` twice; keep one")
        seen.add(lowered)
        _check_value(kind, str(name), value)


def read_options(kind: OptionKind, values: Mapping[str, object] | None) -> tuple[Option, ...]:
    """Check the options and read secret values from the environment, in the order of names.

    Raises:
        ValueError: a name or a value is invalid.
        ConfigError: a variable is not set, or holds no valid value.
    """
    check_options(kind, values)
    options = [_read_option(name, value) for name, value in (values or {}).items()]
    # The order of a YAML mapping must not change the limiter that equal options share.
    return tuple(sorted(options))


def split_unset_variables(
    params: Mapping[str, object],
) -> tuple[dict[str, object], tuple[str, ...]]:
    """Remove the secrets of a teacher whose environment variable is not set.

    Returns:
        The parameters without these secrets, and the names of the variables.
    """
    kept: dict[str, object] = {}
    unset: list[str] = []
    for name, value in params.items():
        if name == "api_key_env" and value and not os.environ.get(str(value)):
            unset.append(str(value))
        elif name in ("headers", "query") and isinstance(value, Mapping):
            options = cast("Mapping[str, object]", value)
            missing = {n: v for n, o in options.items() if (v := _unset_variable(o))}
            unset += missing.values()
            kept[name] = {n: o for n, o in options.items() if n not in missing}
        else:
            kept[name] = value
    return kept, tuple(unset)


def _unset_variable(option: object) -> str | None:
    if not isinstance(option, Mapping):
        return None
    variable = str(cast("Mapping[str, object]", option).get("env"))
    return None if os.environ.get(variable) else variable


def read_secret(variable: str) -> str:
    """Return the value of an environment variable.

    Raises:
        ConfigError: it is not set, or is no printable ASCII.
    """
    secret = os.environ.get(variable, "").strip()
    if not secret:
        raise ConfigError(f"environment variable `{variable}` is not set; set it to the key")
    if not secret.isascii() or not secret.isprintable():
        raise ConfigError(
            f"environment variable `{variable}` holds no valid key; set it to printable ASCII"
        )
    return secret


def is_secret_name(name: str) -> bool:
    """Check if the value of a header or query parameter with this name is a secret."""
    lowered = name.lower()
    return lowered.endswith(SECRET_ENDINGS) or not SECRET_WORDS.isdisjoint(
        re.split(r"[^a-z0-9]", lowered)
    )


def _check_name(kind: OptionKind, name: object) -> None:
    if kind == "query":
        if not isinstance(name, str) or not name or not name.isprintable():
            raise ValueError("`query` holds a name that is empty or not printable")
        return
    if not isinstance(name, str) or not HEADER_NAME.fullmatch(name):
        shown = str(name)[:40].encode("unicode_escape").decode()
        raise ValueError(f"`headers` holds an invalid name (`{shown}`)")
    if name.lower() in RESERVED_HEADERS:
        raise ValueError(f"`headers` may not hold `{name}`; the HTTP client sets it")


def _check_value(kind: OptionKind, name: str, value: object) -> None:
    if isinstance(value, Mapping):
        entries = cast("Mapping[object, object]", value)
        if set(entries) != {"env"}:
            raise ValueError(f"`{kind}`: `{name}` must be a text or `{{env: NAME_API_KEY}}`")
        check_variable(entries["env"], parameter=f"{kind}.{name}.env")
        return
    is_scalar = isinstance(value, str | int | float) and not isinstance(value, bool)
    if not is_scalar:
        raise ValueError(f"`{kind}`: `{name}` must be a text or `{{env: NAME_API_KEY}}`")
    if is_secret_name(name):
        raise ValueError(
            f"`{kind}`: the value of `{name}` may be a secret; name its environment variable:"
            f" `{name}: {{env: NAME_API_KEY}}` (the value is not shown)"
        )
    text = str(value)
    check_expanded(f"`{kind}`: the value of `{name}`", text)
    is_sendable = text.isprintable() and (text.isascii() or kind == "query")
    if not is_sendable or len(text) > MAX_VALUE_CHARS:
        raise ValueError(f"`{kind}`: the value of `{name}` must be printable ASCII")


def _read_option(name: str, value: object) -> Option:
    if isinstance(value, Mapping):
        variable = str(cast("Mapping[str, object]", value)["env"])
        return Option(name, read_secret(variable), is_secret=True)
    return Option(name, str(value).strip(), is_secret=False)
