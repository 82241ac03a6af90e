"""Checks that a response has the required elements that words or the form classifier can show."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Literal, get_args

from safegen.config.language_pack import Locale, fold_case
from safegen.core.types import Draft, DraftContext, DraftValidator, ValidatorTraits, Verdict
from safegen.validators import _text
from safegen.validators._form_model import FormModel, find_reader, load_form_model

NAME = "required_elements"
Code = Literal[
    "none_required",
    "elements_named",
    "lacks_elements",
    "elements_unsure",
    _text.Unread,
]
Presence = Literal["named", "missing", "unsure"]
FORM_ELEMENTS = ("limit", "redirection", "safe_task")
"""Elements that the form classifier of the language reads."""
TRAITS: ValidatorTraits[Code] = ValidatorTraits(
    get_args(Code),
    labels=("required",),
    teachable=("lacks_elements",),
    # `safe_task` is read only if there is a classifier, so it is not promised.
    reads=lambda _, elements: [
        "limit",
        "redirection",
        *(name for name, decides in elements.items() if decides),
    ],
    passes_by_score=True,
)


def required_elements(
    *, locales: Mapping[str, Locale], classify: bool = True, phrasers: Collection[str] = ()
) -> DraftValidator:
    """Check that a response names each required element, in any mode.

    It reads the elements that have patterns under `elements` in the language pack, such as `crisis`
    (a crisis contact) and `trusted_adult`. An element that does not decide in the pack, such as
    `support`, fails no response; the reason lists it if it is missing. With `classify`, the classifier
    of `response_form` reads `limit`, `redirection` and `safe_task`, the first two by patterns, too; if
    it is not sure of one, and no other is missing, the verdict is null. Other elements are ignored. Drafts of
    `phrasers` are read by the pack alone. Form only: the words must occur, not fit. The score is the
    share of deciding elements that occur.
    """

    async def check(draft: Draft, context: DraftContext) -> Verdict:
        response_or_verdict = _text.require_response(
            NAME, draft.response, locales, context.scenario.language
        )
        if isinstance(response_or_verdict, Verdict):
            return response_or_verdict
        response, locale = response_or_verdict
        required = context.expectation.required
        is_read = classify and draft.teacher not in phrasers
        model = load_form_model(context.scenario.language) if is_read else None
        presences = await read_form_elements(model, required, response, context) if model else {}
        presences |= {name: "named" for name in presences if _has_words(response, locale, name)}
        worded = [name for name in required if name in locale.elements]
        if not worded and not presences:
            return _text.make_verdict(
                NAME,
                TRAITS,
                passed=True,
                code="none_required",
                reason="this validator checks none of the required elements",
            )
        evidence_by_element = {name: find_element(response, locale, name) for name in worded}
        absent = [name for name in worded if not evidence_by_element[name]]
        deciding = [name for name in worded if locale.elements[name].decides]
        missing = [
            *(name for name in absent if name in deciding),
            *(name for name, presence in presences.items() if presence == "missing"),
        ]
        unsure = [name for name, presence in presences.items() if presence == "unsure"]
        if unsure and not missing:
            reason = f"not sure of {_format_names(unsure)}"
            return _text.unscored(NAME, code="elements_unsure", reason=reason)
        unseen = [name for name in absent if name not in deciding]
        reason = f"lacks {_format_names(missing)}" if missing else "names what is required"
        count = len(deciding) + len(presences)
        return _text.make_verdict(
            NAME,
            TRAITS,
            passed=not missing,
            code="lacks_elements" if missing else "elements_named",
            reason=reason + (f"; no words of {_format_names(unseen)} seen" if unseen else ""),
            evidence="; ".join(words for words in evidence_by_element.values() if words),
            score=round(1 - len(missing) / count, 4) if count else 1.0,
        )

    return check


# The patterns of the language pack know common wordings that are rare in the classifier's bank.
def _has_words(response: str, locale: Locale, element: str) -> bool:
    names = {"limit": ("limit", "decline"), "redirection": ("redirection",)}.get(element, ())
    answer = _text.own_words(response)
    return any(_text.find_pattern(locale, name, answer) for name in names)


async def read_form_elements(
    model: FormModel, required: Collection[str], response: str, context: DraftContext
) -> dict[str, Presence]:
    """Read the required elements among `FORM_ELEMENTS` by the classifier's two thresholds of each."""
    names = [name for name in FORM_ELEMENTS if name in required]
    if not names:
        return {}
    reading = await find_reader(model).read(context.scenario.plain_request, response)
    presences: dict[str, Presence] = {}
    for name in names:
        low, high = model.metadata["elements"][name]
        share = reading.rate_element(name)
        presences[name] = "missing" if share < low else "named" if share >= high else "unsure"
    return presences


def _format_names(elements: list[str]) -> str:
    return ", ".join(elements).replace("_", " ")


def find_element(text: str, locale: Locale, element: str) -> str:
    """Return the words that show an element of the pack, or the empty string."""
    answer = _text.own_words(text)
    match = locale.find_element(element, fold_case(answer))
    return _text.shorten(answer[slice(*match.span())], limit=50) if match else ""
