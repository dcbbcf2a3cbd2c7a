"""The deep autoencoder as a transformer: its code, reconstruction and error (see also the estimators' tables)."""

import json
import pickle
import re

import numpy as np
import pytest
import torch
from scipy import sparse
from scipy.special import expit
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

import checkpoints
from pretrain import DeepAutoencoder, Finetuning, GreedyPretraining, unroll
from pretrain.exceptions import DataError, SettingsError
from pretrain.settings import FinetuneSettings, RBMSettings, TrainingSettings

N_ROWS, N_FEATURES = 61, 11
SIZES = (7, 5, 3)
KINDS = pytest.mark.parametrize("kind", ["rbm", "autoencoder"])


def rows(seed=0, n=N_ROWS):
    return np.random.default_rng(seed).uniform(0.1, 0.9, size=(n, N_FEATURES))


def fitted(X=None, sizes=SIZES, **changes):
    small = {"pretrain_epochs": 2, "pretrain_batch_size": 17, "max_iter": 3, "batch_size": 13, "random_state": 0}
    estimator = DeepAutoencoder(sizes, **{**small, "learning_rate_init": 0.01, **changes})
    return estimator.fit(rows() if X is None else X)


def by_hand(network, X):
    """Code and reconstruction of scaled rows in float64, layer by layer."""
    functions = {"sigmoid": expit, "identity": lambda x: x, "tanh": np.tanh}
    layers = [*(layer.linear for layer in network.hidden), network.head]
    names = (*network.architecture.activations, network.architecture.output_activation)
    outputs = [X]
    for layer, name in zip(layers, names, strict=True):
        weight, bias = (p.numpy(force=True).astype(float) for p in (layer.weight, layer.bias))
        outputs.append(functions[name](outputs[-1] @ weight.T + bias))
    return outputs[len(network.hidden) // 2 + 1], outputs[-1]


@KINDS
@pytest.mark.parametrize("units", ["bernoulli", "gaussian"])
def test_codes_reconstructions_and_errors_by_hand(kind, units):
    X = 3 * rows(1) - 1
    found = fitted(X, kind=kind, visible_units=units)
    if units == "gaussian":
        offset, scale, output = X.mean(axis=0), X.std(axis=0), "identity"
    else:
        offset, scale, output = X.min(axis=0), np.ptp(X, axis=0), "sigmoid"
    assert found.network_.architecture.output_activation == output
    scaled = (X - offset) / scale
    code, rebuilt = by_hand(found.network_, scaled)
    np.testing.assert_allclose(found.transform(X), code, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found.inverse_transform(code), offset + scale * rebuilt, rtol=1e-9, atol=1e-12)
    errors = ((scaled - rebuilt) ** 2).sum(axis=1)
    np.testing.assert_allclose(found.reconstruction_error(X), errors, rtol=1e-9)
    assert found.score(X) == found.score(X, np.zeros(N_ROWS)) == pytest.approx(-errors.mean(), rel=1e-9)


@KINDS
def test_the_code_is_linear_and_the_decoder_a_mirror(kind):
    network = fitted(kind=kind).network_
    sigmoid = "sigmoid"
    assert network.architecture.activations == (sigmoid, sigmoid, "identity", sigmoid, sigmoid)
    assert network.architecture.hidden_layer_sizes == (7, 5, 3, 5, 7)
    assert fitted(kind=kind, sizes=(3,)).network_.architecture.activations == ("identity",)


@KINDS
def test_encoder_and_decoder_part_in_fine_tuning(kind):
    for max_iter in (0, 3):
        network = fitted(kind=kind, max_iter=max_iter).network_
        weights = [*(layer.linear.weight for layer in network.hidden), network.head.weight]
        mirrored = [torch.equal(down, up.T) for down, up in zip(weights[:3], reversed(weights), strict=False)]
        assert mirrored == [max_iter == 0] * 3


def test_fit_is_pretraining_unrolling_and_fine_tuning():
    found, X = fitted(random_state=3), rows().astype(np.float32)
    layer = {"training": TrainingSettings(**{**vars(RBMSettings().training), "epochs": 2, "batch_size": 17})}
    layers = [RBMSettings(**layer), RBMSettings(**layer), RBMSettings(**layer, hidden_units="gaussian")]
    pretraining = GreedyPretraining(X, SIZES, layers, seed=3)
    records = list(pretraining)
    network = unroll(pretraining.stack, "autoencoder")
    training = TrainingSettings(3, 13, "adam", 0.01, schedule="one_cycle")
    records += list(Finetuning(network, X, None, FinetuneSettings(training=training), seed=3))
    assert [r["loss"] for r in found.report_] == [r["loss"] for r in records]
    assert all(map(torch.equal, found.network_.parameters(), network.parameters()))


def test_every_epoch_is_recorded():
    found = fitted()
    layers = [("pretrain", layer, epoch) for layer in range(3) for epoch in (1, 2)]
    told = [(r["stage"], r["layer"], r["epoch"]) for r in found.report_]
    assert told == layers + [("finetune", None, epoch) for epoch in (1, 2, 3)]
    assert (found.n_iter_, fitted(max_iter=0).n_iter_) == (3, 0)
    assert json.loads(json.dumps(found.report_)) == found.report_


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_type_of_the_input_is_that_of_the_output(dtype):
    found, X = fitted(), rows(1).astype(dtype)
    code = found.transform(X)
    assert (code.dtype, code.shape) == (dtype, (N_ROWS, 3))
    assert (found.inverse_transform(code).dtype, found.inverse_transform(code).shape) == (dtype, X.shape)
    module = found.network_.double() if dtype == np.float64 else found.network_
    np.testing.assert_array_equal(code, module.encode(torch.from_numpy(X)).numpy(force=True))
    rebuilt = module.decode(torch.from_numpy(code)).numpy(force=True)
    np.testing.assert_allclose(found.inverse_transform(code), rebuilt, rtol=1e-6)


@pytest.mark.parametrize("scaling", ["none", "minmax"])
def test_sparse_rows_are_rows(scaling):
    X = rows() * (np.random.default_rng(5).random((N_ROWS, N_FEATURES)) < 0.4)
    options = {"scaling": scaling, "visible_units": "gaussian"}
    dense, thin = fitted(X, **options), fitted(sparse.csr_matrix(X), **options)
    for first, second in zip(dense.network_.parameters(), thin.network_.parameters(), strict=True):
        torch.testing.assert_close(first, second)
    for form in (sparse.csr_matrix, sparse.csc_matrix, sparse.csr_array):
        np.testing.assert_allclose(dense.transform(form(X)), dense.transform(X), rtol=1e-9)
        np.testing.assert_allclose(dense.reconstruction_error(form(X)), dense.reconstruction_error(X), rtol=1e-9)


def test_sparse_rows_cannot_be_standardised():
    with pytest.raises(DataError, match="'standard' would move the zeros of this sparse matrix"):
        fitted(sparse.csr_matrix(rows()), visible_units="gaussian")


def test_codes_of_another_width_are_refused():
    with pytest.raises(DataError, match=re.escape("inverse_transform takes codes of 3 units; got (61, 11).")):
        fitted().inverse_transform(rows())
    with pytest.raises(DataError, match=re.escape("codes of 3 units; got (3,).")):
        fitted().inverse_transform(np.zeros(3))
    with pytest.raises(ValueError, match="Input X contains NaN"):
        fitted().inverse_transform(np.full((2, 3), np.nan))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pretrain_epochs": -1}, r"^pretrain_epochs of DeepAutoencoder must be an integer >= 0; got -1\.$"),
        ({"pretrain_batch_size": 0}, "^pretrain_batch_size of DeepAutoencoder must be"),
        ({"max_iter": -1}, "^max_iter of DeepAutoencoder must be"),
        ({"batch_size": 0}, "^batch_size of DeepAutoencoder must be"),
        ({"learning_rate_init": 0}, "^learning_rate_init of DeepAutoencoder must be"),
        ({"solver": "newton"}, "^solver of DeepAutoencoder must be one of"),
        ({"schedule": "random"}, "^schedule of DeepAutoencoder must be one of"),
        ({"alpha": -1}, "^alpha of DeepAutoencoder must be"),
        ({"precision": "float8"}, "^precision of DeepAutoencoder must be one of"),
        ({"kind": "dbm"}, "^kind of DeepAutoencoder must be one of rbm, autoencoder; got 'dbm'"),
        ({"reconstruction_loss": "l1"}, "^reconstruction_loss of DeepAutoencoder must be one of auto"),
        ({"scaling": "log"}, "^scaling of DeepAutoencoder must be one of"),
        ({"verbose": "yes"}, "^verbose of DeepAutoencoder must be"),
        ({"sizes": 5}, "^hidden_layer_sizes of DeepAutoencoder must be a list or a tuple"),
        ({"sizes": ()}, "^hidden_layer_sizes of the stack must name at least one layer"),
        ({"kind": "autoencoder", "visible_units": "relu"}, "^visible_units of .* got 'relu'"),
        ({"visible_units": "gaussian", "reconstruction_loss": "cross_entropy"}, "needs sigmoid outputs"),
        ({"solver": "rprop", "alpha": 0.1}, "alpha of DeepAutoencoder must be 0 with optimizer 'rprop'"),
    ],
)
def test_illegal_values(options, message):
    with pytest.raises(SettingsError, match=message):
        fitted(**options)


