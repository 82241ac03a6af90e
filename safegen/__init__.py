"""safegen: training data for safe completions, from a harm taxonomy and written policy specs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from safegen.core.version import __version__ as __version__

__all__ = [
    "Recipe",
    "ResponseScores",
    "Reward",
    "Run",
    "Scores",
    "agenerate",
    "ascore",
    "generate",
    "load_recipe",
    "open_run",
    "reward",
    "score",
]

if TYPE_CHECKING:
    from safegen.config.recipe import Recipe
    from safegen.pipeline.api import Run, agenerate, generate, load_recipe, open_run
    from safegen.pipeline.rewards import ResponseScores, Reward, reward
    from safegen.pipeline.score import Scores, ascore, score

_MODULES = {
    "Recipe": "safegen.config.recipe",
    "ResponseScores": "safegen.pipeline.rewards",
    "Reward": "safegen.pipeline.rewards",
    "Scores": "safegen.pipeline.score",
    "ascore": "safegen.pipeline.score",
    "reward": "safegen.pipeline.rewards",
    "score": "safegen.pipeline.score",
}
"""Modules of the names that are not in `safegen.pipeline.api`."""


# Names are resolved on first use, because `import safegen` must load no heavy module.
def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module `safegen` has no attribute `{name}`")
    from importlib import import_module

    module = import_module(_MODULES.get(name, "safegen.pipeline.api"))
    return getattr(module, name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
