"""Training of a deep Boltzmann machine: the layers with their copies, then all of it together."""

import numpy as np
import pytest
import torch
from dbm_oracles import exact_log_likelihood, rows_of
from global_state import global_state
from linear_problem import same
from oracles import binary_states

from pretrain import DBM, DBMTraining, GreedyPretraining
from pretrain.batches import Batch
from pretrain.dbm_bound import dbm_bound, exact_dbm_log_partition
from pretrain.dbm_settings import DBMSettings
from pretrain.doubled_rbm import DoubledRBM
from pretrain.exceptions import DataError, SettingsError
from pretrain.layer_run import layer_run
from pretrain.random_streams import BernoulliSampler, RandomStreams
from pretrain.settings import AutoencoderSettings, RBMSettings, TrainingSettings
from pretrain.stack import encode_rows

RNG = np.random.default_rng(1)
# Two prototypes of five pixels with a tenth of the pixels flipped.
X = (np.array([[1, 1, 0, 0, 1], [0, 0, 1, 1, 0]])[RNG.integers(2, size=200)] ^ (RNG.random((200, 5)) < 0.1)).astype(
    np.float32
)


@pytest.mark.parametrize(("layer", "up", "down"), [(0, 2, 1), (1, 1, 1), (2, 1, 2)])
def test_layers_learn_with_their_copies(layer, up, down, seed):
    rbm = DoubledRBM(4, 3, generator=torch.Generator().manual_seed(seed)).with_copies(layer, 3)
    rows = rows_of(seed, 11)
    rule = rbm.learning_rule(RBMSettings(), streams=RandomStreams(seed), layer=layer, dtype=torch.float32)
    rule.fill_gradients(Batch(rows))
    sampler = BernoulliSampler(RandomStreams(seed).generator("sampling", layer=layer))
    W, v = rbm.weight.detach(), rows
    h = torch.sigmoid(up * v @ W.T)
    fantasy = torch.sigmoid(down * sampler.sample(h, torch.empty_like(h)) @ W)
    again = torch.sigmoid(up * fantasy @ W.T)
    torch.testing.assert_close(rbm.weight.grad, (again.T @ fantasy - h.T @ v) / 11)
    torch.testing.assert_close(rbm.encode(rows), h)
    torch.testing.assert_close(rbm.decode(h), torch.sigmoid(down * h @ W))


def test_gradients_of_gaussian_layers_are_not_centred(seed):
    gradients = []
    for centered in ("auto", False):
        rbm = DoubledRBM(4, 3, visible_units="gaussian", generator=torch.Generator().manual_seed(seed))
        options = RBMSettings(visible_units="gaussian", centered=centered)
        streams = RandomStreams(seed)
        rule = rbm.with_copies(0, 2).learning_rule(options, streams=streams, layer=0, dtype=torch.float32)
        rule.fill_gradients(Batch(rows_of(seed, 11) + 5))
        gradients.append(rbm.weight.grad)
    assert torch.equal(*gradients)


def settings(epochs=20, **more):
    return RBMSettings(training=TrainingSettings(epochs=epochs, batch_size=20, learning_rate=0.1), **more)


def joint(epochs, **more):
    training = TrainingSettings(epochs=epochs, batch_size=20, learning_rate=0.05, momentum=0.5)
    return DBMSettings(**{"n_chains": 50, "training": training, **more})


def trained(sizes=(3, 4), *, seed=0, greedy=5, epochs=0, rows=X, **options):
    run = DBMTraining(rows, sizes, settings(greedy), joint(epochs), seed=seed, device="cpu", **options)
    return run, list(run)


def test_greedy_layers_are_trained_on_the_doubled_codes_of_those_below(seed):
    run, records = trained((3, 4, 2), seed=seed)
    streams, codes, rbms, losses = RandomStreams(seed), X, [], []
    for k, n_hidden in enumerate((3, 4, 2)):
        rbm = DoubledRBM(codes.shape[1], n_hidden, generator=streams.generator("init", layer=k)).with_copies(k, 3)
        losses += [record["loss"] for record in layer_run(rbm, codes, settings(5), streams=streams, layer_index=k)]
        rbms.append(rbm)
        codes = encode_rows(rbm, codes)
    assert [record["loss"] for record in records] == losses
    for name, value in DBM.from_rbms(rbms).state_dict().items():
        assert torch.equal(run.dbm.state_dict()[name], value), name
    assert {(r["stage"], r["layer"], r["n_layers"]) for r in records} == {("pretrain", k, 3) for k in range(3)}


def test_a_single_layer_is_the_rbm_of_a_stack(seed):
    run, records = trained((3,), seed=seed)
    stack = GreedyPretraining(X, (3,), settings(5), seed=seed, device="cpu")
    assert [record["loss"] for record in records] == [record["loss"] for record in stack]
    torch.testing.assert_close(run.dbm.weights[0], stack.stack.layers[0].weight)


