"""Missing values: NaN entries filled by Gibbs sampling in an RBM with the known entries clamped."""

from typing import TYPE_CHECKING

import torch

from pretrain._validation import require_number
from pretrain.conditionals import Conditionals

if TYPE_CHECKING:
    from pretrain.rbm import RBM

GIBBS_STEPS = 10
MEAN_FIELD_STEPS = 20


@torch.no_grad()
def fill_missing_(
    rows: torch.Tensor, conditionals: Conditionals, *, n_gibbs_steps: int = GIBBS_STEPS, average: int = 0
) -> torch.Tensor:
    """Overwrite the NaN entries of rows, (batch, n_visible), with draws from p(missing | known); return the rows.

    The chain starts at the visible means with all hidden states zero.

    Parameters
    ----------
    rows : Tensor of shape (batch, n_visible)
    conditionals : Conditionals
        Loaded.
    n_gibbs_steps : int
    average : int
        So many last steps are averaged, as conditional means, and the average stands for the draw: an estimate of
        E[missing | known].
    """
    missing = torch.isnan(rows)
    incomplete = missing.any(dim=1)
    if not bool(incomplete.any()):
        return rows
    missing, v = missing[incomplete], rows[incomplete]
    h_mean = conditionals.empty(len(v), conditionals.rbm.n_hidden)
    h, v_mean, drawn = torch.zeros_like(h_mean), torch.empty_like(v), torch.empty_like(v)
    v = torch.where(missing, conditionals.visible(h, v_mean), v)
    total = torch.zeros_like(v)
    for step in range(n_gibbs_steps):
        conditionals.hidden(v, h_mean, h)
        conditionals.visible(h, v_mean, drawn)
        v = torch.where(missing, drawn, v)
        if step >= n_gibbs_steps - average:
            total += v_mean
    if average:
        v = torch.where(missing, total / min(average, n_gibbs_steps), v)
    rows[incomplete] = v
    return rows


def impute(
    rbm: "RBM", rows: torch.Tensor, *, generator: torch.Generator, n_gibbs_steps: int = 200, average: int = 100
) -> torch.Tensor:
    """A copy of rows, (batch, n_visible), in which NaN entries are estimates of E[missing | known].

    Parameters
    ----------
    rbm : RBM
    rows : Tensor of shape (batch, n_visible)
    generator : torch.Generator
        On the device of the RBM.
    n_gibbs_steps, average : int
        Gibbs steps with the known entries clamped, and how many of the last are averaged; with `average` 0 the
        entries are draws from p(missing | known).
    """
    require_number("impute", "n_gibbs_steps", n_gibbs_steps, at_least=1, integer=True)
    require_number("impute", "average", average, at_least=0, integer=True)
    conditionals = Conditionals(rbm, generator=generator, dtype=rows.dtype)
    conditionals.load()
    rows = rows.clone(memory_format=torch.contiguous_format)  # the layout decides the last bits of a product
    return fill_missing_(rows, conditionals, n_gibbs_steps=n_gibbs_steps, average=average)


@torch.no_grad()
def fill_with_means(rbm: "RBM", rows: torch.Tensor, n_steps: int = MEAN_FIELD_STEPS) -> torch.Tensor:
    """A copy of rows, (batch, n_visible), whose NaN entries are mean-field means given the known ones.

    Nothing is drawn and every row is filled by itself, as codes of rows should be; the means are less exact than
    those of `impute`.
    """
    missing = torch.isnan(rows)
    v = torch.where(missing, rbm.prop_down(rows.new_zeros(len(rows), rbm.n_hidden)), rows)
    for _ in range(n_steps):
        v = torch.where(missing, rbm.prop_down(rbm.prop_up(v)), v)
    return v
