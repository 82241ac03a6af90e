"""Recognises the language of an ordinary text by its function words, without a model.

Most answers are in the expected language, and their commonest words show it. Only the others need
the model of `core/language_id.py`, which costs 20 times as much.
"""

from __future__ import annotations

import re

# The commonest words by language.
_LISTS = {
    "de": (
        "der die das und zu den mit sich des auf für ist im dem nicht ein eine als auch es an werden"
        " aus er hat dass sie nach wird bei einer um am sind noch wie einem über einen so zum war"
        " haben nur oder aber vor zur bis mehr durch man sein wurde sei können wenn ich du ihre kann"
    ),
    "en": (
        "the of and to that it for with as you your are be this on by not or from have they which one"
        " can will what when if their there more about how so but we all has would other than been"
        " should who its some into could these them do may also a in is i it's don't an at was my me"
        " he she his her had here where why while because before after then those any no only even"
        " just most very much many such each own same both make made get give keep take let say says"
        " ask use used look need want help like well best good first two down back out up off over"
        " through between without against still often usually never always something anything nothing"
        " someone people person thing things way time day"
    ),
    "es": (
        "que el los se del las un por con una su para es al lo como más pero sus le ya este sí porque"
        " esta entre cuando muy sin sobre también hay donde quien desde todo nos durante todos uno les"
        " ni contra otros ese eso ante ellos e esto antes algunos qué unos puede son está tu y"
    ),
    "fr": (
        "les des et une du que qui dans est pour pas au plus par ce il sur avec sont ne se aux ou être"
        " comme mais cette vous nous ces leur son votre peut elle ont fait ils tout sans si même aussi"
        " entre deux très bien sous après donc avant dont lorsque vos afin"
    ),
    "it": (
        "il di che è per un una del non sono della con si i le nel da come più gli dei al anche delle"
        " alla ma se lo ha dal nella questo suo essere ci o tra questa quando dalla degli puoi può"
        " cosa tuo tua loro molto prima sulla hai senza perché dopo"
    ),
    "nl": (
        "het een van en dat op te voor met zijn niet aan er om ook als bij maar door naar uit over"
        " wordt je kan worden wat deze dan meer nog geen heeft hij moet uw hun zich tot dit kunt of"
        " wel zou waar daar onder tegen zonder wanneer jouw hebben"
    ),
    "pt": (
        "que o do da em um para com não uma os no se na por mais as dos como mas ao ele das à seu sua"
        " ou quando muito nos já eu também só pelo pela até isso ela entre depois sem mesmo aos seus"
        " quem nas você são está pode ser ter foi tem uns isto seja"
    ),
}
_WORDS = {language: frozenset(words.split()) for language, words in _LISTS.items()}
# The language of each word that one list alone has.
_OWNERS = {
    word: language
    for language, words in _WORDS.items()
    for word in words
    if sum(word in other for other in _WORDS.values()) == 1
}
_TOKEN = re.compile(r"[^\W\d_]+")
_OTHER_SCRIPT = re.compile("[^\x00-\u024f\u2000-\u206f]")
# Chosen on 8,000 texts of 300 to 900 characters in 16 languages: none of them, and no English text
# that changes its language, is taken for another language; four of five English answers are decided.
MIN_TOKENS = 10
MIN_SHARE = 0.25
"""Least share of function words of the language."""
MIN_OWN_SHARE = 0.15
"""Least share of function words that only this language has."""
MAX_OTHER = 0.1
"""Most words of other languages, per own word."""


def has_function_words(text: str, language: str) -> bool:
    """Check if a text is certainly in a language; False if its words do not decide.

    Example:
        >>> has_function_words("You can put the lid on, and then wait for it to cool down.", "en")
        True
        >>> has_function_words("Deckel drauf", "de")
        False
    """
    known = _WORDS.get(language)
    tokens = _TOKEN.findall(text.lower())
    if known is None or len(tokens) < MIN_TOKENS or _OTHER_SCRIPT.search(text):
        return False
    owners = [_OWNERS[token] for token in tokens if token in _OWNERS]
    own = owners.count(language)
    return (
        own >= MIN_OWN_SHARE * len(tokens)
        and len(owners) - own <= MAX_OTHER * own
        and sum(token in known for token in tokens) >= MIN_SHARE * len(tokens)
    )


def list_function_words(language: str) -> frozenset[str]:
    """Return the commonest words of a language; empty if the language has no list."""
    return _WORDS.get(language, frozenset())
