"""YAML to a pydantic model, with file:line:column in every error message.

Scalars stay text until the model converts them, so `no` is not False. Duplicate keys, tags, anchors
and aliases are errors. All mistakes of a file are reported at once.
"""

from __future__ import annotations

import difflib
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from safegen.core.errors import ConfigError
from safegen.core.spelling import stored_spelling

if TYPE_CHECKING:
    import yaml
    from pydantic_core import ErrorDetails

MAX_BYTES = 8 * 2**20
"""Largest file; hand-written input is far smaller."""
MAX_DEPTH = 40
Model = TypeVar("Model", bound=BaseModel)
KeyPath = tuple[str | int, ...]


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


@dataclass
class YamlTree:
    """Plain data with the position of every key and value, and the mistakes of the YAML itself."""

    data: object = None
    is_mapping: bool = False
    marks: dict[KeyPath, SourceMark] = field(default_factory=dict[KeyPath, SourceMark])
    problems: list[tuple[SourceMark, str]] = field(default_factory=list[tuple[SourceMark, str]])


def load(path: Path, model: type[Model], *, shown: str | None = None) -> Model:
    """Read a YAML file into a model.

    Args:
        path: the file.
        model: a pydantic model; its aliases are the keys.
        shown: the name of the file in messages; default its path.

    Raises:
        ConfigError: one message with one line per mistake, in the order of the file.
    """
    return parse(read_text(path, shown=shown), model, shown=shown or str(path))


def read_text(path: Path, *, shown: str | None = None) -> str:
    """Read a UTF-8 text file of bounded size.

    Raises:
        ConfigError: the file is missing, unreadable, a folder, too large or not UTF-8.
    """
    name = shown or str(path)
    try:
        if path.is_dir():
            raise ConfigError(f"{name}: is a folder; name a file")
        stats = path.stat()
        if not stat.S_ISREG(stats.st_mode):
            raise ConfigError(f"{name}: is not a regular file; name one")
        if stats.st_size > MAX_BYTES:
            raise ConfigError(f"{name}: is larger than {MAX_BYTES // 2**20} MiB; split it")
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as e:
        raise ConfigError(f"{name}: byte {e.start} is not UTF-8; save the file as UTF-8") from e
    except FileNotFoundError as e:
        raise ConfigError(f"{name}: no such file") from e
    except (OSError, ValueError) as e:
        reason = e.strerror if isinstance(e, OSError) and e.strerror else str(e)
        raise ConfigError(f"{name}: cannot be read ({reason.lower()})") from e


def parse(text: str, model: type[Model], *, shown: str) -> Model:
    """Check YAML text against a model; see `load`."""
    tree = compose(text, shown=shown)
    problems = list(tree.problems)
    if not tree.is_mapping:
        kind = "empty" if tree.data in (None, "") else "not a mapping"
        problems.append(
            (SourceMark(1, 1), f"the file is {kind}; it needs keys such as {_describe_keys(model)}")
        )
    else:
        try:
            checked = model.model_validate(tree.data)
            if not problems:
                return checked
        except ValidationError as e:
            problems += [
                (_find_error_mark(err, tree), _describe_error(err, model))
                for err in _root_causes(e.errors())
            ]
        except RecursionError:
            problems.append((SourceMark(1, 1), "nested too deeply"))
    raise PlacedError.of(*(PlacedProblem(shown, m, text) for m, text in sorted(problems)))


def _root_causes(errors: Sequence[ErrorDetails]) -> list[ErrorDetails]:
    """Drop errors that follow from a nested one: a list is too short because an item did not validate."""
    places = [err["loc"] for err in errors]

    def follows(err: ErrorDetails) -> bool:
        at = err["loc"]
        return err["type"] == "too_short" and any(
            len(place) > len(at) and place[: len(at)] == at for place in places
        )

    return [err for err in errors if not follows(err)]


def compose(text: str, *, shown: str) -> YamlTree:
    """Read YAML into plain data with marks; scalars stay strings, null becomes None.

    Raises:
        ConfigError: the text is not YAML.
    """
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        _refuse_aliases(text, loader, shown)
        node = yaml.compose(text, Loader=loader)
    except yaml.MarkedYAMLError as e:
        mark = e.problem_mark or e.context_mark
        place = SourceMark(mark.line + 1, mark.column + 1) if mark else None
        raise PlacedError.of(
            PlacedProblem(shown, place, f"not valid YAML: {e.problem or e.context}")
        ) from e
    except yaml.YAMLError as e:
        raise ConfigError(f"{shown}: not valid YAML: {str(e).splitlines()[0]}") from e
    except RecursionError as e:
        raise ConfigError(f"{shown}: nested too deeply; at most {MAX_DEPTH} levels") from e
    tree = YamlTree()
    if node is not None:
        tree.data = _to_data(node, (), tree)
        tree.is_mapping = isinstance(node, yaml.MappingNode)
    return tree


def _refuse_aliases(text: str, loader: type[yaml.SafeLoader], shown: str) -> None:
    # Check events before nodes are built, because nested aliases can expand to gigabytes.
    import yaml

    depth = 0
    for event in yaml.parse(text, Loader=loader):
        mark = event.start_mark
        place = SourceMark(mark.line + 1, mark.column + 1) if mark else None
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            wrong = "anchors and aliases are not supported; write the value out"
            raise PlacedError.of(PlacedProblem(shown, place, wrong))
        tag = getattr(event, "tag", None)
        if isinstance(tag, str):
            wrong = f"the tag `{tag[:60]}` is not supported; write a plain value"
            raise PlacedError.of(PlacedProblem(shown, place, wrong))
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > MAX_DEPTH:
            wrong = f"nested too deeply; at most {MAX_DEPTH} levels"
            raise PlacedError.of(PlacedProblem(shown, place, wrong))


