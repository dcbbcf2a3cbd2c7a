"""Greedy layer-wise pretraining."""

import numpy as np
import pytest
import torch
from scipy import sparse
from stacks import pretrained, pretraining, quick, rows, same

from pretrain.exceptions import DataError, DataRangeWarning, DivergenceError, SettingsError
from pretrain.greedy import GreedyPretraining
from pretrain.scaling import Scaling
from pretrain.settings import DECODING_KINDS
from pretrain.stack import LAYER_KINDS, Stack

layer_kinds = pytest.mark.parametrize("kind", LAYER_KINDS)
N_ROWS = 23


# Greedy pretraining ---


@layer_kinds
def test_records(kind):
    run, records = pretrained(rows(n=N_ROWS), (5, 3), [quick(kind, epochs=2), quick(kind, epochs=3)])
    assert [(r["layer"], r["epoch"], r["n_epochs"]) for r in records] == [
        (0, 1, 2),
        (0, 2, 2),
        (1, 1, 3),
        (1, 2, 3),
        (1, 3, 3),
    ]
    assert {(r["stage"], r["n_layers"]) for r in records} == {("pretrain", 2)}
    assert run.finished
    assert list(run) == []


@layer_kinds
def test_layers_below_are_bit_identical_when_one_more_is_trained(kind, seed):
    X = rows(seed, N_ROWS)
    low, _ = pretrained(X, (7, 5), quick(kind), seed)
    high, _ = pretrained(X, (7, 5, 3), quick(kind), seed)
    for k in range(2):
        assert same(low.stack.layers[k], high.stack.layers[k])


@layer_kinds
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_each_layer_is_trained_on_what_transform_of_the_layers_below_returns(kind, dtype, seed):
    X = rows(seed, N_ROWS).astype(dtype)
    run = pretraining(X, (7, 5, 3), quick(kind), seed)
    checked = []
    for record in run:
        k = record["layer"]
        if k > 0 and k not in checked:
            checked.append(k)
            expected = Stack(run.layers[:k]).transform(X)
            batches = run.run.batches
            found = torch.cat([batches.batch(i).X.clone() for i in range(batches.n_batches)])
            assert torch.equal(found, torch.from_numpy(expected).float()[batches._order])
    assert checked == [1, 2]


@layer_kinds
def test_seeds(kind, seed):
    X = rows(seed, N_ROWS)
    first, _ = pretrained(X, (7, 5), quick(kind), seed)
    again, _ = pretrained(X, (7, 5), quick(kind), seed)
    other, _ = pretrained(X, (7, 5), quick(kind), seed + 2)
    assert same(first.stack, again.stack)
    assert not same(first.stack, other.stack)
    assert not torch.equal(first.stack.layers[0].weight, other.stack.layers[0].weight)


def test_settings_for_all_layers_or_one_a_layer():
    X, one = rows(n=N_ROWS), quick()
    for_all, _ = pretrained(X, (7, 5), one)
    listed, _ = pretrained(X, (7, 5), [one, one])
    assert same(for_all.stack, listed.stack)
    mixed, _ = pretrained(X, (7, 5), (one, quick("autoencoder")))
    assert [layer.kind for layer in mixed.stack.layers] == ["rbm", "autoencoder"]
    assert same(mixed.stack.layers[0], for_all.stack.layers[0])


def test_layers_share_no_state_of_training():
    # Layer 1 must not begin with the decayed rate or the momentum of layer 0.
    settings = quick(schedule="exponential", decay=0.1)
    run, records = pretrained(rows(n=N_ROWS), (7, 5), settings)
    rates = [[r["learning_rate"] for r in records if r["layer"] == k] for k in (0, 1)]
    assert rates[0] == rates[1]
    assert run.layers[0] is not run.layers[1]


@pytest.mark.parametrize(
    ("sizes", "settings", "message"),
    [
        ((7, 5), [quick()], r"settings of the stack must be one value for all layers or exactly 2, .*; got 1"),
        ((7, 5), [quick()] * 3, "got 3"),
        ((), quick(), "hidden_layer_sizes of the stack must name at least one layer"),
        ((7, 0), quick(), r"hidden_layer_sizes of the stack must be an integer >= 1 and <= 1e\+07; got 0"),
        ((7, 2.5), quick(), "got 2.5"),
        (7, quick(), "hidden_layer_sizes of the stack must be a list or a tuple, one entry a layer; got 7"),
        ("77", quick(), "must be a list or a tuple"),
    ],
)
def test_illegal_values(sizes, settings, message):
    with pytest.raises(SettingsError, match=message):
        GreedyPretraining(rows(), sizes, settings, seed=0)


def test_no_rows():
    with pytest.raises(DataError, match="X has no rows"):
        GreedyPretraining(rows(n=0), (3,), quick(), seed=0)


def test_early_stopping_has_no_validation_rows_here():
    with pytest.raises(SettingsError, match="early_stopping needs validation rows"):
        pretrained(rows(), (3,), quick(early_stopping=True))


