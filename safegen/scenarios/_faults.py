"""The mistakes of a user's file, collected so that they are told together."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from safegen.errors import ConfigError


class Faults:
    """The mistakes of a file: the first ones in words, and how many there are."""

    MOST = 20

    def __init__(self) -> None:
        self.named: list[str] = []
        self.count = 0

    def add(self, e: ConfigError) -> None:
        """Take one."""
        self.count += 1
        if len(self.named) < self.MOST:
            self.named.append(str(e))

    @contextmanager
    def held(self) -> Generator[None]:
        """Take the mistake that ends the block, if one does."""
        try:
            yield
        except ConfigError as e:
            self.add(e)

    def raise_any(self) -> None:
        """Stop if there are any.

        Raises:
            ConfigError: with all of them, or the first ones and how many there are.
        """
        if self.count > len(self.named):
            more = f"and {self.count - len(self.named):,} more of {self.count:,} mistakes"
            raise ConfigError("\n".join([*self.named, more]))
        if self.named:
            raise ConfigError("\n".join(self.named))
