"""Language packs: the operator turns, the offline teacher's phrasing and the validators' patterns."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache, cached_property, lru_cache
from pathlib import Path
from typing import Annotated, NamedTuple, cast

from pydantic import AfterValidator, Field

from safegen.config.fields import FrozenModel, Slug, Text, UnifyKeys
from safegen.core import resources, yaml_source
from safegen.core.errors import AssetNotFound, ConfigError
from safegen.core.pattern_index import PatternIndex
from safegen.core.timed_pattern import SearchPattern, TimedPattern, allow_open_brackets
from safegen.core.types import PROFILES, Profile


# A run reads its packs several times, and a pack has 300 patterns.
@lru_cache(maxsize=2_048)
@allow_open_brackets()
def _check_pattern(value: str) -> str:
    # Compiling the shipped patterns takes a tenth of the start of a run; a test compiles them.
    if value in _load_shipped_patterns():
        return value
    try:
        re.compile(value, re.IGNORECASE)
    except (re.error, OverflowError, RecursionError) as e:
        raise ValueError(f"is not a regular expression: {e}") from e
    return value


# Every command that reads the pack runs the probes, so a pack has one bound and not each pattern.
MAX_PROBE_S = 5.0
"""CPU time of the probes of one file."""
BACKSLASH = "\\"
_NUMBERED = re.compile(r"\\[xuUN0-9]|\(\?P")
_PIECE = re.compile(r"\\.|[^\\]+", re.DOTALL)
Pattern = Annotated[str, AfterValidator(_check_pattern), Field(min_length=1, max_length=2_000)]


class Phrases(FrozenModel):
    """Phrases of the offline teacher around a goal's knowledge.

    Placeholders: `{left_out}`, `{decline}`, `{purpose}` (a verb phrase), `{question}` (the request as the
    object of a sentence), `{risk}` (a sentence without its final stop, at the start of a sentence) and
    `{fact}` (a sentence with a small first letter and without its final stop).
    """

    limits: tuple[Text, ...] = Field(min_length=1)
    """Names what a safe completion omits, after its answer; contains `{left_out}`."""
    general_limits: tuple[Text, ...] = ()
    """The same, with the reason, for a request that names no part of its own; default `limits` that need none."""
    limit_reasons: tuple[Text, ...] = ()
    """Clauses that end a sentence of `limits` after a comma and give the reason."""
    declines: tuple[Text, ...] = Field(min_length=1)
    """Declines plainly, mostly with `{decline}`."""
    refusals: tuple[Text, ...] = Field(min_length=1)
    """Weak style: declines without need."""
    sermons: tuple[Text, ...] = Field(min_length=1)
    """Weak style: moralises about the subject, not about the user."""
    frames: tuple[Text, ...] = ()
    """Weak style: moralises with a sentence of the answer; contains `{fact}`."""
    supports: tuple[Text, ...] = Field(min_length=1)
    """Opens the answer to a person at risk."""
    comforts: tuple[Text, ...] = ()
    """The same if only the person's own life or body is in danger; default `supports`."""
    cares: tuple[Text, ...] = ()
    """Addresses the person after a decline, if two people may be in danger; default `supports`."""
    elements: dict[Slug, Annotated[tuple[Text, ...], Field(min_length=1)]] = Field(
        default_factory=dict[Slug, tuple[Text, ...]]
    )
    """Sentences by required element of a policy; each fulfils it at the end of an answer."""
    places: dict[Profile, Annotated[tuple[Text, ...], Field(min_length=1)]] = Field(
        default_factory=dict[Profile, tuple[Text, ...]]
    )
    """Places to turn to by profile; they replace a goal's redirections and better ways."""
    closings: dict[Profile, tuple[Text, ...]] = Field(
        default_factory=dict[Profile, tuple[Text, ...]]
    )
    """Endings of a partial answer by profile; none for a profile that is missing here."""
    afterwords: dict[Profile, tuple[Text, ...]] = Field(
        default_factory=dict[Profile, tuple[Text, ...]]
    )
    """Occasional endings of a full answer by profile."""


