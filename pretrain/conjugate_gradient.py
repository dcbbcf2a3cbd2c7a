"""Nonlinear conjugate gradients on large batches: how the deep autoencoders of 2006 were fine-tuned.

References
----------
.. [1] Hinton, G. E. & Salakhutdinov, R. R. (2006). Reducing the dimensionality of data with neural networks.
       Science 313, 504-507, supporting material: three line searches on each batch of 1,000 rows.
.. [2] Nocedal, J. & Wright, S. J. (2006). Numerical optimization, chapter 5.
"""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from scipy.optimize import minimize

LINE_SEARCHES = 3


class ConjugateGradient(torch.optim.Optimizer):
    """Polak-Ribiere conjugate gradients by SciPy: a few line searches a step, from the gradient anew each step.

    Parameters
    ----------
    params : iterable of Parameter
    n_line_searches : int
        Line searches on one batch.
    """

    def __init__(self, params: Iterable[torch.nn.Parameter], *, n_line_searches: int = LINE_SEARCHES) -> None:
        super().__init__(params, {"n_line_searches": n_line_searches})

    def step(self, closure: Callable[[], float]) -> float:  # type: ignore[override]
        """Minimise the closure's loss along a few directions; return the loss before.

        Parameters
        ----------
        closure : callable
            Computes the loss, writes its gradient into `.grad`, and returns the loss as a float.
        """
        parameters = [p for group in self.param_groups for p in group["params"]]
        losses: list[float] = []

        def loss_and_gradient(flat: np.ndarray) -> tuple[float, np.ndarray]:
            _write(parameters, flat)
            losses.append(closure())
            gradient = [(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in parameters]
            return losses[-1], torch.cat(gradient).double().numpy(force=True)

        start = torch.cat([p.detach().flatten() for p in parameters]).double().numpy(force=True)
        options: dict[str, Any] = {"maxiter": self.param_groups[0]["n_line_searches"]}
        found = minimize(loss_and_gradient, start, jac=True, method="CG", options=options)
        _write(parameters, found.x)
        return losses[0]


@torch.no_grad()
def _write(parameters: list[torch.nn.Parameter], flat: np.ndarray) -> None:
    start = 0
    for parameter in parameters:
        values = torch.from_numpy(flat[start : start + parameter.numel()])
        parameter.copy_(values.view_as(parameter))
        start += parameter.numel()
