"""Missing values: draws and averages against enumeration, and pretraining on rows with holes."""

import numpy as np
import pytest
import torch
from oracles import exact_model, hidden_states, joint_energy, log_variance_of, small_rbm, visible_states
from scipy import sparse
from scipy.stats import chisquare
from stacks import pretrained, quick, same

from pretrain.columns import column_range
from pretrain.conditionals import Conditionals
from pretrain.exceptions import DataError, SettingsError
from pretrain.greedy import GreedyPretraining
from pretrain.missing_values import fill_missing_, impute
from pretrain.settings import RBMSettings

NAN = np.nan
# Visible units and a row with holes; a category is missing as a whole.
HOLES = {
    "bernoulli": [1, NAN, NAN],
    "spin": [NAN, -1, NAN],
    "softmax": [NAN, NAN, NAN],
    "spin:1+softmax:2+bernoulli:1": [NAN, NAN, NAN, 1],
    "softmax:2+softmax:3": [0, 1, NAN, NAN, NAN],
}
REAL = {
    "gaussian": [0.5, NAN, NAN],
    "gaussian_learned": [NAN, 1, NAN],
    "bernoulli:1+gaussian:1+softmax:2": [1, NAN, 0, 1],
}


def given_the_known(rbm, row):
    """All states that agree with the known entries, and their probabilities."""
    states, p = exact_model(rbm)
    known = ~np.isnan(row)
    agree = (states[:, known] == row[known]).all(axis=1)
    return states[agree], p[agree] / p[agree].sum()


def drawn(rbm, row, n, seed, **options):
    conditionals = Conditionals(rbm, generator=torch.Generator().manual_seed(seed), dtype=torch.float32)
    conditionals.load()
    return fill_missing_(torch.tensor([row], dtype=torch.float32).repeat(n, 1), conditionals, **options).numpy()


@pytest.mark.parametrize("visible_units", HOLES)
@pytest.mark.parametrize("hidden_units", ["bernoulli", "spin"])
def test_draws_follow_the_conditional(visible_units, hidden_units, seed):
    rbm, exact = (small_rbm(seed, visible_units, hidden_units, dtype=d) for d in (torch.float32, torch.float64))
    row = np.array(HOLES[visible_units], dtype=float)
    states, p = given_the_known(exact, row)
    found = drawn(rbm, HOLES[visible_units], 20_000, seed, n_gibbs_steps=40)
    counts = [(found == state).all(axis=1).sum() for state in states]
    assert sum(counts) == len(found)
    assert chisquare(counts, len(found) * p).pvalue > 1e-4


def expectation_of_real_values(exact, row):
    """E[v | known] by sums over the hidden states, each of which makes the visible units independent."""
    hidden, _ = hidden_states(exact)
    known = ~np.isnan(row)
    visible, _ = visible_states(exact)
    states = visible[(np.abs(visible[:, known] - row[known]) < 1e-9).all(axis=1)]
    if not len(states):  # real values lie between the points of the grid: put the known ones there
        rest = np.unique(visible[:, ~known], axis=0)
        states = np.empty((len(rest), len(row)))
        states[:, known], states[:, ~known] = row[known], rest
    p = np.exp(-joint_energy(exact, states, hidden)).sum(axis=1)
    return (p / p.sum()) @ states


@pytest.mark.parametrize("visible_units", [*HOLES, *REAL])
def test_averages_approach_the_conditional_expectation(visible_units, seed):
    rbm, exact = (small_rbm(seed, visible_units, dtype=d) for d in (torch.float32, torch.float64))
    row = np.array({**HOLES, **REAL}[visible_units], dtype=float)
    rows = torch.tensor(np.array([row] * 200)).float()
    found = impute(rbm, rows, generator=torch.Generator().manual_seed(seed), n_gibbs_steps=400, average=300)
    expected = expectation_of_real_values(exact, row)
    spread = found.std(dim=0).numpy()
    np.testing.assert_allclose(found.double().mean(dim=0), expected, atol=0.03)
    assert (spread < 0.3).all()  # of averages, not of draws


