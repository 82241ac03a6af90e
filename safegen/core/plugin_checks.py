"""Checks of what a user's plug-in raises and returns, with errors that name the plug-in and its file.

safegen cannot know which exceptions foreign code raises, so `PluginGuard` translates all of them.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import traceback
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, fields
from functools import cache, partial
from pathlib import Path
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, cast, get_type_hints

from safegen.core.arguments import (
    check_callable,
    check_count,
    check_flag,
    check_text,
    describe_argument,
)
from safegen.core.errors import ConfigError, RunError, SafegenError
from safegen.core.types import (
    UNSAFE_SEVERITIES,
    Draft,
    DraftContext,
    DraftValidator,
    Reply,
    Request,
    SetAnswer,
    SetValidator,
    Teacher,
    TeacherTraits,
    ValidatorTraits,
    Verdict,
)

if TYPE_CHECKING:
    from _typeshed import DataclassInstance
    from pydantic import BaseModel

logger = logging.getLogger(__name__)
# Foreign code chooses type names and messages; both have to fit in two lines of a terminal.
MAX_TYPE_CHARS = 60
MAX_MESSAGE_CHARS = 200
# An address, because the wheel has no docs.
GUIDE = "see https://github.com/safegen/safegen/blob/main/docs/howto/write-a-plugin.md"


@dataclass(frozen=True, slots=True)
class PluginSource:
    """A plug-in as messages name it."""

    name: str
    """`module:factory`, or the role of a caller's teacher."""
    file: str = ""
    """Its source file; empty if there is none."""

    def format_problem(self, problem: str, *, line: int | None = None) -> str:
        """Compose a message from the place, the name and the problem."""
        place = f"{self.file}:{line}" if line else self.file
        return (
            f"{place}: plug-in `{self.name}` {problem}"
            if place
            else f"plug-in `{self.name}` {problem}"
        )


def locate_plugin(name: str, code: object) -> PluginSource:
    """Find the source file of a module, a function or an object."""
    known = inspect.ismodule(code) or inspect.isroutine(code) or inspect.isclass(code)
    try:
        file = inspect.getsourcefile(code if known else type(code))  # pyright: ignore[reportArgumentType] (narrowed by `known`)
    except (TypeError, OSError):
        # Built-in and generated code has no file.
        file = None
    return PluginSource(name, file or "")


class PluginGuard:
    """A context that translates every exception of a plug-in, except those of safegen.

    Args:
        source: the plug-in.
        action: the activity for the message, such as `judged a draft`.
        error: the class to raise: `ConfigError` while it is loaded, `RunError` while it runs.
        allowed: further exceptions that the caller handles.
    """

    def __init__(
        self,
        source: PluginSource,
        action: str,
        *,
        error: type[ConfigError | RunError],
        allowed: tuple[type[BaseException], ...] = (),
    ) -> None:
        self._source, self._action, self._error = source, action, error
        self._allowed = (SafegenError, *allowed)

    def __enter__(self) -> None:
        return None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        raised: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # A plug-in that calls `sys.exit` would end the command without a message.
        if raised is None or isinstance(raised, self._allowed):
            return
        if not _is_interrupt(raised, self._source.file):
            logger.debug("traceback of plug-in `%s`:", self._source.name, exc_info=raised)
            place, line = _find_place(raised, self._source.file)
            source = PluginSource(self._source.name, place)
            problem = f"failed when it {self._action} ({describe_error(raised)})"
            raise self._error(
                f"{source.format_problem(problem, line=line)}; fix it and run the command again"
            ) from raised


def _is_interrupt(raised: BaseException, file: str) -> bool:
    """Return True if safegen or the user ends the work, and not the plug-in itself."""
    if isinstance(raised, asyncio.CancelledError):
        return _is_cancelled()
    if isinstance(raised, KeyboardInterrupt):
        # Ctrl-C is raised in the handler of the signal, below the plug-in's own frame.
        frames = traceback.extract_tb(raised.__traceback__)
        return not frames or frames[-1].filename != file
    return isinstance(raised, GeneratorExit)


def _is_cancelled() -> bool:
    # A cancelled future of a plug-in raises the same exception. A task group would take its task for
    # cancelled, and the run would end without the records of the shard.
    try:
        task = asyncio.current_task()
    except RuntimeError:  # no event loop
        return False
    return task is not None and task.cancelling() > 0


def _find_place(raised: BaseException, file: str) -> tuple[str, int | None]:
    """Return file and line of the plug-in's deepest frame."""
    if isinstance(raised, SyntaxError) and raised.filename:
        return raised.filename, raised.lineno
    frames = traceback.extract_tb(raised.__traceback__)
    # A module of a package has no known file before it is imported; its frames do.
    own = [f for f in frames if f.filename == file or (not file and not _is_foreign(f.filename))]
    return (own[-1].filename, own[-1].lineno) if own else (file, None)


def _is_foreign(file: str) -> bool:
    # `<frozen importlib._bootstrap>` and the like, and safegen itself.
    return file.startswith(("<", str(Path(__file__).parent.parent)))