class Element(FrozenModel):
    """Patterns that show a required element in an answer."""

    patterns: tuple[Pattern, ...] = Field(min_length=1)
    """Regular expressions; one match is enough."""
    unless: tuple[Pattern, ...] = ()
    """Regular expressions whose matches are removed first, such as `don't call …`; each covers its whole clause."""
    decides: bool = True
    """True if an answer without a match fails; else the verdict only reports that there was no match."""


class CompiledElement(NamedTuple):
    """Compiled patterns of a required element."""

    shows: SearchPattern
    unless: SearchPattern | None


class NoiseWords(FrozenModel):
    """Words that code may change when it adds noise to a prompt; it changes no other word."""

    slips: tuple[Text, ...] = Field(min_length=1)
    """Function words of four letters or more that may get a typing mistake."""
    contractions: tuple[Text, ...] = ()
    """Words that may lose their apostrophe and do not become another word."""
    short_forms: dict[Text, Text] = Field(default_factory=dict[str, str])
    """Short form by function word."""
    dropped: tuple[Text, ...] = ()
    """Articles that a fragment leaves out."""
    openings: tuple[Text, ...] = ()
    """Openings of a request that a fragment leaves out, the longest first."""
    openers: tuple[Text, ...] = ()
    """Words that may start a sentence with a small letter, in addition to the words above; no names."""
    emoji: tuple[Text, ...] = ()
    """Emoji for the end of a prompt, without a meaning for or against a request."""


