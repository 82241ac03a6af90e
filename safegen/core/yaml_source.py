"""YAML to a pydantic model, with the position of every key and value.

Scalars stay text until the model converts them, so `no` is not False. Duplicate keys, tags, anchors
and aliases are errors. All mistakes of a file are reported at once.
"""

from __future__ import annotations

import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pydantic import BaseModel, ValidationError

from safegen.core.errors import ConfigError
from safegen.core.spelling import stored_spelling
from safegen.core.yaml_errors import (
    KeyPath,
    KeyProblem,
    PlacedError,
    PlacedProblem,
    SourceMark,
    clip,
    describe_error,
    describe_keys,
    find_yaml_cause,
    root_causes,
)

if TYPE_CHECKING:
    import yaml
    from pydantic_core import ErrorDetails

MAX_BYTES = 8 * 2**20
"""Largest file; hand-written input is far smaller."""
# PyYAML recurses for each level, and Python's stack ends near 1,000 frames.
MAX_DEPTH = 40
MAX_ENTRIES = 20_000
"""Entries of one list or mapping; hand-written input has far fewer."""
MAX_SHOWN = 20  # fits on a screen
Model = TypeVar("Model", bound=BaseModel)


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
        # Editors on Windows begin a file with a byte order mark.
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as e:
        raise ConfigError(f"{name}: byte {e.start} is not UTF-8; save the file as UTF-8") from e
    except FileNotFoundError as e:
        raise ConfigError(f"{name}: no such file") from e
    # ValueError: a path with a NUL.
    except (OSError, ValueError) as e:
        reason = e.strerror if isinstance(e, OSError) and e.strerror else str(e)
        raise ConfigError(f"{name}: cannot be read ({reason.lower()})") from e


def parse(text: str, model: type[Model], *, shown: str) -> Model:
    """Check YAML text against a model; see `load`."""
    tree = compose(text, shown=shown)
    problems = list(tree.problems)
    hidden = 0
    if not tree.is_mapping:
        kind = "empty" if tree.data in (None, "") else "not a mapping"
        problems.append(
            (SourceMark(1, 1), f"the file is {kind}; it needs keys such as {describe_keys(model)}")
        )
    else:
        try:
            checked = model.model_validate(tree.data)
            if not problems:
                return checked
        except ValidationError as e:
            causes = root_causes(e.errors(include_url=False))
            placed = sorted(
                ((_find_error_mark(err, tree), err) for err in causes), key=lambda pair: pair[0]
            )
            # Only shown mistakes are described, because the nearest key of each costs most.
            problems += [(mark, describe_error(err, model)) for mark, err in placed[:MAX_SHOWN]]
            hidden = len(placed[MAX_SHOWN:])
        except RecursionError:
            problems.append((SourceMark(1, 1), "nested too deeply"))
    raise PlacedError.of(*_list_problems(problems, hidden=hidden, shown=shown))


def _list_problems(
    problems: Sequence[tuple[SourceMark, str]], *, hidden: int, shown: str
) -> list[PlacedProblem]:
    # In the order of the file, although YAML and the model report separately.
    listed = [PlacedProblem(shown, mark, text) for mark, text in sorted(problems)]
    if more := hidden + len(listed[MAX_SHOWN:]):
        return [*listed[:MAX_SHOWN], PlacedProblem(shown, None, f"and {more:,} more mistakes")]
    return listed


def compose(text: str, *, shown: str) -> YamlTree:
    """Read YAML into plain data with marks; scalars stay strings, null becomes None.

    Raises:
        ConfigError: the text is not YAML.
    """
    import yaml

    # The C parser is many times as fast; some platforms lack it.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        _refuse_aliases(text, loader, shown)
        node = yaml.compose(text, Loader=loader)
    except yaml.MarkedYAMLError as e:
        marks = [_to_mark(m) for m in (e.context_mark, e.problem_mark) if m]
        cause = find_yaml_cause(text, marks)
        place, problem = cause or (marks[-1] if marks else None, e.problem or e.context)
        raise PlacedError.of(PlacedProblem(shown, place, f"not valid YAML: {problem}")) from e
    except yaml.YAMLError as e:
        raise ConfigError(f"{shown}: not valid YAML: {str(e).splitlines()[0]}") from e
    except RecursionError as e:
        raise ConfigError(f"{shown}: nested too deeply; at most {MAX_DEPTH} levels") from e
    tree = YamlTree()
    if node is not None:
        tree.data = _to_data(node, (), tree)
        tree.is_mapping = isinstance(node, yaml.MappingNode)
    return tree


def _to_mark(mark: yaml.Mark) -> SourceMark:
    return SourceMark(mark.line + 1, mark.column + 1)


def _refuse_aliases(text: str, loader: type[yaml.SafeLoader], shown: str) -> None:
    # Check events before nodes are built, because nested aliases can expand to gigabytes.
    import yaml

    # Entries that each open list or mapping can still take; a mapping has two nodes for each.
    room: list[int] = []
    for event in yaml.parse(text, Loader=loader):
        mark = event.start_mark
        place = SourceMark(mark.line + 1, mark.column + 1) if mark else None
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            wrong = (
                "anchors and aliases are not supported; write the value out, or quote a text that"
                " begins with `&` or `*`"
            )
            raise PlacedError.of(PlacedProblem(shown, place, wrong))
        tag = getattr(event, "tag", None)
        if isinstance(tag, str):
            wrong = f"the tag `{tag[:60]}` is not supported; write a plain value"
            raise PlacedError.of(PlacedProblem(shown, place, wrong))
        if isinstance(event, yaml.NodeEvent) and room:
            room[-1] -= 1
            if room[-1] < 0:
                wrong = f"more than {MAX_ENTRIES:,} entries in one list or mapping; remove some"
                raise PlacedError.of(PlacedProblem(shown, place, wrong))
        if isinstance(event, yaml.CollectionStartEvent):
            room.append(MAX_ENTRIES * (2 if isinstance(event, yaml.MappingStartEvent) else 1))
        elif isinstance(event, yaml.CollectionEndEvent):
            room.pop()
        if len(room) > MAX_DEPTH:
            wrong = f"nested too deeply; at most {MAX_DEPTH} levels"
            raise PlacedError.of(PlacedProblem(shown, place, wrong))


def _to_data(node: yaml.Node, loc: KeyPath, tree: YamlTree) -> object:
    import yaml

    tree.marks.setdefault(loc, _to_mark(node.start_mark))
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
        mark = _to_mark(key_node.start_mark)
        if not isinstance(key_node, yaml.ScalarNode):
            tree.problems.append((mark, "a key must be a plain word"))
            continue
        key = str(key_node.value)
        if key in seen:
            tree.problems.append(
                (mark, f"duplicate key `{clip(key)}` (first at line {seen[key]}); keep one")
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
        # `parse` rejects aliases, which PyYAML writes for a value that appears twice.
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