def describe_error(raised: BaseException) -> str:
    """Describe an exception in one bounded line; its own `str` may fail."""
    if isinstance(raised, SyntaxError):
        text = f"{type(raised).__name__}: {raised.msg}"
    else:
        text = " ".join(traceback.format_exception_only(raised))
    return escape_line(text, MAX_MESSAGE_CHARS)


def describe_type(value: object) -> str:
    """Name the type of a value in one bounded line."""
    return "None" if value is None else escape_line(type(value).__qualname__, MAX_TYPE_CHARS)


def escape_line(text: str, most: int = MAX_TYPE_CHARS) -> str:
    """Make one bounded line without control characters."""
    line = " ".join(text.split())
    # Foreign text could otherwise move the cursor of a terminal.
    line = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line[: most + 1])
    return line if len(line) <= most else f"{line[:most]}…"


def reject_value(
    source: PluginSource,
    value: object,
    expected: str,
    *,
    error: type[ConfigError | RunError],
    subject: str = "returned",
) -> NoReturn:
    """Report a value of a wrong type.

    Raises:
        ConfigError: the plug-in was loaded.
        RunError: the plug-in ran.
    """
    if inspect.iscoroutine(value):
        value.close()  # otherwise Python warns that it was never awaited
    problem = f"{subject} `{describe_type(value)}`, not {expected}"
    raise error(f"{source.format_problem(problem)}; {GUIDE}")


def check_fields(
    source: PluginSource, value: DataclassInstance, *, error: type[ConfigError | RunError]
) -> None:
    """Check the types of the fields of a dataclass.

    Raises:
        ConfigError: a field is wrong, and the plug-in was loaded.
        RunError: a field is wrong, and the plug-in ran.
    """
    from pydantic import ValidationError

    names = [field.name for field in fields(value)]
    try:
        _field_model(type(value)).model_validate({name: getattr(value, name) for name in names})
    except ValidationError as e:
        problem = e.errors(include_url=False, include_input=False)[0]
        name = str(problem["loc"][0])
        wrong = f"`{describe_type(getattr(value, name))}`"
        message = f"{problem['msg'][:1].lower()}{problem['msg'][1:]}"
        kind = type(value).__name__
        text = f"made a `{kind}` whose `{name}` is wrong ({wrong}: {escape_line(message, MAX_MESSAGE_CHARS)})"
        raise error(f"{source.format_problem(text)}; {GUIDE}") from e
    for name in names:
        if problem := _find_unstorable(getattr(value, name)):
            text = f"made a `{type(value).__name__}` whose `{name}` {problem}"
            raise error(f"{source.format_problem(text)}; {GUIDE}")


def _find_unstorable(value: object) -> str | None:
    """Describe a value that has the right type and that no file can hold."""
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            return "holds half of a surrogate pair, which UTF-8 cannot encode"
    # All counts of replies and verdicts are numbers from 0.
    if isinstance(value, int) and not isinstance(value, bool) and value < 0:
        return "is negative"
    return None


# Each reply and verdict is checked; building a model takes far longer than using it.
@cache
def _field_model(kind: type[object]) -> type[BaseModel]:
    from pydantic import ConfigDict, create_model

    # Strict, because a converted value would differ from the one that is stored.
    config = ConfigDict(strict=True, allow_inf_nan=False, protected_namespaces=())
    definitions: dict[str, Any] = {n: (hint, ...) for n, hint in get_type_hints(kind).items()}
    return create_model(kind.__name__, __config__=config, **definitions)


async def await_result(source: PluginSource, result: object, expected: str) -> object:
    """Await the result of a plug-in's call; the caller guards the exceptions.

    Raises:
        RunError: the plug-in is no async function.
    """
    if not isinstance(result, Awaitable):
        reject_value(source, result, f"{expected}: write it as `async def`", error=RunError)
    return await result  # pyright: ignore[reportUnknownVariableType] (checked by the caller)


_MISSING = object()


def check_attributes(teacher: object, source: PluginSource) -> None:
    """Check a user's teacher and the attributes by which it describes itself; all are optional.

    Raises:
        ConfigError: it cannot be called, or one has a wrong type or value.
    """
    if not callable(teacher):
        reject_value(
            source, teacher, "an async function from `Request` to `Reply`", error=ConfigError
        )
    for name, check in _CHECKS.items():
        with PluginGuard(source, "was inspected", error=ConfigError):
            value = getattr(teacher, name, _MISSING)
        if value is _MISSING:
            continue
        try:
            check(name, value)
        except (TypeError, ValueError) as e:
            problem = f"has a wrong attribute: {e}"
            raise ConfigError(f"{source.format_problem(problem)}; {GUIDE}") from e


def _check_traits(name: str, value: object) -> None:
    if value is not None and not isinstance(value, TeacherTraits):
        raise TypeError(describe_argument(name, value, "a `TeacherTraits` or None"))


_CHECKS: dict[str, Callable[[str, object], None]] = {
    "identity": partial(check_text, optional=True),
    "model": check_text,
    "concurrency": check_count,
    "attempts": check_count,
    "traits": _check_traits,
    "guard": check_flag,
    "aclose": partial(check_callable, optional=True),
}


