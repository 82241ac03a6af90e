"""Reads a policy spec by name or path, with the specs that it inherits, and checks it."""

from __future__ import annotations

from pathlib import Path

from safegen.core import resources, yaml_source
from safegen.core.errors import AssetNotFound, ConfigError
from safegen.core.yaml_errors import PlacedError, PlacedProblem
from safegen.policy.lint import lint_policy
from safegen.policy.schema import Spec
from safegen.policy.spec import Policy, SpecSource

MAX_INHERITANCE = 4  # a deeper chain is hard to review


def load_policy(name: str) -> Policy:
    """Read a spec by name or path, with the specs that it inherits, and check it.

    Raises:
        AssetNotFound: no such spec.
        ConfigError: the file is invalid, or the spec contradicts itself; with the place of each fault.

    Example:
        >>> policy = load_policy("base")
    """
    policy = read_policy(name)
    findings = lint_policy(policy)
    if findings:
        raise ConfigError("\n".join(str(finding) for finding in findings))
    return policy


def _find_spec(name: str, folder: Path | None) -> Path:
    if folder is not None and resources.is_bare_name(name) and (folder / f"{name}.yaml").is_file():
        return folder / f"{name}.yaml"
    return resources.find_file("policies", name)


def _find_parent(source: SpecSource, folder: Path | None) -> Path:
    try:
        return _find_spec(source.spec.inherits or "", folder)
    except AssetNotFound as e:
        mark = yaml_source.mark_of(source.path, ("inherits",))
        raise PlacedError.of(PlacedProblem(str(source.path), mark, f"inherits: {e}")) from e


def read_policy(name: str) -> Policy:
    """Read a spec and its inherited specs; checks each file against the schema and nothing else.

    If `name` is a path, an inherited spec is looked up in the same folder first, then by name.

    Raises:
        AssetNotFound: no such spec.
        ConfigError: a file is invalid, or the inheritance is circular.
    """
    chain: list[SpecSource] = []
    next_name: str | None = name
    folder: Path | None = None
    while next_name is not None:
        path = _find_parent(chain[-1], folder) if chain else _find_spec(next_name, folder)
        folder = path.parent if name.endswith((".yaml", ".yml")) else None
        spec = yaml_source.load(path, Spec)
        if any(spec.policy == s.policy for s, _ in chain) or len(chain) > MAX_INHERITANCE:
            raise ConfigError(f"{path}: `inherits` is circular or too deep at `{spec.policy}`")
        chain.append(SpecSource(spec, path))
        next_name = spec.inherits
    return Policy(tuple(chain))
