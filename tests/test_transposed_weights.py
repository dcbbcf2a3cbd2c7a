"""A layer that begins as the one below upside down: the net of both is the RBM below, and its bound is tight."""

import numpy as np
import pytest
import torch
from deep_oracles import binary, exact_bound, exact_log_likelihood
from oracles import exact_free_energy, exact_log_partition
from stacks import quick, rows

from pretrain import DBN, DBNTraining, GreedyPretraining
from pretrain.dbm_settings import DBMSettings
from pretrain.dbm_training import DBMTraining
from pretrain.exceptions import SettingsError
from pretrain.up_down_settings import UpDownSettings

N_VISIBLE, N_CODES = 5, 3
STATES = binary(N_VISIBLE)
UP_DOWN = UpDownSettings()


def prototypes(seed):
    """Two prototypes of five pixels with a tenth of the pixels flipped: what one small RBM does not exhaust."""
    rng = np.random.default_rng(seed)
    rows = np.array([[1, 1, 0, 0, 1], [0, 0, 1, 1, 0]])[rng.integers(2, size=40)]
    return (rows ^ (rng.random(rows.shape) < 0.1)).astype(np.float32)


def layers(*, scale=0.0, epochs=(20, 0)):
    """Of an RBM with weights that matter, and of a layer on it that begins transposed."""
    below = quick(epochs=epochs[0], learning_rate=0.5, weight_scale=1.0)
    return [below, quick(epochs=epochs[1], initial_weights="transposed", weight_scale=scale)]


def net(n_hidden, seed, y=None, **options):
    """A deep belief net, and the RBM that it grew from."""
    X = prototypes(seed)
    settings = layers(**options)
    up_down = UpDownSettings(training=quick(epochs=0).training)
    run = DBNTraining(X, y, (N_CODES, n_hidden), settings, up_down, seed=seed, device="cpu")
    list(run)
    strata = None if y is None else torch.from_numpy(y)
    below = GreedyPretraining(X, (N_CODES,), settings[0], strata=strata, seed=seed, device="cpu")
    list(below)
    return run.dbn, below.stack.layers[0]


@pytest.mark.parametrize("n_hidden", [N_VISIBLE, N_VISIBLE + 2])
def test_the_net_has_the_distribution_of_the_rbm_below_and_its_bound_is_tight(n_hidden, seed):
    dbn, rbm = net(n_hidden, seed)

    expected = -exact_free_energy(rbm, STATES) - exact_log_partition(rbm)
    assert np.ptp(expected) > 1.0  # it is not flat
    np.testing.assert_allclose(exact_log_likelihood(dbn, STATES), expected, rtol=1e-5)
    np.testing.assert_allclose(exact_bound(dbn, STATES), expected, rtol=1e-5)


def test_label_units_and_units_beyond_the_data_keep_their_random_weights(seed):
    dbn, rbm = net(N_VISIBLE + 2, seed, y=np.arange(40) % 3, scale=0.1)

    weight = dbn.memory.weight
    assert torch.equal(weight[:N_VISIBLE, :N_CODES], rbm.weight.T)
    assert torch.equal(dbn.memory.visible_bias[:N_CODES], rbm.hidden_bias)
    assert torch.equal(dbn.memory.hidden_bias[:N_VISIBLE], rbm.visible_bias)
    others = torch.cat([weight[N_VISIBLE:].flatten(), weight[:N_VISIBLE, N_CODES:].flatten()])
    assert 0.05 < others.std() < 0.2
    assert (dbn.memory.hidden_bias[N_VISIBLE:] == 0).all()


def test_training_the_layer_above_raises_the_bound():
    begun, trained = (net(2 * N_VISIBLE, 0, scale=0.01, epochs=(2, epochs))[0] for epochs in (0, 100))
    before, after = (exact_bound(dbn, prototypes(0)).mean() for dbn in (begun, trained))

    assert before + 0.04 < after


def test_a_stack_begins_so_too_and_is_the_same_net():
    run = GreedyPretraining(rows(0, 40, N_VISIBLE), (N_CODES, 6), layers(), seed=0, device="cpu")
    list(run)

    rbm, above = run.stack.layers
    assert torch.equal(above.weight[:N_VISIBLE], rbm.weight.T)
    assert DBN.from_stack(run.stack).memory is above


@pytest.mark.parametrize(
    ("sizes", "settings", "message"),
    [
        (
            (6,),
            [quick(initial_weights="transposed")],
            "layer 1 takes the weights of an RBM .* there is no layer",
        ),
        ((3, 4), layers(), "of layer 2 needs at least as many hidden units as .* visible ones, 5; got 4"),
        ((3, 6), [quick("autoencoder"), layers()[1]], "there is one of kind 'autoencoder'"),
        (
            (3, 6),
            [quick(visible_units="gaussian"), layers()[1]],
            "Bernoulli units in both .* got 'gaussian' and",
        ),
        (
            (3, 6),
            [quick(), quick(initial_weights="transposed", hidden_units="spin")],
            "below, and 'spin'",
        ),
    ],
)
def test_what_cannot_be_transposed_is_refused_before_training(sizes, settings, message):
    with pytest.raises(SettingsError, match=message):
        GreedyPretraining(rows(0, 40, N_VISIBLE), sizes, settings, seed=0, device="cpu")


def test_a_memory_on_the_data_and_a_dbm_have_nothing_to_turn():
    transposed = quick(initial_weights="transposed")
    with pytest.raises(SettingsError, match=r"initial_weights='transposed' of the memory .* there is no layer"):
        DBNTraining(rows(), None, (6,), transposed, UP_DOWN, seed=0)
    with pytest.raises(SettingsError, match="layers of a DBM begin at random"):
        DBMTraining(rows(), (3, 6), [quick(), transposed], DBMSettings(), seed=0)