def test_a_linear_code_is_seen_by_gaussian_units_above(seed):
    settings = [quick(hidden_units="gaussian", learning_rate=0.001), quick(learning_rate=0.001)]
    run, _ = pretrained(rows(seed, N_ROWS), (5, 3), settings, seed)
    below, above = run.stack.layers
    assert (below.hidden_units.name, above.visible_units.name) == ("gaussian", "gaussian")
    assert (below.activation, above.output_activation) == ("identity", "identity")


@layer_kinds
@pytest.mark.parametrize("batch_size", [1, 7, 23, 100])
def test_rows_that_do_not_divide_into_batches(kind, batch_size):
    run, records = pretrained(rows(n=N_ROWS), (5, 3), quick(kind, batch_size=batch_size))
    assert len(records) == 4
    assert np.isfinite(run.stack.transform(rows())).all()


@layer_kinds
@pytest.mark.parametrize("scaling", ["none", "minmax", "standard"])
def test_constant_and_all_zero_columns(kind, scaling):
    X = rows(n=N_ROWS)
    X[:, 3], X[:, 5] = 0.0, 1.0
    scaling = Scaling.fit(scaling, X)
    options = {"visible_units": "gaussian"} if kind == "rbm" and scaling.kind == "standard" else {}
    run, _ = pretrained(scaling.apply(X), (5, 3), quick(kind, learning_rate=0.01, **options), scaling=scaling)
    assert np.isfinite(run.stack.transform(X)).all()
    if kind in DECODING_KINDS:
        assert np.isfinite(run.stack.inverse_transform(run.stack.transform(X))).all()


@layer_kinds
def test_one_feature_and_one_row(kind):
    for n, n_features in ((N_ROWS, 1), (1, 5), (1, 1)):
        run, _ = pretrained(rows(n=n, n_features=n_features), (1, 2), quick(kind))
        assert run.stack.transform(rows(n=n, n_features=n_features)).shape == (n, 2)


@layer_kinds
@pytest.mark.parametrize(
    "convert", [sparse.csr_matrix, sparse.coo_matrix, sparse.lil_matrix, torch.from_numpy, np.asfortranarray]
)
def test_other_containers_of_the_rows_train_the_same_stack(kind, convert, seed):
    X = rows(seed, N_ROWS)
    X[X < 0.6] = 0
    weight = np.random.default_rng(seed).random(N_ROWS)
    dense, _ = pretrained(X, (7, 5), quick(kind), seed, sample_weight=weight)
    other, _ = pretrained(convert(X), (7, 5), quick(kind), seed, sample_weight=weight)
    assert same(dense.stack, other.stack)


@layer_kinds
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
def test_the_rows_are_left_alone(kind, dtype, seed):
    X = np.random.default_rng(seed).integers(0, 2, size=(N_ROWS, 5)).astype(dtype)
    kept = X.tobytes()
    run, _ = pretrained(X, (5, 3), quick(kind), seed)
    run.stack.transform(X)
    assert X.tobytes() == kept
    X.flags.writeable = False
    again, _ = pretrained(X, (5, 3), quick(kind), seed)
    assert same(run.stack, again.stack)


def test_data_beyond_the_range_of_bernoulli_units_warn():
    with pytest.warns(DataRangeWarning, match="Scale the data"):
        pretrained(255 * rows(), (3,), quick(epochs=0))


def test_divergence_names_the_layer():
    linear = {"activation": "identity", "reconstruction_loss": "squared_error"}
    settings = [quick(), quick("autoencoder", learning_rate=100, epochs=20, **linear)]
    with pytest.raises(DivergenceError, match=r"stage 'pretrain', layer 2, epoch \d+: .*it is 100; try 10\)"):
        pretrained(rows(n=N_ROWS), (7, 5), settings)


@layer_kinds
def test_no_epochs_leave_the_initial_weights(kind, seed):
    run, records = pretrained(rows(seed), (7, 5), quick(kind, epochs=0), seed)
    assert records == []
    assert run.finished
    assert run.stack.hidden_layer_sizes == (7, 5)
    assert run.stack.layers[0].weight.any()


def test_progress_records():
    run = GreedyPretraining(rows(n=N_ROWS), (5, 3), quick(), seed=0, device="cpu", progress_seconds=0.0)
    records = list(run)
    assert sum("progress" in record for record in records) == 2 * 2 * 3
    plain, _ = pretrained(rows(n=N_ROWS), (5, 3), quick())
    assert same(run.stack, plain.stack)


def test_pretraining_lowers_the_reconstruction_error(seed):
    X = (rows(seed, 101) > 0.5).astype(np.float32)
    X[:, 7:] = X[:, :6]  # something to learn
    for kind in DECODING_KINDS:
        rate = {"rbm": 0.1, "autoencoder": 0.05}[kind]
        _, records = pretrained(X, (11,), quick(kind, epochs=30, learning_rate=rate), seed)
        assert records[-1]["loss"] < 0.8 * records[0]["loss"], kind
