from __future__ import annotations

from pathlib import Path

import pytest

from safegen.core import templates
from safegen.core.errors import ConfigError


def load(folder: Path, text: str) -> templates.PromptTemplate:
    path = folder / "p.j2"
    path.write_text(text)
    return templates.load_template(str(path), blocks=["user"], fields=["name"])


def test_values_are_not_rendered_as_templates(tmp_path: Path) -> None:
    prompt = load(tmp_path, "{% block user %}Hi {{ name }}{% endblock %}")
    assert prompt.render("user", name="{{ 7*7 }}") == "Hi {{ 7*7 }}"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{% block user %}{{ nmae }}{{ name }}{% endblock %}", "`nmae` is unknown.*`name`"),
        ("{% block user %}x{% endblock %}", "field `name` is never used"),
        ("{{ name }}", "block `user` is never used"),
        ("{% block user %}{{ name }}{% endblock %}{% block b %}{% endblock %}", "block `b`"),
        ("{% block user %}\n{{ name {% endblock %}", r"p\.j2:2"),
        ("{% include 'x' %}{% block user %}{{ name }}{% endblock %}", "cannot include other files"),
        (
            "{% block user %}\n{{ name }}{{ 9 ** 9 ** 9 }}{% endblock %}",
            r"p\.j2:2.*cannot multiply",
        ),
        ("{% block user %}{{ name }}{{ 'x' | center(10) }}{% endblock %}", "filter `center`"),
        ("{% block user %}{{ name }}{{ '%9d' % 1 }}{% endblock %}", "cannot multiply"),
        ("{% block user %}{{ name }}{{ name.upper() }}{% endblock %}", "cannot call functions"),
        ("{% block user %}{{ name }}{% for a in 'xy' %}{% endfor %}{% endblock %}", "over a field"),
        ("{% set a = name %}{% block user %}{{ name }}{% endblock %}", "cannot set variables"),
        (
            "{% block user %}{{ name }}"
            + "{% for a in name %}" * 3
            + "{% endfor %}" * 3
            + "{% endblock %}",
            "2 deep",
        ),
    ],
    ids="unknown unused no-block other-block syntax include power filter format call literal set loops".split(),
)
def test_template_mistakes_are_refused_on_load(tmp_path: Path, text: str, says: str) -> None:
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
        "name['__class__']['__mro__']",
        "name.x.y",
    ],
)
def test_template_cannot_reach_python_objects(tmp_path: Path, code: str) -> None:
    with pytest.raises(ConfigError):
        load(tmp_path, "{% block user %}{{ name }}{{ " + code + " }}{% endblock %}").render(
            "user", name="n"
        )


def test_rendered_size_is_bounded(tmp_path: Path) -> None:
    loops = "{% for a in name %}{% for b in name %}" + "x" * 100 + "{% endfor %}{% endfor %}"
    prompt = load(tmp_path, "{% block user %}" + loops + "{% endblock %}")
    with pytest.raises(ConfigError, match="renders to more than"):
        prompt.render("user", name="n" * 2_000)
