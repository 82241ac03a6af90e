"""safegen: training data for safe completions, from a harm taxonomy and written policy specs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from safegen.core.version import __version__ as __version__

__all__ = ["Recipe", "Run", "agenerate", "generate", "load_recipe", "open_run"]

if TYPE_CHECKING:
    from safegen.config.recipe import Recipe
    from safegen.pipeline.api import Run, agenerate, generate, load_recipe, open_run


# Names are resolved on first use, because `import safegen` must load no heavy module.
def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module `safegen` has no attribute `{name}`")
    from importlib import import_module

    module = import_module("safegen.config.recipe" if name == "Recipe" else "safegen.pipeline.api")
    return getattr(module, name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