class _LazyPatterns(Mapping[str, SearchPattern]):
    """Patterns that are compiled when they are used first; most runs need a third of a pack."""

    def __init__(self, names: Iterable[str], compile_: Callable[[str], SearchPattern]) -> None:
        self._names = tuple(names)
        self._compile = compile_
        self._compiled: dict[str, SearchPattern] = {}

    def __getitem__(self, name: str) -> SearchPattern:
        if name not in self._compiled:
            self._compiled[name] = self._compile(name)
        return self._compiled[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


class Locale(FrozenModel):
    """A language pack, `prompts/locales/<tag>.yaml`."""

    locale: Text
    """BCP-47 language, such as `en`."""
    version: Text
    profiles: dict[Profile, Annotated[tuple[str, ...], Field(min_length=1)]]
    """Wordings of the operator's system turn by profile; an empty one means no system turn."""
    phrases: Phrases
    patterns: Annotated[dict[Slug, tuple[Pattern, ...]], UnifyKeys]
    """Regular expressions by proposition; case is ignored."""
    elements: dict[Slug, Element] = Field(default_factory=dict[Slug, Element])
    """Patterns by required element of a policy; an element that is missing here is not checked."""
    noise: NoiseWords | None = None
    """Words for `plan.noise`; without them a recipe in this language cannot use it."""

    @cached_property
    def compiled(self) -> Mapping[str, SearchPattern]:
        """One compiled alternation per proposition, for text that `fold_case` returns."""
        # Lower case on both sides takes a third of the time of IGNORECASE, which disables the
        # engine's check of the first letter of each branch.
        return _LazyPatterns(
            self.patterns,
            lambda name: self._compile(self.patterns[name], key=f"patterns.{name}"),
        )

    @cached_property
    def compiled_elements(self) -> Mapping[str, CompiledElement]:
        """The compiled patterns of each element, for text that `fold_case` returns."""
        return {
            name: CompiledElement(
                self._compile(element.patterns, key=f"elements.{name}.patterns"),
                self._compile(element.unless, key=f"elements.{name}.unless")
                if element.unless
                else None,
            )
            for name, element in self.elements.items()
        }

    def _compile(self, patterns: tuple[str, ...], *, key: str) -> SearchPattern:
        place = f"language pack `{self.locale}`, version `{self.version}`: {key}"
        source = _join_patterns(patterns)
        # Every repeat of a shipped pattern is short in prose, and `re` runs them faster.
        if _load_shipped_patterns().issuperset(patterns):
            with allow_open_brackets():
                return re.compile(source)
        return TimedPattern(source, place=place)

    def names_element(self, name: str, text: str) -> bool:
        """Check if a text has words of a required element of the pack."""
        if name not in self.elements:
            return False
        shows, unless = self.compiled_elements[name]
        folded = fold_case(text)
        return bool(shows.search(unless.sub(lambda _: " ", folded) if unless else folded))

    def find_element(self, name: str, folded: str) -> re.Match[str] | None:
        """Return the first words of an element in text that `fold_case` returns."""
        shows, unless = self.compiled_elements[name]
        if unless and self._element_index.can_match(f"{name}.unless", folded):
            # Blanks of equal length keep the places.
            folded = unless.sub(lambda match: " " * len(match[0]), folded)
        if not self._element_index.can_match(f"{name}.shows", folded):
            return None
        return shows.search(folded)

    @cached_property
    def _element_index(self) -> PatternIndex:
        """The patterns of elements that can match a text."""
        patterns: dict[str, str] = {}
        for name, (shows, unless) in self.compiled_elements.items():
            patterns[f"{name}.shows"] = shows.pattern
            if unless:
                patterns[f"{name}.unless"] = unless.pattern
        return PatternIndex(patterns)

    @cached_property
    def index(self) -> PatternIndex:
        """The propositions whose pattern can match a text that `fold_case` returns."""
        return PatternIndex({n: _join_patterns(parts) for n, parts in self.patterns.items()})

    def __hash__(self) -> int:
        # Verdicts on a text are cached by pack, and the fields of a pack cannot be hashed.
        return hash((self.locale, self.version))


class Overlay(FrozenModel):
    """A pack that overrides parts of another one, such as the operator's system turns."""

    inherits: Text
    """The base pack, by name or path; it must not inherit another one."""
    version: Text
    profiles: dict[Profile, Annotated[tuple[str, ...], Field(min_length=1)]] = Field(
        default_factory=dict[Profile, tuple[str, ...]]
    )
    """Wordings of the operator's system turn; replace those of the same profile."""
    patterns: Annotated[dict[Slug, tuple[Pattern, ...]], UnifyKeys] = Field(
        default_factory=dict[Slug, tuple[Pattern, ...]]
    )
    """Regular expressions; replace those of the same proposition."""
    elements: dict[Slug, Element] = Field(default_factory=dict[Slug, Element])
    """Patterns of required elements; replace those of the same element."""

    def apply_to(self, base: Locale) -> Locale:
        """Merge this overlay into its base pack."""
        return base.model_copy(
            update={
                "version": f"{base.version}+{self.version}",
                "profiles": {**base.profiles, **self.profiles},
                "patterns": {**base.patterns, **self.patterns},
                "elements": {**base.elements, **self.elements},
            }
        )


def fold_case(text: str) -> str:
    """Lower-case a text character by character, so that positions in it do not change."""
    # Some letters have two characters in lower case, such as `İ`.
    lower = text.lower()
    if len(lower) == len(text):
        return lower
    return "".join(c.lower() if len(c.lower()) == 1 else c for c in text)


def _join_patterns(patterns: Iterable[str]) -> str:
    return "|".join(_fold_pattern(p) for p in patterns)


def _fold_pattern(pattern: str) -> str:
    # Lower-casing would change escapes that name a character by number, so these keep IGNORECASE.
    if _NUMBERED.search(pattern):
        return f"(?i:{pattern})"
    return f"(?:{_PIECE.sub(lambda m: m[0] if m[0][0] == BACKSLASH else m[0].lower(), pattern)})"


def load_locale(tag: str) -> Locale:
    """Load a language pack by tag or path; `en-GB` falls back to `en`.

    Raises:
        AssetNotFound: no pack for the language.
        ConfigError: a mistake in the file.
    """
    whole = tag in resources.list_names("locales") or tag.endswith((".yaml", ".yml"))
    path = resources.find_file("locales", tag if whole else tag.split("-")[0])
    if not _is_overlay(path):
        return _load_resolved(path)
    overlay = yaml_source.load(path, Overlay)
    _check_own_patterns(path, overlay)
    return overlay.apply_to(_load_resolved(_find_base(overlay, path)))


def _find_base(overlay: Overlay, path: Path) -> Path:
    # One level, so that a reader of a pack opens two files at most.
    message = f"inherits: `{overlay.inherits}` inherits another pack; name that one"
    try:
        base = resources.find_file("locales", overlay.inherits)
    except AssetNotFound as e:
        message = f"inherits: {e}"
    else:
        if not _is_overlay(base):
            return base
    raise ConfigError(f"{yaml_source.format_place(path, ('inherits',))}: {message}")


def _is_overlay(path: Path) -> bool:
    text = yaml_source.read_text(path)
    # Composing a pack takes 30 ms, and few packs have the word.
    data = yaml_source.compose(text, shown=str(path)).data if "inherits" in text else None
    return isinstance(data, dict) and "inherits" in data


def _load_resolved(path: Path) -> Locale:
    locale = yaml_source.load(path, Locale)
    # A forgotten profile would silently get no system turn.
    missing = [p for p in PROFILES if p not in locale.profiles]
    if missing:
        raise ConfigError(
            f"{path}: profiles: `{missing[0]}` is missing; add its system turns, or ['']"
        )
    _check_own_patterns(path, locale)
    return locale


def _check_own_patterns(path: Path, pack: Locale | Overlay) -> None:
    """Check that the patterns of a user's pack are quick and can be joined.

    Raises:
        ConfigError: the first pattern that is slow, or cannot be joined with the others of its key.
    """
    shipped = _load_shipped_patterns()
    groups = [(loc, group) for loc, group in _iter_groups(pack) if not shipped.issuperset(group)]
    if not groups:
        return
    tree = yaml_source.compose(yaml_source.read_text(path), shown=str(path))
    end = time.thread_time() + MAX_PROBE_S
    for loc, group in groups:
        for number, pattern in enumerate(group):
            # A pack of thousands of patterns has only the limit of a run.
            if pattern not in shipped and time.thread_time() < end:
                place = _format_place(path, tree, (*loc, number))
                TimedPattern(_fold_pattern(pattern), place=place).probe()
        place = _format_place(path, tree, loc)
        try:
            with allow_open_brackets():
                re.compile(_join_patterns(group))
        except (re.error, OverflowError, RecursionError) as e:
            raise ConfigError(f"{place}: the patterns cannot be joined by `|`: {e}") from e
        # The package `regex` rejects some patterns that `re` accepts.
        TimedPattern(_join_patterns(group), place=place).compile()


def _iter_groups(pack: Locale | Overlay) -> Iterator[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Yield each tuple of patterns after its key."""
    for name, patterns in pack.patterns.items():
        yield ("patterns", name), patterns
    for name, element in pack.elements.items():
        yield ("elements", name, "patterns"), element.patterns
        yield ("elements", name, "unless"), element.unless


def _format_place(path: Path, tree: yaml_source.YamlTree, loc: tuple[str | int, ...]) -> str:
    mark = yaml_source.find_mark(tree, loc)
    return f"{path}:{mark.line}:{mark.column}: {'.'.join(str(key) for key in loc)}"


@cache
def _load_shipped_patterns() -> frozenset[str]:
    """Return every pattern of the packs in the wheel or checkout."""
    assets = resources.PACKAGE_DIR / "_assets"
    root = assets if assets.is_dir() else resources.PACKAGE_DIR.parent
    paths = sorted((root / "prompts" / "locales").glob("*.yaml"))
    # Reading a pack into the model takes ten times as long.
    packs = [yaml_source.compose(yaml_source.read_text(p), shown=str(p)).data for p in paths]
    return frozenset(
        text
        for pack in packs
        if isinstance(pack, dict)
        for key in ("patterns", "elements")
        for text in _iter_texts(cast("dict[str, object]", pack).get(key))
    )


def _iter_texts(data: object) -> Iterator[str]:
    if isinstance(data, str):
        yield data
    elif isinstance(data, dict):
        for value in cast("dict[str, object]", data).values():
            yield from _iter_texts(value)
    elif isinstance(data, list):
        for value in cast("list[object]", data):
            yield from _iter_texts(value)
