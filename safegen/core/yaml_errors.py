"""Mistakes in YAML files: their positions, and messages in the terms of the file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple, get_args

from pydantic import BaseModel

from safegen.core.errors import ConfigError
from safegen.core.suggestions import suggest_names

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

KeyPath = tuple[str | int, ...]
NO_BREAK_SPACE = "\u00a0"
SPACE_HINT = "write a plain space"


class SourceMark(NamedTuple):
    """A place in a file, both from 1."""

    line: int
    column: int


class PlacedProblem(NamedTuple):
    """A mistake in a file; without a position if the parser gives none."""

    shown: str
    """The name of the file in messages."""
    mark: SourceMark | None
    message: str

    def __str__(self) -> str:
        at = f"{self.mark.line}:{self.mark.column}: " if self.mark else ""
        return f"{self.shown}:{at}{self.message}" if at else f"{self.shown}: {self.message}"


class PlacedError(ConfigError):
    """Mistakes in a file, one line each."""

    def __init__(
        self, message: str, *, key: str = "", problems: Sequence[PlacedProblem] = ()
    ) -> None:
        super().__init__(message, key=key)
        self.problems = tuple(problems)

    @classmethod
    def of(cls, *problems: PlacedProblem) -> PlacedError:
        """Make one error of several mistakes; equal ones are listed once."""
        unique = dict.fromkeys(problems)
        return cls("\n".join(map(str, unique)), problems=tuple(unique))


class KeyProblem(ValueError):
    """A mistake in a combination of keys; `loc` is the key at which it is reported."""

    def __init__(self, message: str, *, loc: KeyPath = ()) -> None:
        super().__init__(message)
        self.loc = loc


def root_causes(errors: Sequence[ErrorDetails]) -> list[ErrorDetails]:
    """Drop errors that follow from a nested one: a list is too short because an item did not validate."""
    above = {err["loc"][:depth] for err in errors for depth in range(len(err["loc"]))}
    return [err for err in errors if err["type"] != "too_short" or err["loc"] not in above]


class YamlCause(NamedTuple):
    """A character that is the reason why a text is not YAML."""

    mark: SourceMark
    problem: str


def find_yaml_cause(text: str, marks: Sequence[SourceMark]) -> YamlCause | None:
    """Find a common reason for a syntax error in the lines of its marks; None if there is none.

    The parser names none of these characters.
    """
    lines = text.split("\n")
    for mark in dict.fromkeys(marks):
        line = lines[mark.line - 1] if mark.line <= len(lines) else ""
        rest = line[mark.column - 1 :]
        if rest.startswith("*"):
            problem = 'an unquoted `*` begins an alias; put it in quotes: `"*"`'
            return YamlCause(mark, problem)
        indent = line[: len(line) - len(line.lstrip(f" \t{NO_BREAK_SPACE}"))]
        if "\t" in indent or rest.startswith("\t"):
            at = indent.find("\t") + 1 or mark.column
            return YamlCause(SourceMark(mark.line, at), "a tab; indent with spaces")
    for mark in dict.fromkeys(marks):
        line = lines[mark.line - 1] if mark.line <= len(lines) else ""
        if NO_BREAK_SPACE in line:
            at = SourceMark(mark.line, line.index(NO_BREAK_SPACE) + 1)
            return YamlCause(at, f"a no-break space (U+00A0); {SPACE_HINT}")
        if escape := _find_escape(line, mark.column):
            return escape._replace(mark=SourceMark(mark.line, escape.mark.column))
    return None


def _find_escape(line: str, column: int) -> YamlCause | None:
    # The mark of an escape is after the backslash, up to eight digits; that of an open quote is before.
    before = range(column - 1, max(column - 12, -1), -1)
    last = len(line.rstrip()) - 2
    for at in (*before, *([last] if line.rstrip().endswith('\\"') else [])):
        if 0 <= at < len(line) - 1 and line[at] == "\\" and '"' in line[:at]:
            escape = line[at : at + 2]
            problem = f"a backslash in double quotes begins an escape, as `{escape}` does"
            hint = f"use single quotes, or write `\\{escape}`"
            return YamlCause(SourceMark(0, at + 1), f"{problem}; {hint}")
    return None


def describe_error(err: ErrorDetails, model: type[BaseModel]) -> str:
    """Describe an error of pydantic by the key and value of the file."""
    key_path = ".".join(str(part) for part in err["loc"])
    kind, value = err["type"], err["input"]
    if kind == "extra_forbidden":
        key = str(err["loc"][-1])
        if NO_BREAK_SPACE in key:
            return f"`{clip(key_path)}` has a no-break space (U+00A0); {SPACE_HINT}"
        return f"`{clip(key_path)}` is not a known key{suggest_names(key, list_keys(model, err['loc'][:-1]))}"
    if kind == "missing":
        return f"`{key_path}` is missing; add it"
    message = message_of(err)
    message = _describe_in_yaml_terms(err) or message[:1].lower() + message[1:]
    if isinstance(value, str | int | float | bool) or value is None:
        shown = "nothing" if value is None else f"`{clip(str(value))}`"
        return f"`{key_path}` is {shown}: {message}{_suggest_key(err)}"
    return f"`{key_path}`: {message}" if key_path else message


def message_of(err: ErrorDetails) -> str:
    """Return the message of a validator's own error, else pydantic's."""
    error = err.get("ctx", {}).get("error")
    return str(error) if isinstance(error, ValueError | AssertionError) else err["msg"]


def _describe_in_yaml_terms(err: ErrorDetails) -> str | None:
    # pydantic names Python types; the user writes YAML.
    kind, context = err["type"], err.get("ctx", {})
    if kind in ("tuple_type", "list_type"):
        return "must be a list, such as [one, another]"
    if kind in ("model_type", "dict_type", "model_attributes_type"):
        return "must be a mapping of keys and values"
    unit = "characters" if isinstance(err["input"], str) else "items"
    if kind == "too_short":
        return f"must have {context['min_length']} or more {unit}"
    if kind == "too_long":
        return f"must have {context['max_length']} {unit} or fewer"
    return None


def _suggest_key(err: ErrorDetails) -> str:
    if err["type"] != "literal_error":
        return ""
    # pydantic gives the allowed values only as a sentence: `'a', 'b' or 'c'`.
    expected = str(err.get("ctx", {}).get("expected", ""))
    return suggest_names(
        str(err["input"]), expected.replace("'", "").replace(" or ", ", ").split(", "), listed=False
    )


def list_keys(model: type[BaseModel], loc: Sequence[str | int]) -> list[str]:
    """List the keys that a model has at a position, also in nested models."""
    current: type[BaseModel] | None = model
    for part in loc:
        if isinstance(part, int) or current is None:
            continue
        names = {f.alias or n: f for n, f in current.model_fields.items()}
        current = next(_nested_models(names[part].annotation), None) if part in names else current
    return [f.alias or n for n, f in current.model_fields.items()] if current else []


def _nested_models(annotation: object) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for arg in get_args(annotation):
        yield from _nested_models(arg)


def describe_keys(model: type[BaseModel]) -> str:
    """List the required keys of a model, or its first ones, for a message."""
    required = [f.alias or n for n, f in model.model_fields.items() if f.is_required()]
    return ", ".join(f"`{key}`" for key in required[:4] or list_keys(model, ())[:4])


def clip(text: str, width: int = 80) -> str:
    """Shorten a value of a user's file to one line without control characters, for a message."""
    clean = "".join(c if c.isprintable() else "�" for c in text)
    return clean if len(clean) <= width else clean[: width - 1] + "…"