def test_draws_of_real_values_have_the_conditional_spread(seed):
    # With one hidden state alone, v given h is N(b + W^T h, s) whatever else is known.
    rbm = small_rbm(seed, "gaussian_learned", dtype=torch.float32)
    with torch.no_grad():
        rbm.hidden_bias.copy_(torch.tensor([300.0, -300.0]))
    found = drawn(rbm, REAL["gaussian_learned"], 20_000, seed)
    mean = (rbm.visible_bias + rbm.weight[0]).detach().numpy()
    deviation = np.exp(log_variance_of(rbm) / 2)
    for k in (0, 2):
        assert found[:, k].mean() == pytest.approx(mean[k], abs=5 * deviation[k] / np.sqrt(20_000))
        assert found[:, k].std() == pytest.approx(deviation[k], rel=0.03)
    assert (found[:, 1] == 1).all()


@pytest.mark.parametrize("average", [0, 5, 1000])
def test_known_entries_and_complete_rows_are_untouched(average, seed):
    rbm = small_rbm(seed, "gaussian", dtype=torch.float32)
    rows = torch.randn(7, 3, generator=torch.Generator().manual_seed(seed))
    holes = torch.zeros(7, 3, dtype=torch.bool)
    holes[2, 0] = holes[5, 1] = holes[5, 2] = True
    given = rows.masked_fill(holes, torch.nan)
    kept = given.clone()
    found = impute(rbm, given, generator=torch.Generator().manual_seed(seed), n_gibbs_steps=10, average=average)
    assert torch.equal(given.nan_to_num(-99), kept.nan_to_num(-99))
    assert torch.equal(found[~holes], rows[~holes])
    assert found.isfinite().all()
    assert not torch.equal(found, rows)


def test_no_more_steps_are_averaged_than_there_are(seed):
    rbm, row = small_rbm(seed, dtype=torch.float32), torch.tensor([HOLES["bernoulli"]])
    found = [
        impute(rbm, row, generator=torch.Generator().manual_seed(seed), n_gibbs_steps=10, average=average)
        for average in (10, 1000)
    ]
    assert torch.equal(*found)


def test_complete_rows_draw_nothing():
    rbm, generator = small_rbm(0, dtype=torch.float32), torch.Generator().manual_seed(3)
    rows, before = torch.ones(5, 3), generator.get_state()
    assert torch.equal(impute(rbm, rows, generator=generator), rows)
    assert torch.equal(generator.get_state(), before)


# In training ---


def data_with_holes(seed, n=40, kind="bernoulli"):
    rng = np.random.default_rng(seed)
    X = (rng.random((n, 6)) > 0.5).astype(np.float32)
    if kind == "spin":
        X = 2 * X - 1
    if kind.startswith("softmax"):
        X[:, :3] = np.eye(3)[rng.integers(3, size=n)]
        X[rng.random(n) < 0.2, :3] = NAN
        X[:, 3:][rng.random((n, 3)) < 0.2] = NAN
    else:
        X[rng.random(X.shape) < 0.2] = NAN
    return X


def rbm_settings(kind, **options):
    return quick(visible_units=kind, missing="gibbs", learning_rate=0.01, **options)


@pytest.mark.parametrize("estimator", ["cd", "mean_field", "pcd", "fast_pcd", "tempering"])
@pytest.mark.parametrize(
    "kind", ["bernoulli", "spin", "gaussian", "gaussian_learned", "noisy_relu", "softmax:3+bernoulli:3"]
)
def test_pretraining_with_holes(kind, estimator, seed):
    X = data_with_holes(seed, kind=kind)
    kept = X.tobytes()
    run = GreedyPretraining(
        X,
        (5, 3),
        rbm_settings(kind, gradient_estimator=estimator),
        seed=seed,
        device="cpu",
        sample_weight=np.ones(40),
    )
    for record in run:
        assert np.isfinite(record["loss"])
        if record["layer"] == 1:
            codes = torch.cat([run.run.batches.batch(i).X.clone() for i in range(run.run.batches.n_batches)])
            assert codes.isfinite().all()
    assert all(p.isfinite().all() for p in run.stack.parameters())
    assert X.tobytes() == kept


