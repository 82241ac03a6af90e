"""safegen: training data for safe-completions, from a harm taxonomy and written policy specs.

Names are resolved on first use, so that `import safegen` stays light.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__version__ = "0.1.0"
__all__ = ["Recipe", "Run", "agenerate", "generate", "load_recipe", "open_run"]

if TYPE_CHECKING:
    from safegen.api import Run, agenerate, generate, load_recipe, open_run
    from safegen.recipe import Recipe


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module `safegen` has no attribute `{name}`")
    from importlib import import_module

    module = import_module("safegen.recipe" if name == "Recipe" else "safegen.api")
    return getattr(module, name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
