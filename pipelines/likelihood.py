"""The likelihood of test rows under a stack of RBMs or a deep belief net: annealing from both sides, and a bound."""

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from pipelines.belief_nets import belief_net
from pipelines.evaluation import module_of
from pipelines.preparation import PreparedData
from pretrain import DBN
from pretrain.batches import as_dense_tensor
from pretrain.column_groups import parse_groups
from pretrain.columns import column_mean
from pretrain.dbn_bound import log_weights
from pretrain.device import resolve_device
from pretrain.exceptions import SettingsError
from pretrain.likelihood import ais_log_partition, mean_of_rows, reverse_ais_log_partition
from pretrain.random_streams import BernoulliSampler, RandomStreams
from pretrain.stack import map_rows
from pretrain.unit_types import UNIT_TYPES

REVERSE_BURN_IN = 5_000
BOUND_ROWS = 1_000  # at a time


def measure_likelihood(
    model: Any,
    prepared: PreparedData,
    record: Mapping[str, Any],
    *,
    seed: int,
    device: str,
    n_runs: int,
    n_temperatures: int,
) -> dict[str, Any]:
    """Mean log-likelihood of the test rows, in nats.

    Rows are binarised, each value being the probability of a one, if the RBM was trained on rows drawn so.

    Parameters
    ----------
    model : Stack of RBMs, DBN, or a fitted estimator that has one
        Of a single RBM the likelihood is measured, of deeper nets its variational lower bound.
    prepared : PreparedData
        With the model's scaling; training rows begin the chains of the reverse estimate.
    record : mapping
        The provenance of the model's file, which says whether it was trained on binarised rows.
    n_runs, n_temperatures : int
        Of annealed importance sampling.

    Returns
    -------
    dict
        `test_log_likelihood`, its `standard_error` (over rows and annealing runs), the `spread` over rows,
        `log_partition` and `reverse_log_partition` with their errors, `reverse_test_log_likelihood`, `binarized`,
        `between_states` (share of the values of discrete units that are none of their states: with any, the figures
        are scores and no likelihoods), `bound` (whether it is a lower bound), `n_test`, `seconds`.

    Raises
    ------
    SettingsError
        If the model has no likelihood that can be measured so.
    """
    net = _net(module_of(model)).to(resolve_device(device))
    rbm = net.memory
    started = time.perf_counter()
    # A fitted estimator says it itself, a stack or a net in its provenance.
    binarize = bool(getattr(model, "binarize", _settings(record).get("binarize", False)))
    streams, place = RandomStreams(seed), rbm.weight.device
    test = _rows(prepared.scaling.apply(prepared.raw_test_rows()), binarize, streams, "test", place)
    train = prepared.train_rows()
    seen = map_rows(net, DBN.memory_rows, train, rbm.n_visible) if net.layers or net.n_classes else train
    mean = torch.from_numpy(column_mean(seen)).to(rbm.weight)
    chosen = np.random.default_rng(streams.integer_seed("likelihood", layer=0)).choice(
        len(train), size=min(n_runs, len(train)), replace=False
    )
    starts = net.memory_rows(_rows(train[chosen], binarize, streams, "start", place)).detach()
    generator = streams.generator("likelihood", layer=1, device=place)
    annealing: dict[str, Any] = {"base_mean": mean, "n_temperatures": n_temperatures, "generator": generator}
    forward = ais_log_partition(rbm, n_runs=n_runs, **annealing)
    reverse = reverse_ais_log_partition(rbm, starts, n_burn_in=REVERSE_BURN_IN, **annealing)
    drawn = streams.generator("likelihood", layer=4, device=place)
    parts = [log_weights(net, rows, generator=drawn) for rows in test.split(BOUND_ROWS)]
    found, backwards = (mean_of_rows(torch.cat(parts), log_partition) for log_partition in (forward, reverse))
    return {
        "test_log_likelihood": found.mean,
        "standard_error": found.standard_error,
        "spread": found.spread,
        "log_partition": forward.value,
        "log_partition_error": forward.standard_error,
        "reverse_log_partition": reverse.value,
        "reverse_log_partition_error": reverse.standard_error,
        "reverse_test_log_likelihood": backwards.mean,
        "bound": len(net.layers) > 0,
        "binarized": binarize,
        "between_states": _between_states(net, test),
        "n_runs": n_runs,
        "n_temperatures": n_temperatures,
        "n_burn_in": REVERSE_BURN_IN,
        "n_test": len(test),
        "likelihood_seconds": time.perf_counter() - started,
    }


def _between_states(net: DBN, rows: torch.Tensor) -> float:
    groups = parse_groups("visible_units", net.data_units, net.n_visible, UNIT_TYPES)
    between = [rows[:, g.columns] != rows[:, g.columns].round() for g in groups if UNIT_TYPES[g.name].discrete]
    return float(torch.cat(between, dim=1).double().mean()) if between else 0.0


def _net(model: Any) -> DBN:
    """The model as a deep belief net: a single RBM is one without directed layers."""
    net = belief_net(model)
    if net.data_units == "replicated_softmax":
        raise SettingsError("--likelihood is not for replicated softmax units: every length of a row has its own Z.")
    return net


def _settings(record: Mapping[str, Any]) -> Mapping[str, Any]:
    layers = (record.get("settings") or {}).get("layers") or [{}]
    return layers[0]


def _rows(X: np.ndarray, binarize: bool, streams: RandomStreams, which: str, device: torch.device) -> torch.Tensor:
    rows = as_dense_tensor(X).to(device)
    if not binarize:
        return rows
    layer = {"test": 2, "start": 3}[which]
    generator = streams.generator("likelihood", layer=layer, device=device)
    return BernoulliSampler(generator, exact=True).sample(rows, torch.empty_like(rows))
