"""Greedy pretraining: columns that are odd, weights of rows, and figures of the layers in training."""

import numpy as np
import pytest
import torch
from scipy import sparse
from stacks import pretrained, pretraining, quick, rows, same

from pretrain.columns import column_range
from pretrain.exceptions import DataError
from pretrain.greedy import GreedyPretraining
from pretrain.settings import DECODING_KINDS
from pretrain.stack import LAYER_KINDS

layer_kinds = pytest.mark.parametrize("kind", LAYER_KINDS)
N_ROWS = 23


# What the columns hold ---


UNITS = (
    "bernoulli",
    "gaussian",
    "gaussian_learned",
    "noisy_relu",
    "spin",
    "softmax:5+bernoulli:8",
    "replicated_softmax",
)


@pytest.mark.parametrize("bias", ["zero", "data"])
@pytest.mark.parametrize("value", [0.0, 1.0])
@pytest.mark.parametrize("units", UNITS)
def test_constant_columns_for_every_unit_type(units, value, bias):
    X = (rows(n=N_ROWS) > 0.5).astype(np.float32)
    if units == "spin":
        X, value = 2 * X - 1, 2 * value - 1
    if units.startswith("softmax"):  # a category that is never, or always, taken
        X[:, :5] = np.eye(5)[np.zeros(N_ROWS, dtype=int) if value else np.arange(N_ROWS) % 4]
    X[:, 7] = value
    settings = quick(visible_units=units, initial_visible_bias=bias, learning_rate=0.01, epochs=5)
    run, records = pretrained(X, (5, 3), settings)
    assert all(np.isfinite(record["loss"]) for record in records)
    assert all(p.isfinite().all() for p in run.stack.parameters())
    assert np.isfinite(run.stack.transform(X)).all()


def test_all_zero_rows_of_counts_and_of_others():
    for units in ("bernoulli", "gaussian", "gaussian_learned", "noisy_relu", "replicated_softmax"):
        X = np.zeros((N_ROWS, 5), dtype=np.float32)
        X[3] = 1  # one word of each
        run, _ = pretrained(X, (3,), quick(visible_units=units, initial_visible_bias="data", learning_rate=0.01))
        assert all(p.isfinite().all() for p in run.stack.parameters()), units


@pytest.mark.parametrize(
    ("units", "column", "message"),
    [
        (
            "softmax:3+bernoulli:10",
            [1, 1, 0],
            "a row of a softmax group must sum to 1 .one-hot columns.; one sums to 2",
        ),
        ("softmax:3+bernoulli:10", [0, 0, 0], "one sums to 0"),
        ("replicated_softmax", [0.5, 1, 0], "replicated_softmax units count words: whole numbers, 0 or more"),
    ],
)
@pytest.mark.parametrize("convert", [np.asarray, sparse.csr_matrix])
def test_rows_that_the_units_cannot_stand_for(units, column, message, convert):
    X = np.zeros((700, 13), dtype=np.float32)
    X[:, 0] = 1
    X[601, :3] = column  # beyond the first rows that are looked at together
    with pytest.raises(DataError, match=f"X does not fit visible_units={units!r}: .*{message}".replace("+", ".")):
        pretrained(convert(X), (3,), quick(visible_units=units))


def test_the_range_of_every_column(seed):
    X = np.random.default_rng(seed).normal(size=(N_ROWS, 5))
    X[X < 0.2] = 0
    for convert in (np.asarray, np.asfortranarray, sparse.csr_matrix, sparse.coo_matrix, torch.from_numpy):
        low, high = column_range(convert(X))
        np.testing.assert_array_equal(low, X.min(axis=0))
        np.testing.assert_array_equal(high, X.max(axis=0))
    low, high = column_range(X > 0)
    assert low.dtype == high.dtype == np.float64


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("convert", [np.asarray, sparse.csr_matrix, torch.from_numpy])
def test_values_that_are_not_finite(convert, value, whole):
    X = rows(n=N_ROWS)
    X[: None if whole else 3, 2] = value
    with pytest.raises(DataError, match=r"X holds values that are NaN or infinite in column 2\. Fill or drop them"):
        GreedyPretraining(convert(X), (3,), quick(), seed=0)


def test_visible_biases_may_begin_at_the_data(seed):
    X = rows(seed, 700)
    for convert in (np.asarray, sparse.csr_matrix):
        run, _ = pretrained(convert(X), (3, 2), quick(initial_visible_bias="data", epochs=0), seed)
        mean = X.astype(float).mean(axis=0)
        bias = run.stack.layers[0].visible_bias.detach()
        np.testing.assert_allclose(bias, np.log(mean / (1 - mean)), rtol=1e-5, atol=1e-6)
        codes = run.stack.layers[0].encode(torch.from_numpy(X)).mean(dim=0)
        torch.testing.assert_close(run.stack.layers[1].visible_bias, torch.logit(codes), rtol=1e-4, atol=1e-5)


