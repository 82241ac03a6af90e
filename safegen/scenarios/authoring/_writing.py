"""What is the same whatever an author writes: the request, once more for what failed, and what is read off the reply."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from safegen.core.errors import ParseError
from safegen.core.hashing import canonical_json
from safegen.core.templates import PromptTemplate
from safegen.core.types import Message, Reply, Request
from safegen.judges.labelling import DETAIL_OPTIONS, make_answer_schema, read_fields
from safegen.scenarios.authoring.rule_checks import Fault


def make_request(
    file: PromptTemplate,
    fields: Mapping[str, object],
    *,
    names: Sequence[str],
    wrote: Mapping[str, str] | None = None,
    faults: Sequence[Fault] = (),
    sample: int = 0,
    ask: int = 0,
) -> Request:
    """Ask an author for some texts; in a repair with what was written and what is wrong with it.

    Args:
        file: blocks `system`, `user` and `repair`.
        fields: what its blocks take, beside the details of a prompt, the faults, the names and the sample.
        names: the texts to write.
        wrote: the texts of the first attempt; None in that attempt.
        faults: what it had.
        sample: numbers independent answers; a block may tell it, so that equal briefs are two requests.
        ask: counts repeats of lost requests.
    """
    template_fields = {
        **fields,
        "details": DETAIL_OPTIONS,
        "faults": faults,
        "names": names,
        "sample": sample,
    }
    messages = [
        Message(role="system", content=file.render("system", **template_fields)),
        Message(role="user", content=file.render("user", **template_fields)),
    ]
    if wrote is not None:
        messages += [
            Message(role="assistant", content=canonical_json(wrote).decode()),
            Message(role="user", content=file.render("repair", **template_fields)),
        ]
    schema = make_answer_schema({name: {"type": "string"} for name in names})
    revision = int(wrote is not None)
    return Request(tuple(messages), sample=sample, ask=ask, revision=revision, schema=schema)


def read_texts(reply: Reply, names: Sequence[str]) -> dict[str, str]:
    """The texts of a reply by name.

    Raises:
        ParseError: one is not there.
    """
    fields = read_fields(reply.parsed)
    texts: dict[str, str] = {}
    for name in names:
        text = fields.get(name)
        if not isinstance(text, str):
            raise ParseError(f"the author left out `{name}`", key=reply.key)
        texts[name] = text.strip()
    return texts


def find_unsafe_keys(attempts: Iterable[tuple[Reply, Sequence[Fault]]]) -> tuple[str, ...]:
    """Journal keys of replies that held operational detail; their words must not be kept."""
    return tuple(
        reply.key
        for reply, faults in attempts
        if reply.key and any(f.gate == "operational_detail" for f in faults)
    )
