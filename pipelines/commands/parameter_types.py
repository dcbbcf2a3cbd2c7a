"""Types of options that click has not."""

from typing import Any

import click

from pretrain.greedy import MOST_UNITS


class CommaList(click.ParamType):
    """Values separated by commas: `500,500,2000`. With `scalar`, one value alone stands for itself."""

    def __init__(self, item: click.ParamType, *, scalar: bool = False) -> None:
        self.item, self.scalar = item, scalar
        self.name = f"{item.name},..."

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        """What the help shows."""
        choices = getattr(self.item, "choices", None)
        return f"[{'|'.join(choices)}],..." if choices else f"{self.item.name.upper()},..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Split and convert; click's own message names the part that is wrong."""
        if not isinstance(value, str):
            return value
        parts = [self.item.convert(part.strip(), param, ctx) for part in value.split(",")]
        return parts[0] if self.scalar and len(parts) == 1 else tuple(parts)


class AutoOr(click.ParamType):
    """A value of another type, or the word "auto"."""

    def __init__(self, item: click.ParamType) -> None:
        self.item, self.name = item, f"{item.name}|auto"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """ "auto" stays a word."""
        return value if value == "auto" else self.item.convert(value, param, ctx)


LAYER_SIZES = CommaList(click.IntRange(1, MOST_UNITS))
