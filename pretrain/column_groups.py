"""Names for groups of columns: one name for all of them, or `name:width+name:width` from the left.

`bernoulli:3+gaussian:2+softmax:4` are three binary, two real and one four-valued column, the last as four columns
that hold a one and zeros. Unit types and activations of mixed layers are written so, in Python, on the command line
and in files.
"""

from collections.abc import Collection
from typing import NamedTuple

from pretrain.exceptions import SettingsError


class ColumnGroup(NamedTuple):
    """Columns `start` to `stop` of a layer, and what they are called."""

    name: str
    columns: slice

    @property
    def width(self) -> int:
        """How many columns."""
        return self.columns.stop - self.columns.start


def group_names(text: str) -> list[str]:
    """The names in a description of columns, in order, without their widths."""
    return [part.partition(":")[0] for part in text.split("+")]


def parse_groups(owner: str, text: object, n_columns: int, choices: Collection[str]) -> list[ColumnGroup]:
    """The groups that `text` describes; one group where it is a bare name.

    Raises
    ------
    SettingsError
        If a name is none of `choices`, a width is missing or no integer, or the widths do not add up.
    """
    require_groups(owner, text, choices)
    parts = str(text).split("+")
    if len(parts) == 1 and ":" not in parts[0]:
        return [ColumnGroup(parts[0], slice(0, n_columns))]
    groups, start = [], 0
    for part in parts:
        name, _, width = part.partition(":")
        groups.append(ColumnGroup(name, slice(start, start + int(width))))
        start += int(width)
    if start != n_columns:
        raise SettingsError(f"{owner} {text!r} describe {start} columns, but there are {n_columns}.")
    return groups


def require_groups(owner: str, text: object, choices: Collection[str]) -> None:
    """Raise SettingsError unless `text` is one of `choices` or `name:width+name:width` of them."""
    wanted = f"{owner} must be one of {', '.join(choices)}"
    if not isinstance(text, str):
        raise SettingsError(f"{wanted}; got {text!r}.")
    parts = text.split("+")
    for part in parts:
        name, colon, width = part.partition(":")
        if name not in choices or not (colon or len(parts) == 1):
            raise SettingsError(f"{wanted}, or name:width+name:width of them; got {text!r}.")
        if colon and not (width.isascii() and width.isdecimal() and int(width) > 0):
            raise SettingsError(f"{owner} must have a width of 1 or more after each colon; got {text!r}.")
