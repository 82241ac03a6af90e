"""Exceptions, grouped by who has to act.

    SafegenError
      UserError     the caller fixes the input    exit 2, message only
        ConfigError        a file or an option has an invalid value
        AssetNotFound      no file has the name
        RecipeMismatch     the run folder was started with another recipe
        FormatMismatch     the run folder has the format of another version of safegen
      RunError      the run cannot continue       exit 1, message only
        TeacherRejected    the endpoint rejects every request: key, model, address
        BudgetSpent        the recipe's budget is spent
        StoreDamaged       a journal, plan or shard cannot be read
        DiskFailed         the disk is full, read-only or gone
        DatasetInvalid     a dataset breaks an invariant
        Unscorable         a response has no reward
      ItemError     one item is lost, recorded    the run continues
        TeacherUnavailable  Truncated  ContentFiltered  Refused  EmptyAnswer
        Blocked  ParseError

Messages are lower case, name the value in backticks and say what is allowed or what to do.
Extra fields are keyword-only with defaults, so that every error survives pickling.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from safegen.core.types import ErrorCode, Outcome


RERUN_HINT = "run the same command again"
"""The remedy after a stop: the same command uses cached replies and continues."""


class SafegenError(Exception):
    """The base of all exceptions that safegen raises on purpose."""


class UserError(SafegenError):
    """An input is wrong, and the caller can fix it."""

    def __init__(self, message: str, *, key: str = "") -> None:
        super().__init__(message)
        self.message = message
        """The text without the key."""
        self.key = key
        """Dotted key of the recipe that is wrong, if one is known: `plan.harms`."""

    def __str__(self) -> str:
        return f"{self.key}: {self.message}" if self.key else self.message


class ConfigError(UserError):
    """A file or an option has an invalid value."""


class AssetNotFound(UserError):
    """No file has the name."""


class RecipeMismatch(UserError):
    """The run folder was started with another recipe."""


class FormatMismatch(UserError):
    """The run folder has a format that this version does not read."""


class RunError(SafegenError):
    """The run cannot continue; cached replies are kept."""

    def __init__(self, message: str, *, kept: bool = False) -> None:
        super().__init__(message)
        self.message = message
        """The text without the note that answers are kept."""
        self.kept = kept
        """True if the message ends with a note that answers so far are kept."""

    def __str__(self) -> str:
        return f"{self.message}, answers so far are kept" if self.kept else self.message


class TeacherRejected(RunError):
    """The endpoint rejects every request: key, permission, model or address."""

    def __init__(
        self, message: str, *, status: int | None = None, kept: bool = False, hint: str = ""
    ) -> None:
        super().__init__(f"{message}; {hint}" if hint else message, kept=kept)
        self.status = status
        """The HTTP status, if there was a response."""
        self.problem = message
        """The message without the hint."""
        self.hint = hint
        """The remedy, or the empty string."""


class BudgetSpent(RunError):
    """The recipe's budget is spent."""


class StoreDamaged(RunError):
    """A journal, plan or shard cannot be read."""


class DiskFailed(RunError):
    """The disk is full, read-only or gone."""


class DatasetInvalid(RunError):
    """A dataset breaks an invariant."""


class Unscorable(RunError):
    """A response has no reward, and `unscorable` is `raise`."""


class ItemError(SafegenError):
    """One item is lost and recorded; the run continues."""

    outcome: ClassVar[Outcome] = "unavailable"
    code: ClassVar[ErrorCode] = "ItemError"
    """The code in `failures/`. An error class of a user's teacher inherits the code of its parent."""

    def __init__(self, message: str, *, key: str | None = None, shown: str | None = None) -> None:
        super().__init__(message)
        self.key = key
        """Cache key of the failed request, which `retry` repeats."""
        self.shown = shown
        """The message without words of the prompt; None if no layer compared them."""
        self.withheld = False
        """True if the stored reply has no text any more, because unsafe text was deleted."""
        self.measure: str | None = None
        """JSON that the stored reply keeps of a deleted text, see `Reply.measure`."""
        self.text: str | None = None
        """Text of a reply that is no usable answer; no file and no screen holds it."""


class TeacherUnavailable(ItemError):
    """No answer after all attempts; the same command repeats the request."""

    outcome = "unavailable"
    code = "TeacherUnavailable"


class Truncated(ItemError):
    """The answer was cut at the token limit."""

    outcome = "truncated"
    code = "Truncated"


class ContentFiltered(ItemError):
    """The provider withheld the answer (finish reason `content_filter`)."""

    outcome = "filtered"
    code = "ContentFiltered"


class Refused(ItemError):
    """The model used the API's refusal field or finish reason."""

    outcome = "refused"
    code = "Refused"


class EmptyAnswer(ItemError):
    """The model sent no text, or only reasoning."""

    outcome = "empty"
    code = "EmptyAnswer"


class Blocked(ItemError):
    """The provider rejected the request itself (HTTP 400, content policy)."""

    outcome = "blocked"
    code = "Blocked"


class ParseError(ItemError):
    """The reply does not match the requested schema, even after a repair turn."""

    outcome = "malformed"
    code = "ParseError"


def pick_error(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Pick the error of a task group to report: the first of safegen, else the first of all."""
    leaves: list[BaseException] = []
    waiting: list[BaseException] = [group]
    while waiting:
        error = waiting.pop(0)
        if isinstance(error, BaseExceptionGroup):
            waiting.extend(error.exceptions)  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]
        else:
            leaves.append(error)
    # The other tasks of the group mostly fail because the first one did.
    return next((e for e in leaves if isinstance(e, SafegenError)), leaves[0])


def first_line(error: Exception) -> str:
    """Return the first line of an error's text; the rest is detail of a library."""
    return next(iter(str(error).splitlines()), "")
