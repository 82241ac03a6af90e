"""Requests to an author, and the texts of its replies; shared by sets and dialogues."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from safegen.core.errors import ParseError
from safegen.core.hashing import canonical_json
from safegen.core.templates import PromptTemplate
from safegen.core.types import Message, Reply, Request
from safegen.judges.blind_labels import make_answer_schema, read_fields
from safegen.judges.label_definitions import LabelDefinitions
from safegen.scenarios.authoring.rule_checks import Fault


def make_request(
    file: PromptTemplate,
    fields: Mapping[str, object],
    *,
    names: Sequence[str],
    definitions: LabelDefinitions,
    texts: Mapping[str, str] | None = None,
    faults: Sequence[Fault] = (),
    sample: int = 0,
    ask: int = 0,
    revision: int = 0,
) -> Request:
    """Build a request for some texts; a repair quotes the earlier texts and their faults.

    Args:
        file: template with the blocks `system`, `user` and `repair`.
        fields: fields of the template in addition to `definitions`, `faults`, `names` and `sample`.
        names: the texts to write.
        definitions: the definitions of labels, the same that labellers get.
        texts: the texts so far, or None in the first attempt.
        faults: the faults of these texts.
        sample: index of independent answers; a block may show it, so that equal briefs differ.
        ask: number of earlier attempts of a lost request.
        revision: number of the repair, 0 in the first attempt.
    """
    template_fields = {
        **fields,
        "definitions": definitions,
        "faults": faults,
        "names": names,
        "sample": sample,
    }
    messages = [
        Message(role="system", content=file.render("system", **template_fields)),
        Message(role="user", content=file.render("user", **template_fields)),
    ]
    if texts is not None:
        messages += [
            Message(role="assistant", content=canonical_json(texts).decode()),
            Message(role="user", content=file.render("repair", **template_fields)),
        ]
    # A field for each text, so that a reply cannot mix or forget them.
    schema = make_answer_schema({name: {"type": "string"} for name in names})
    return Request(tuple(messages), sample=sample, ask=ask, revision=revision, schema=schema)


def read_texts(reply: Reply, names: Sequence[str]) -> dict[str, str]:
    """Read the texts of a reply by name.

    Raises:
        ParseError: a text is missing.
    """
    fields = read_fields(reply.parsed)
    texts: dict[str, str] = {}
    for name in names:
        text = fields.get(name)
        if not isinstance(text, str):
            raise ParseError(f"the author's reply lacks `{name}`", key=reply.key)
        texts[name] = text.strip()
    return texts


def find_unsafe_keys(attempts: Iterable[tuple[Reply, Sequence[Fault]]]) -> tuple[str, ...]:
    """List the journal keys of replies with operational detail; their text must be scrubbed."""
    return tuple(
        reply.key
        for reply, faults in attempts
        if reply.key and any(f.gate == "operational_detail" for f in faults)
    )