@pytest.mark.parametrize("solver", ["cg", "lbfgs"])
def test_line_searches_in_fine_tuning(solver):
    found = fitted(solver=solver, batch_size=N_ROWS, max_iter=10, schedule="constant", learning_rate_init=1.0)
    assert found.score(rows()) > fitted(max_iter=0).score(rows())


def test_the_loss_that_is_asked_for_is_the_one_that_falls():
    options = {"max_iter": 40, "batch_size": N_ROWS, "pretrain_epochs": 1}
    by_squares, by_entropy = (fitted(reconstruction_loss=name, **options) for name in ("squared_error", "auto"))
    end = by_squares.report_[-1]["loss"]
    assert end == pytest.approx(-by_squares.score(rows()), rel=0.02)  # of the step before the last
    assert by_entropy.report_[-1]["loss"] > 2 * end  # nats, the entropy of the rows included


def test_a_step_of_a_pipeline_and_of_a_grid_search():
    X = np.concatenate([rows(n=60) * 0.3, 1 - rows(1, n=60) * 0.3])
    y = np.repeat([0, 1], 60)
    code = DeepAutoencoder((7, 2), pretrain_epochs=5, max_iter=20, random_state=0)
    pipeline = make_pipeline(code, LogisticRegression())
    assert pipeline.fit(X, y).score(X, y) > 0.95
    assert list(pipeline[:1].get_feature_names_out()) == ["deepautoencoder0", "deepautoencoder1"]
    grid = {"deepautoencoder__hidden_layer_sizes": [(5, 2), (7, 3)]}
    assert GridSearchCV(pipeline, grid, cv=2).fit(X, y).best_score_ > 0.9