def test_joint_training_raises_the_likelihood_and_the_bound(seed):
    greedy, _ = trained(seed=seed, greedy=1)
    whole, records = trained(seed=seed, greedy=1, epochs=60)
    likelihoods = [exact_log_likelihood(run.dbm, X[:50]).mean() for run in (greedy, whole)]
    assert likelihoods[0] + 0.5 < likelihoods[1] < -2.0
    bounds = [dbm_bound(run.dbm, X[:50], exact_dbm_log_partition(run.dbm)).mean for run in (greedy, whole)]
    assert bounds[0] + 0.5 < bounds[1] < likelihoods[1]
    assert {record["stage"] for record in records[2:]} == {"joint"}
    assert len(records) == 62
    assert all(parameter.grad is None for parameter in whole.dbm.parameters())


def test_the_same_seed_gives_the_same_bits_and_touches_nothing_global(seed):
    before = global_state()
    one, other = (trained(seed=seed, epochs=3)[0] for _ in range(2))
    assert global_state() == before
    assert same(one.dbm.state_dict(), other.dbm.state_dict())
    assert not same(one.dbm.state_dict(), trained(seed=seed + 1, epochs=3)[0].dbm.state_dict())


def test_weighted_rows(seed):
    kind = (X[:, 0] > 0.5).astype(float)
    run, _ = trained(seed=seed, epochs=20, greedy=20, sample_weight=kind)
    states = binary_states(5)
    means = np.exp(exact_log_likelihood(run.dbm, states)) @ states
    one, zero = X[kind == 1].mean(axis=0), X[kind == 0].mean(axis=0)
    assert ((means - one) ** 2).sum() < 0.5 * ((means - zero) ** 2).sum()


BAD: list[tuple[dict, type, str]] = [
    ({"sizes": ()}, SettingsError, "at least one layer"),
    ({"sizes": (3, 0)}, SettingsError, "hidden_layer_sizes of the DBM must be an integer >= 1"),
    ({"rows": np.full((200, 5), np.nan)}, DataError, "NaN or infinite"),
    ({"settings": [settings()]}, SettingsError, "settings of the DBM must be one value for all layers or exactly 2"),
    ({"settings": [settings(), AutoencoderSettings()]}, SettingsError, "settings of layer 2 are AutoencoderSettings"),
    ({"settings": settings(hidden_units="gaussian")}, SettingsError, "layer 1 has 'gaussian'"),
    ({"settings": settings(missing="gibbs")}, SettingsError, "does not draw missing values"),
    ({"settings": settings(visible_units="replicated_softmax")}, SettingsError, "no generative layer of replicated"),
    ({"settings": [settings(), settings(gradient_estimator="pcd")]}, SettingsError, "must be one of cd, mean_field"),
    ({"settings": settings(centered=True)}, SettingsError, "centered of a layer of a DBM"),
    (
        {"settings": settings(visible_units="gaussian"), "joint": joint(1, binarize=True)},
        SettingsError,
        "the model has 'gaussian' ones",
    ),
]


@pytest.mark.parametrize(("options", "error", "words"), BAD, ids=[words for _, _, words in BAD])
def test_what_cannot_be_trained_is_refused_before_training(options, error, words):
    given = {"rows": X, "sizes": (3, 5), "settings": settings(), "joint": joint(1), **options}
    with pytest.raises(error, match=words):
        DBMTraining(*(given[name] for name in ("rows", "sizes", "settings", "joint")), seed=0, device="cpu")


def test_the_model_is_not_there_before_greedy_training_is_over():
    run = DBMTraining(X, (3, 2), settings(1), joint(1), seed=0, device="cpu")
    next(run)
    with pytest.raises(SettingsError, match="iterate over the records"):
        _ = run.dbm


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"n_gibbs_steps": 0}, "n_gibbs_steps of DBMSettings must be an integer >= 1; got 0"),
        ({"n_chains": 2.5}, "n_chains of DBMSettings must be an integer"),
        ({"n_mean_field_steps": 0}, "n_mean_field_steps of DBMSettings"),
        ({"mean_field_tol": -0.1}, "mean_field_tol of DBMSettings must be a finite number >= 0"),
        ({"binarize": 1}, "binarize of DBMSettings must be True or False"),
        ({"centered": "auto"}, "centered of DBMSettings must be True or False"),
        ({"training": TrainingSettings(learning_rate="auto")}, "learning_rate of DBMSettings must be a number"),
    ],
)
def test_illegal_settings_are_refused(options, words):
    with pytest.raises(SettingsError, match=words):
        DBMSettings(**options)
