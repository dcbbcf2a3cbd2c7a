"""Centred gradients: against the formula, and by what they do not depend on."""

import numpy as np
import pytest
import torch
from chains_by_hand import Hand, assert_close, cd_phases, filled, gradients, learner_of, rows_of
from oracles import N_VISIBLE, arrays_of, fill, log_variance_of, small_rbm

from pretrain.batches import Batch
from pretrain.centering import OFFSET_RATE

VISIBLE = ("bernoulli", "spin", "gaussian", "gaussian_learned", "softmax", "noisy_relu")


@pytest.mark.parametrize("visible_units", VISIBLE)
def test_centred_updates_equal_the_formula(visible_units, seed):
    rbm = small_rbm(seed, visible_units, dtype=torch.float32)
    learner = learner_of(rbm, seed, centered=True)
    hand = Hand(rbm, torch.Generator().manual_seed(seed))
    offsets = None
    for rows in (11, 7):
        v = rows_of(rbm, rows, rows)
        learner.fill_gradients(Batch(v))
        data_v, data_h, chain_v, chain_h = cd_phases(hand, v.numpy().astype(float))
        means = data_v.mean(axis=0), data_h.mean(axis=0)
        offsets = (
            means if offsets is None else [o + OFFSET_RATE * (m - o) for o, m in zip(offsets, means, strict=True)]
        )
        m, a = offsets
        dw = (chain_h - a).T @ (chain_v - m) / rows - (data_h - a).T @ (data_v - m) / rows
        db, dc = (chain_v - data_v).mean(axis=0), (chain_h - data_h).mean(axis=0)
        assert_close(gradients(rbm), (dw, db - dw.T @ a, dc - dw @ (m / hand.variance)))


def test_centred_learning_does_not_depend_on_which_state_is_called_one(seed):
    # v -> 1 - v is undone by W -> -W, b -> -b, c -> c + W 1; an update of the one model must be that of the other.
    found = {}
    for centered in (True, False):
        v = torch.rand(11, N_VISIBLE, generator=torch.Generator().manual_seed(seed)).round()
        rbm, flipped = small_rbm(seed, dtype=torch.float32), small_rbm(seed, dtype=torch.float32)
        weight, b, c = arrays_of(rbm)
        fill(flipped, weight=-weight, visible_bias=-b, hidden_bias=c + weight.sum(axis=1))
        for model, rows in ((rbm, v), (flipped, 1 - v)):
            # Only where nothing is drawn do the two see the same chains.
            learner_of(model, seed, gradient_estimator="mean_field", centered=centered).fill_gradients(Batch(rows))
        (dw, db, dc), (dw_flipped, db_flipped, dc_flipped) = gradients(rbm), gradients(flipped)
        found[centered] = max(
            np.abs(dw_flipped + dw).max(),
            np.abs(db_flipped + db).max(),
            np.abs(dc_flipped - (dc + dw.sum(axis=1))).max(),
        )
    assert found[True] < 1e-5
    assert found[False] > 1e-2


@pytest.mark.parametrize("visible_units", ["gaussian", "gaussian_learned"])
def test_centred_learning_does_not_depend_on_where_zero_is(visible_units, seed):
    # v -> v + t is undone by b -> b + t and c -> c - W t / s.
    shift = torch.tensor([3.0, -2.0, 5.0])
    for centered in (True, False):
        rbm, moved = (small_rbm(seed, visible_units, dtype=torch.float32) for _ in range(2))
        variance = np.exp(log_variance_of(rbm))
        weight, b, c = arrays_of(rbm)
        fill(moved, visible_bias=b + shift.numpy(), hidden_bias=c - weight @ (shift.numpy() / variance))
        v = rows_of(rbm, 11, seed)
        for model, rows in ((rbm, v), (moved, v + shift)):
            learner_of(model, seed, gradient_estimator="mean_field", centered=centered).fill_gradients(Batch(rows))
        (dw, db, dc), (dw_moved, db_moved, dc_moved) = gradients(rbm), gradients(moved)
        close = [
            np.allclose(dw, dw_moved, atol=1e-4),
            np.allclose(db, db_moved, atol=1e-4),
            np.allclose(dc - dw @ (shift.numpy() / variance), dc_moved, atol=1e-3),
        ]
        assert all(close) == centered


def test_automatic_centring_is_for_gaussian_data():
    for units, centred in (("bernoulli", False), ("spin", False), ("gaussian", True), ("gaussian_learned", True)):
        rbm = small_rbm(0, units, dtype=torch.float32)
        batch = Batch(rows_of(rbm, 5, 0))
        automatic, chosen = (filled(rbm, 0, batch, centered=value) for value in ("auto", centred))
        other = filled(rbm, 0, batch, centered=not centred)
        assert torch.equal(automatic["weight"], chosen["weight"])
        assert not torch.allclose(automatic["hidden_bias"], other["hidden_bias"])
