"""The outermost layer: raises the error of a reply that is no answer."""

from __future__ import annotations

from safegen.core.arguments import check_callable
from safegen.core.errors import ItemError
from safegen.core.types import Reply, Request, Teacher
from safegen.teachers._errors import error_for_reply, hide_prompt
from safegen.teachers._structured_output import attach_object


class ItemErrorTeacher:
    """A teacher that raises `ItemError` for a reply whose outcome is not `ok`.

    Stored replies hold text only, so the object of a request with a schema is parsed here.
    """

    def __init__(self, teacher: Teacher) -> None:
        check_callable("teacher", teacher)
        self._teacher = teacher

    async def __call__(self, request: Request, /) -> Reply:
        """Answer one request.

        Raises:
            ItemError: this request is lost; `key` names its stored reply.
        """
        try:
            reply = attach_object(await self._teacher(request), request)
            error = error_for_reply(reply)
            if error is not None:
                error.key, error.withheld = reply.key, reply.withheld
                error.measure = reply.measure
                raise error
        except ItemError as e:
            e.shown = hide_prompt(str(e), request)
            raise
        return reply
