from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator

from tests.conftest import ROOT

TYPE_MAKERS = {"NamedTuple", "NewType", "TypedDict", "namedtuple"}
PLUGIN_NAMES = {"Code"}
"""Each validator lists its own reason codes under this name, so that a plug-in needs one file."""


def test_a_type_name_is_defined_once() -> None:
    places: defaultdict[str, list[str]] = defaultdict(list)
    for path in sorted((ROOT / "safegen").rglob("*.py")):
        for name in type_names(ast.parse(path.read_text(encoding="utf-8"))):
            places[name].append(str(path.relative_to(ROOT)))
    repeated = {n: files for n, files in places.items() if len(files) > 1 and n not in PLUGIN_NAMES}
    assert repeated == {}


def test_classes_and_aliases_are_found() -> None:
    source = """
class A: ...
B = Literal["x"]
C = dict[str, Any]
D = A | B
E = NewType("E", int)
_Form = C
LIMITS = (1, 2)
MERGED = A | B
T = TypeVar("T")
name = A
"""
    assert list(type_names(ast.parse(source))) == ["A", "B", "C", "D", "E", "_Form"]


def type_names(tree: ast.Module) -> Iterator[str]:
    for node in tree.body:
        match node:
            case ast.ClassDef(name=name):
                yield name
            case ast.Assign(targets=[ast.Name(id=name)], value=value) if is_alias(name, value):
                yield name
            case _:
                pass


def is_alias(name: str, value: ast.expr) -> bool:
    if not name.lstrip("_")[:1].isupper() or (name.isupper() and len(name) > 1):
        return False
    return isinstance(value, ast.Subscript | ast.BinOp | ast.Name | ast.Attribute) or (
        isinstance(value, ast.Call) and getattr(value.func, "id", "") in TYPE_MAKERS
    )