def _to_data(node: yaml.Node, loc: KeyPath, tree: YamlTree) -> object:
    import yaml

    mark = SourceMark(node.start_mark.line + 1, node.start_mark.column + 1)
    tree.marks.setdefault(loc, mark)
    if isinstance(node, yaml.MappingNode):
        return _to_mapping(node, loc, tree)
    if isinstance(node, yaml.SequenceNode):
        return [_to_data(item, (*loc, i), tree) for i, item in enumerate(node.value)]
    # A quoted word has the tag of text. The style of a plain word is None or '', depending on the parser.
    plain_null = node.tag == "tag:yaml.org,2002:null" and not getattr(node, "style", None)
    return None if plain_null else str(node.value)


def _to_mapping(node: yaml.MappingNode, loc: KeyPath, tree: YamlTree) -> dict[str, object]:
    import yaml

    data: dict[str, object] = {}
    seen: dict[str, int] = {}
    for key_node, value_node in node.value:
        mark = SourceMark(key_node.start_mark.line + 1, key_node.start_mark.column + 1)
        if not isinstance(key_node, yaml.ScalarNode):
            tree.problems.append((mark, "a key must be a plain word"))
            continue
        key = str(key_node.value)
        if key in seen:
            tree.problems.append(
                (mark, f"duplicate key `{_clip(key)}` (first at line {seen[key]}); keep one")
            )
            continue
        seen[key] = mark.line
        # Models have one spelling of a key, and their errors name it.
        path = (*loc, stored_spelling(key))
        tree.marks[path] = mark
        data[key] = _to_data(value_node, path, tree)
    return data


def dump(data: Mapping[str, object]) -> str:
    """Write plain data as YAML that `parse` reads: keys in order, no aliases, long lines folded."""
    import yaml

    class Plain(yaml.SafeDumper):
        def ignore_aliases(self, data: object) -> bool:
            return True

    return yaml.dump(data, Dumper=Plain, sort_keys=False, allow_unicode=True, width=110)


def find_mark(tree: YamlTree, loc: Sequence[str | int]) -> SourceMark:
    """Find the position of a key, or of the nearest enclosing key that the file contains."""
    path = tuple(stored_spelling(key) if isinstance(key, str) else key for key in loc)
    while path and path not in tree.marks:
        path = path[:-1]
    return tree.marks.get(path, SourceMark(1, 1))


def format_place(path: Path, loc: Sequence[str | int]) -> str:
    """Format the position of a key in a file as `path:line:column`."""
    mark = mark_of(path, loc)
    return f"{path}:{mark.line}:{mark.column}"


def mark_of(path: Path, loc: Sequence[str | int]) -> SourceMark:
    """Find the position of a key in a file."""
    return find_mark(compose(read_text(path), shown=str(path)), loc)


def _find_error_mark(err: ErrorDetails, tree: YamlTree) -> SourceMark:
    error = err.get("ctx", {}).get("error")
    loc = error.loc if isinstance(error, KeyProblem) else ()
    return find_mark(tree, (*err["loc"], *loc))


def _describe_error(err: ErrorDetails, model: type[BaseModel]) -> str:
    key_path = ".".join(str(part) for part in err["loc"])
    kind, value = err["type"], err["input"]
    if kind == "extra_forbidden":
        key = str(err["loc"][-1])
        return f"`{_clip(key_path)}` is not a known key{suggest_names(key, list_keys(model, err['loc'][:-1]))}"
    if kind == "missing":
        return f"`{key_path}` is missing; add it"
    message = message_of(err)
    message = _describe_in_yaml_terms(err) or message[:1].lower() + message[1:]
    if isinstance(value, str | int | float | bool) or value is None:
        shown = "nothing" if value is None else f"`{_clip(str(value))}`"
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
    if kind == "too_short":
        return f"must have {context['min_length']} or more"
    return None


def _suggest_key(err: ErrorDetails) -> str:
    if err["type"] != "literal_error":
        return ""
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


def suggest(name: str, known: Sequence[str], *, cutoff: float = 0.6) -> str | None:
    """Return the known name nearest to a mistyped one; None if no similarity reaches `cutoff`."""
    return next(iter(difflib.get_close_matches(name, known, n=1, cutoff=cutoff)), None)


def suggest_names(
    name: str, known: Sequence[str], *, listed: bool = True, cutoff: float = 0.6
) -> str:
    """Make a hint for a mistyped name: the nearest known one if its similarity reaches `cutoff`, else all known ones."""
    nearest = suggest(name, known, cutoff=cutoff)
    if nearest is not None:
        return f"; did you mean `{nearest}`?"
    return f"; known: {', '.join(sorted(known))}" if listed and known else ""


def _describe_keys(model: type[BaseModel]) -> str:
    required = [f.alias or n for n, f in model.model_fields.items() if f.is_required()]
    return ", ".join(f"`{key}`" for key in required[:4] or list_keys(model, ())[:4])


def _clip(text: str, width: int = 80) -> str:
    # A value comes from a file of the user: keep control characters and long text out of the terminal.
    clean = "".join(c if c.isprintable() else "�" for c in text)
    return clean if len(clean) <= width else clean[: width - 1] + "…"