def test_holes_are_drawn_anew_by_what_the_model_knows(seed):
    # Two columns that are always alike: where one is known the other is, too.
    rng = np.random.default_rng(seed)
    X = np.repeat((rng.random((200, 1)) > 0.5).astype(np.float32), 4, axis=1)
    X[rng.random(X.shape) < 0.25] = NAN
    run, _ = pretrained(X, (3,), quick(missing="gibbs", epochs=60, learning_rate=0.1), seed)
    given = torch.tensor([[1.0, NAN, 1, NAN], [0, NAN, 0, NAN]])
    found = impute(run.stack.layers[0], given, generator=torch.Generator().manual_seed(seed))
    assert (found[0] > 0.8).all()
    assert (found[1] < 0.2).all()


def test_sparse_rows_and_tensors_with_holes(seed):
    X = data_with_holes(seed)
    plain, _ = pretrained(X, (5, 3), rbm_settings("bernoulli"), seed)
    for convert in (sparse.csr_matrix, sparse.coo_matrix, torch.from_numpy, np.asfortranarray):
        other, _ = pretrained(convert(X), (5, 3), rbm_settings("bernoulli"), seed)
        assert same(plain.stack, other.stack)


def test_the_bias_of_the_data_is_that_of_the_known_values():
    X = np.array([[1, NAN], [0, 1], [NAN, 1], [1, NAN], [1, 0]], dtype=np.float32)
    settings = quick(missing="gibbs", initial_visible_bias="data", epochs=0)
    run, _ = pretrained(X, (2,), settings)
    mean = np.array([3 / 4, 2 / 3])
    np.testing.assert_allclose(run.stack.layers[0].visible_bias.detach(), np.log(mean / (1 - mean)), rtol=1e-5)


@pytest.mark.parametrize("convert", [np.asarray, sparse.csr_matrix, torch.from_numpy])
def test_holes_are_a_mistake_unless_they_are_announced(convert):
    X = data_with_holes(0)
    X[:, 0] = 1
    column = int(np.flatnonzero(np.isnan(X).any(axis=0))[0])
    for settings in (quick(), quick("autoencoder")):
        with pytest.raises(DataError, match=f"X holds values that are NaN or infinite in column {column}.*'gibbs'"):
            GreedyPretraining(convert(X), (3,), settings, seed=0)


@pytest.mark.parametrize("convert", [np.asarray, sparse.csr_matrix, torch.from_numpy])
@pytest.mark.parametrize(("value", "problem"), [(NAN, "no known value"), (np.inf, "infinite values")])
def test_columns_that_cannot_be_filled(convert, value, problem):
    X = data_with_holes(0)
    X[:, 4] = value
    with pytest.raises(DataError, match=f"X holds {problem} in column 4"):
        column_range(convert(X), missing=True)


def test_the_range_of_columns_is_that_of_the_known_values():
    X = np.array([[3, NAN, -1], [NAN, 2, 0], [1, 5, NAN]])
    for convert in (np.asarray, sparse.csr_matrix, sparse.csc_matrix, sparse.coo_matrix, torch.from_numpy):
        low, high = column_range(convert(X), missing=True)
        np.testing.assert_array_equal(low, [1, 2, -1])
        np.testing.assert_array_equal(high, [3, 5, 0])
        assert low.dtype == high.dtype == np.float64


def test_a_category_that_is_missing_in_part():
    X = data_with_holes(0, kind="softmax:3+bernoulli:3")
    X[2, :3] = [1, NAN, NAN]
    with pytest.raises(
        DataError, match="a category is missing in part: the columns of a softmax group must be NaN all"
    ):
        pretrained(X, (3,), rbm_settings("softmax:3+bernoulli:3"))


def test_counts_of_words_are_complete():
    with pytest.raises(SettingsError, match="missing of RBMSettings must be 'error' for replicated_softmax"):
        RBMSettings("replicated_softmax", missing="gibbs")


def test_complete_rows_are_monitored(seed):
    X = data_with_holes(seed)
    plain, _ = pretrained(X, (5, 3), rbm_settings("bernoulli"), seed)
    watched, records = pretrained(X, (5, 3), rbm_settings("bernoulli"), seed, monitor=True)
    assert same(plain.stack, watched.stack)
    assert all(np.isfinite(record["reconstruction_error"]) for record in records)
    X[np.arange(40), np.arange(40) % 6] = NAN
    with pytest.raises(DataError, match="Monitoring needs rows without missing values, and the first 40 have none"):
        pretrained(X, (5,), rbm_settings("bernoulli"), seed, monitor=True)
