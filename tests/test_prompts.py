from __future__ import annotations

from pathlib import Path

import pytest

from safegen import prompts
from safegen.errors import ConfigError


def load(folder: Path, text: str) -> prompts.PromptFile:
    path = folder / "p.j2"
    path.write_text(text)
    return prompts.load(str(path), blocks=["user"], fields=["name"])


def test_a_value_is_never_rendered_again(tmp_path: Path) -> None:
    prompt = load(tmp_path, "{% block user %}Hi {{ name }}{% endblock %}")
    assert prompt.render("user", name="{{ 7*7 }}") == "Hi {{ 7*7 }}"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{% block user %}{{ nmae }}{{ name }}{% endblock %}", "`nmae` is not known.*`name`"),
        ("{% block user %}x{% endblock %}", "field `name` is never used"),
        ("{{ name }}", "block `user` is never used"),
        ("{% block user %}{{ name }}{% endblock %}{% block b %}{% endblock %}", "block `b`"),
        ("{% block user %}\n{{ name {% endblock %}", r"p\.j2:2"),
        ("{% include 'x' %}{% block user %}{{ name }}{% endblock %}", "stands alone"),
    ],
    ids=["unknown", "unused", "no block", "other block", "syntax", "include"],
)
def test_mistakes_are_refused_when_loaded(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        load(tmp_path, text)


@pytest.mark.parametrize(
    "code",
    [
        "name.__class__.__mro__",
        "name.format.__globals__",
        "'{0.__class__}'.format(name)",
        "name|attr('__class__')",
        "('a' * 100000000) ~ name",
        "name.x.y",
    ],
)
def test_a_template_cannot_reach_out(tmp_path: Path, code: str) -> None:
    prompt = load(tmp_path, "{% block user %}{{ name }}{{ " + code + " }}{% endblock %}")
    with pytest.raises(ConfigError):
        prompt.render("user", name="n")