class CheckedTeacher:
    """A user's teacher whose errors and replies are checked; its other attributes stay readable.

    Raises:
        ConfigError: it cannot be called, or an attribute has a wrong type or value.
    """

    def __init__(
        self,
        teacher: Teacher,
        source: PluginSource,
        *,
        retried: bool = False,
    ) -> None:
        """Check the attributes; `retried` lets `ConnectionError` and `TimeoutError` pass to the retry layer."""
        check_attributes(teacher, source)
        self._teacher, self._source = teacher, source
        allowed = (ConnectionError, TimeoutError) if retried else ()
        self._guard = PluginGuard(source, "answered a request", error=RunError, allowed=allowed)

    def __getattr__(self, name: str) -> object:
        """Return another attribute of the teacher, such as its `model`."""
        # A copy asks for private names before `_teacher` is set.
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._teacher, name)

    async def aclose(self) -> None:
        """Close the teacher, if it has `aclose`.

        Raises:
            RunError: it failed.
        """
        with PluginGuard(self._source, "was closed", error=RunError):
            closing = getattr(self._teacher, "aclose", None)
            if closing is not None:
                await await_result(self._source, closing(), "an awaitable")

    async def __call__(self, request: Request, /) -> Reply:
        """Answer one request.

        Raises:
            RunError: the teacher failed, or its reply is no `Reply`.
        """
        with self._guard:
            reply = await await_result(self._source, self._teacher(request), "an awaitable `Reply`")
        if not isinstance(reply, Reply):
            reject_value(self._source, reply, "a `Reply`", error=RunError)
        check_fields(self._source, reply, error=RunError)
        return reply


def guard_validator(validator: object, source: PluginSource) -> DraftValidator:
    """Wrap a user's validator: its errors and verdicts are checked.

    Raises:
        ConfigError: it cannot be called.
    """
    if not callable(validator):
        reject_value(
            source,
            validator,
            "an async function from `Draft` and `DraftContext` to `Verdict`",
            error=ConfigError,
        )
    name = source.name.rpartition(":")[2]
    guard = PluginGuard(source, "judged a draft", error=RunError)

    async def check(draft: Draft, context: DraftContext, /) -> Verdict:
        with guard:
            result = validator(draft, context)
            verdict = await await_result(source, result, "an awaitable `Verdict`")
        return _check_verdict(source, verdict, name)

    return check


def guard_set_validator(validator: object, source: PluginSource) -> SetValidator:
    """Wrap a user's validator of sets: its errors and verdicts are checked.

    Raises:
        ConfigError: it cannot be called.
    """
    if not callable(validator):
        expected = "an async function from a list of `SetAnswer` to a list of `Verdict`"
        reject_value(source, validator, expected, error=ConfigError)
    name = source.name.rpartition(":")[2]
    guard = PluginGuard(source, "judged a set", error=RunError)

    async def check(answers: Sequence[SetAnswer], /) -> Sequence[Verdict]:
        with guard:
            result = await await_result(source, validator(answers), "an awaitable list")
        if not isinstance(result, list | tuple):
            reject_value(source, result, "a list of `Verdict`", error=RunError)
        verdicts = cast("Sequence[object]", result)
        if len(verdicts) != len(answers):
            text = f"returned {len(verdicts)} verdicts for {len(answers)} answers"
            raise RunError(f"{source.format_problem(text)}; {GUIDE}")
        return [_check_set_verdict(source, verdict, name) for verdict in verdicts]

    return check


def _check_set_verdict(source: PluginSource, value: object, name: str) -> Verdict:
    verdict = _check_verdict(source, value, name)
    # The replies behind the other drafts of the set may be scrubbed only while these are drafted.
    if verdict.severity in UNSAFE_SEVERITIES:
        text = f"rated a draft of a set `{verdict.severity}`; let a validator of drafts rate it"
        raise RunError(f"{source.format_problem(text)}; {GUIDE}")
    return verdict


def _check_verdict(source: PluginSource, value: object, name: str) -> Verdict:
    if not isinstance(value, Verdict):
        reject_value(source, value, "a `Verdict`", error=RunError)
    check_fields(source, value, error=RunError)
    # `require` finds a verdict by this name, so another one would accept every draft.
    if value.validator != name:
        text = (
            f"made a `Verdict` of `{escape_line(value.validator, MAX_TYPE_CHARS)}`, not of `{name}`"
        )
        raise RunError(f"{source.format_problem(text)}; {GUIDE}")
    return value


def check_traits(module: ModuleType, name: str, kinds: tuple[type, ...]) -> None:
    """Check `TRAITS` of a user's module, if it has any.

    Raises:
        ConfigError: they are not of one of these types, or a field is wrong.
    """
    traits = getattr(module, "TRAITS", None)
    if traits is None:
        return
    source = locate_plugin(name, module)
    if not isinstance(traits, kinds):
        expected = " or ".join(f"`{kind.__name__}`" for kind in kinds)
        reject_value(source, traits, expected, error=ConfigError, subject="has `TRAITS` of type")
    check_fields(source, cast(TeacherTraits | ValidatorTraits[str], traits), error=ConfigError)
