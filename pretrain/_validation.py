"""One sentence for every illegal value: which parameter, of what, what is legal, what came."""

from collections.abc import Collection, Sequence
from typing import Any, TypeVar

import numpy as np

from pretrain.exceptions import SettingsError

T = TypeVar("T")


def require_choice(owner: str, name: str, value: Any, choices: Collection[str]) -> None:
    """Raise SettingsError unless `value` is one of `choices`."""
    if not isinstance(value, str) or value not in choices:
        raise SettingsError(f"{name} of {owner} must be one of {', '.join(choices)}; got {value!r}.")


def require_number(
    owner: str,
    name: str,
    value: Any,
    *,
    at_least: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
    below: float | None = None,
    integer: bool = False,
) -> None:
    """Raise SettingsError unless `value` is a number (an integer, if asked) inside the given bounds."""
    legal_type = not isinstance(value, bool) and hasattr(value, "__float__") and not hasattr(value, "__len__")
    if legal_type and integer:
        legal_type = hasattr(value, "__index__")
    inside = legal_type and (
        (at_least is None or value >= at_least)
        and (above is None or value > above)
        and (at_most is None or value <= at_most)
        and (below is None or value < below)
        and value == value
        and abs(value) != float("inf")
    )
    if inside:
        return
    bounds = [(">=", at_least), (">", above), ("<=", at_most), ("<", below)]
    wanted = " and ".join(f"{sign} {bound:g}" for sign, bound in bounds if bound is not None)
    kind = "an integer" if integer else "a finite number"
    raise SettingsError(f"{name} of {owner} must be {kind} {wanted}".rstrip() + f"; got {value!r}.")


def require_flag(owner: str, name: str, value: Any) -> None:
    """Raise SettingsError unless `value` is True or False (Python's or NumPy's)."""
    if not isinstance(value, bool | np.bool_):
        raise SettingsError(f"{name} of {owner} must be True or False; got {value!r}.")


def require_sequence(owner: str, name: str, value: Any) -> None:
    """Raise SettingsError unless `value` is a list, a tuple or a one-dimensional array."""
    if not isinstance(value, list | tuple) and getattr(value, "ndim", None) != 1:
        raise SettingsError(f"{name} of {owner} must be a list or a tuple, one entry a layer; got {value!r}.")


def one_per_layer(owner: str, name: str, value: T | Sequence[T], n_layers: int) -> list[T]:
    """A scalar stands for every layer; a list or tuple must have exactly one entry a layer."""
    if not isinstance(value, list | tuple):
        return [value] * n_layers  # type: ignore[list-item]
    if len(value) != n_layers:
        raise SettingsError(
            f"{name} of {owner} must be one value for all layers or exactly {n_layers}, one a layer; "
            f"got {len(value)}: {list(value)!r}."
        )
    return list(value)