# Weights of rows ---


@layer_kinds
def test_weights_of_rows(kind, seed):
    X = rows(seed, N_ROWS)
    plain, _ = pretrained(X, (5, 3), quick(kind), seed)
    equal, _ = pretrained(X, (5, 3), quick(kind), seed, sample_weight=np.full(N_ROWS, 3.0))
    other, _ = pretrained(X, (5, 3), quick(kind), seed, sample_weight=np.arange(N_ROWS))
    for one, two in zip(plain.stack.parameters(), equal.stack.parameters(), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-5)
    assert not any(same(plain.stack.layers[k], other.stack.layers[k]) for k in range(2))


@layer_kinds
def test_rows_of_weight_zero_teach_nothing(kind, seed):
    # Training sees each row in its place: other values in rows without weight change no layer, and no record.
    X, weight = rows(seed, N_ROWS), np.r_[np.zeros(5), np.ones(N_ROWS - 5)]
    other = X.copy()
    other[:5] = rows(seed + 7, 5)
    one, first = pretrained(X, (5, 3), quick(kind), seed, sample_weight=weight)
    two, second = pretrained(other, (5, 3), quick(kind), seed, sample_weight=weight)
    for a, b in zip(one.stack.parameters(), two.stack.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    assert [r["loss"] for r in first] == pytest.approx([r["loss"] for r in second], rel=1e-4)


def test_weights_that_are_none():
    with pytest.raises(DataError, match="sample_weight must have one entry a row"):
        pretrained(rows(n=N_ROWS), (3,), quick(), sample_weight=np.ones(5))


# Monitoring ---


FIGURES = {"dead_units", "saturated_units", "weight_norm", "gradient_norm"}


@layer_kinds
@pytest.mark.parametrize("convert", [np.asarray, sparse.csr_matrix, torch.from_numpy])
def test_monitoring_changes_no_bit_of_the_training(kind, convert, seed):
    X = rows(seed, N_ROWS, 41)  # more features than a stochastic pseudo-likelihood takes
    plain, records = pretrained(X, (7, 5), quick(kind), seed)
    for options in ({"monitor": True}, {"validation_rows": convert(rows(seed + 1, 11, 41))}):
        watched, more = pretrained(X, (7, 5), quick(kind), seed, **options)
        assert same(plain.stack, watched.stack)
        for record, other in zip(records, more, strict=True):
            added = {*other} - {*record}
            assert added >= FIGURES
            assert ("reconstruction_error" in added) == (kind in DECODING_KINDS)
            assert ("pseudo_log_likelihood" in added) == (kind == "rbm")
            assert ("free_energy_gap" in added) == (kind == "rbm" and "validation_rows" in options)
            assert all(np.isfinite(other[name]) for name in added)
            assert {n: other[n] for n in record if n != "seconds"} == {n: record[n] for n in record if n != "seconds"}


@layer_kinds
def test_figures_are_of_the_layer_in_training(kind, seed):
    X, V = rows(seed, N_ROWS), rows(seed + 1, 11)
    run = pretraining(X, (7, 5), quick(kind), seed, validation_rows=V)
    for record in run:
        stack = run.stack
        seen = torch.from_numpy(V) if record["layer"] == 0 else stack.layers[0].encode(torch.from_numpy(V))
        layer = stack.layers[record["layer"]]
        if kind in DECODING_KINDS:
            error = (layer.decode(layer.encode(seen)) - seen).square().sum(dim=1).mean().item()
            assert record["reconstruction_error"] == pytest.approx(error, rel=1e-5)
        assert record["weight_norm"] == pytest.approx(layer.weight.norm().item(), rel=1e-5)


def test_records_have_no_figures_unless_they_are_asked_for():
    _, records = pretrained(rows(n=N_ROWS), (5,), quick())
    assert not FIGURES & {*records[0]}


def test_the_first_figure_stops_early():
    settings = quick(early_stopping=True, n_iter_no_change=1, epochs=30, learning_rate=1.0)
    _, records = pretrained(rows(n=N_ROWS), (7,), settings, validation_rows=rows(1, 11))
    errors = [record["reconstruction_error"] for record in records]
    assert len(errors) < 30
    assert errors.index(min(errors)) == len(errors) - 2


def test_records_hold_the_gibbs_steps_that_grow():
    settings = quick(initial_gibbs_steps=1, n_gibbs_steps=4, epochs=4)
    _, records = pretrained(rows(n=N_ROWS), (5, 3), settings)
    assert [record["n_gibbs_steps"] for record in records] == [1, 2, 3, 4] * 2
    assert "n_gibbs_steps" not in pretrained(rows(n=N_ROWS), (5,), quick(n_gibbs_steps=2))[1][0]