def test_a_grid_search_by_its_own_score_prefers_the_better():
    grid = {"max_iter": [0, 40]}
    estimator = DeepAutoencoder(SIZES, pretrain_epochs=2, learning_rate_init=0.01, random_state=0)
    search = GridSearchCV(estimator, grid, cv=2)
    untrained, trained = search.fit(rows(n=120)).cv_results_["mean_test_score"]
    assert trained > untrained
    assert search.best_params_ == {"max_iter": 40}


@pytest.mark.parametrize("how", ["pickle", "checkpoint"])
def test_it_comes_back(how, tmp_path):
    found, X = fitted(kind="autoencoder"), rows(2)
    if how == "pickle":
        again = pickle.loads(pickle.dumps(found))
    else:
        checkpoints.save(found, tmp_path / "ae.h5")
        again = checkpoints.load(tmp_path / "ae.h5")
    assert type(again) is DeepAutoencoder
    assert again.get_params() == found.get_params()
    assert (again.n_iter_, again.seed_, again.n_features_in_) == (3, 0, N_FEATURES)
    assert again.report_ == found.report_
    code = found.transform(X)
    np.testing.assert_array_equal(again.transform(X), code)
    np.testing.assert_array_equal(again.inverse_transform(code), found.inverse_transform(code))
    np.testing.assert_array_equal(again.reconstruction_error(X), found.reconstruction_error(X))
    assert list(again.get_feature_names_out()) == [f"deepautoencoder{k}" for k in range(3)]


def test_better_than_principal_components_of_the_same_number(seed):
    X = load_digits().data / 16
    train, test = X[:1400], X[1400:]
    linear = PCA(4).fit(train)
    of_pca = np.square(test - linear.inverse_transform(linear.transform(test))).sum(axis=1).mean()
    found = DeepAutoencoder(
        (64, 32, 4), pretrain_epochs=5, max_iter=20, batch_size=50, learning_rate_init=0.01, random_state=seed
    ).fit(train)
    assert -found.score(test) < 0.85 * of_pca
