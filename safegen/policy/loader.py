"""Read a policy spec by name or path, with the specs that it inherits, and check it."""

from __future__ import annotations

from pathlib import Path

from safegen.core import resources, yaml_source
from safegen.core.errors import AssetNotFound, ConfigError
from safegen.policy.lint import lint_policy
from safegen.policy.schema import Spec
from safegen.policy.spec import Policy, SpecSource

MAX_INHERITANCE = 4


def load_policy(name: str) -> Policy:
    """Read a spec by name or path, with the specs that it inherits, and prove it.

    Raises:
        AssetNotFound: no such spec.
        ConfigError: a mistake in the file, or a spec that contradicts itself, with the place of each.
    """
    policy = read_policy(name)
    findings = lint_policy(policy)
    if findings:
        raise ConfigError("\n".join(str(finding) for finding in findings))
    return policy


def _find_inherited(name: str, beside: Path | None) -> Path:
    """The file of a spec: beside the one that inherits it, where that was named by path, else by name."""
    if beside is not None and resources.is_bare_name(name) and (beside / f"{name}.yaml").is_file():
        return beside / f"{name}.yaml"
    return resources.find_file("policies", name)


def _find_parent(source: SpecSource, beside: Path | None) -> Path:
    """The file of the spec that one inherits.

    Raises:
        ConfigError: there is none, with the place where it is named.
    """
    try:
        return _find_inherited(source.spec.inherits or "", beside)
    except AssetNotFound as e:
        mark = yaml_source.mark_of(source.path, ("inherits",))
        raise yaml_source.PlacedError.of(
            yaml_source.PlacedProblem(str(source.path), mark, f"inherits: {e}")
        ) from e


def read_policy(name: str) -> Policy:
    """Read a spec with what it inherits; its files fit the model, the rest is not proved.

    What a spec that is named by path inherits is looked for beside it first, then as any name.

    Raises:
        AssetNotFound: no such spec.
        ConfigError: a mistake in a file, or inheritance in a circle.
    """
    chain: list[SpecSource] = []
    following: str | None = name
    beside: Path | None = None
    while following is not None:
        path = _find_inherited(following, beside) if not chain else _find_parent(chain[-1], beside)
        beside = path.parent if name.endswith((".yaml", ".yml")) else None
        spec = yaml_source.load(path, Spec)
        if any(spec.policy == s.policy for s, _ in chain) or len(chain) > MAX_INHERITANCE:
            raise ConfigError(f"{path}: `inherits` runs in a circle through `{spec.policy}`")
        chain.append(SpecSource(spec, path))
        following = spec.inherits
    return Policy(tuple(chain))
