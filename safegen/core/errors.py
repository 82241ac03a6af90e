"""What can go wrong, grouped by who has to act.

    SafegenError
      UserError     the caller fixes the input    exit 2, message only
        ConfigError        a file or an option says something that cannot be
        AssetNotFound      a name that no file carries
        RecipeMismatch     a run folder that another recipe began
        FormatMismatch     a run folder that another version of safegen writes and reads
      RunError      the run cannot go on          exit 1, message only
        TeacherRejected    the endpoint will not serve us: key, model, address
        BudgetSpent        the recipe's own limit is reached
        StoreDamaged       a journal, plan or shard that cannot be read
        DiskFailed         the disk is full, read-only or gone
        DatasetInvalid     a dataset that breaks one of its promises
      ItemError     one item is lost, recorded    the run goes on
        TeacherUnavailable  Truncated  ContentFiltered  Refused  Blocked  ParseError

Messages are lower case, name the value in backticks and say what is allowed or what to do.
Extra fields are keyword-only with defaults, so that every error survives pickling.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from safegen.core.types import ErrorCode, Outcome


class SafegenError(Exception):
    """Anything that safegen raises on purpose."""


class UserError(SafegenError):
    """The caller fixes the input."""

    def __init__(self, message: str, *, key: str = "") -> None:
        super().__init__(message)
        self.message = message
        """The text without the key."""
        self.key = key
        """Dotted key of the recipe that is wrong, if one is known: `plan.harms`."""

    def __str__(self) -> str:
        return f"{self.key}: {self.message}" if self.key else self.message


class ConfigError(UserError):
    """A file or an option says something that cannot be."""


class AssetNotFound(UserError):
    """No file carries the name."""


class RecipeMismatch(UserError):
    """The run folder was begun by another recipe."""


class FormatMismatch(UserError):
    """The run folder has a format that this version does not read."""


class RunError(SafegenError):
    """The run cannot go on; what was paid for is kept."""

    def __init__(self, message: str, *, kept: bool = False) -> None:
        super().__init__(message)
        self.message = message
        """The text without its last words."""
        self.kept = kept
        """Whether the message ends by saying that answers so far are kept."""

    def __str__(self) -> str:
        return f"{self.message}, answers so far are kept" if self.kept else self.message


class TeacherRejected(RunError):
    """The endpoint will not serve us: key, permission, model or address."""

    def __init__(self, message: str, *, status: int | None = None, kept: bool = False) -> None:
        super().__init__(message, kept=kept)
        self.status = status
        """What HTTP said, where it said something."""


class BudgetSpent(RunError):
    """The recipe's own limit is reached."""


class StoreDamaged(RunError):
    """A journal, plan or shard cannot be read."""


class DiskFailed(RunError):
    """The disk is full, read-only or gone."""


class DatasetInvalid(RunError):
    """A dataset breaks one of its promises."""


class ItemError(SafegenError):
    """One item is lost and recorded; the run goes on."""

    outcome: ClassVar[Outcome] = "unavailable"
    code: ClassVar[ErrorCode] = "ItemError"
    """What `failures/` records; a subclass of a user's teacher keeps that of its parent."""

    def __init__(self, message: str, *, key: str | None = None) -> None:
        super().__init__(message)
        self.key = key
        """The journalled request behind the loss, which `retry` asks anew."""


class TeacherUnavailable(ItemError):
    """No answer after all attempts; the same command asks again."""

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
    """The model used the API's refusal field, or sent nothing to keep."""

    outcome = "refused"
    code = "Refused"


class Blocked(ItemError):
    """The provider rejected the request itself (HTTP 400, content policy)."""

    outcome = "blocked"
    code = "Blocked"


class ParseError(ItemError):
    """The reply does not have the shape that was asked for, also after a repair turn."""

    outcome = "malformed"
    code = "ParseError"


def pick_error(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error that a task group stands for: ours if there is one, else the first."""
    leaves: list[BaseException] = []
    waiting: list[BaseException] = [group]
    while waiting:
        error = waiting.pop(0)
        if isinstance(error, BaseExceptionGroup):
            waiting.extend(error.exceptions)  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]
        else:
            leaves.append(error)
    return next((e for e in leaves if isinstance(e, SafegenError)), leaves[0])
