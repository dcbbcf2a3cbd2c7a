"""Training of a deep belief net from rows to a net, and the estimator around it."""

import numpy as np
import pytest
import torch
from deep_oracles import binary, exact_bound, exact_log_likelihood
from global_state import global_state

from pretrain import DBN, DBNTraining, GenerativeDBN, GreedyPretraining
from pretrain.exceptions import DataError, SettingsError
from pretrain.settings import AutoencoderSettings, RBMSettings, TrainingSettings
from pretrain.up_down_settings import UpDownSettings

RNG = np.random.default_rng(1)
# Two prototypes of five pixels with a tenth of the pixels flipped: rows, and which prototype.
Y = RNG.integers(2, size=200)
X = (np.array([[1, 1, 0, 0, 1], [0, 0, 1, 1, 0]])[Y] ^ (RNG.random((200, 5)) < 0.1)).astype(np.float32)


def settings(epochs=20, **more):
    return RBMSettings(training=TrainingSettings(epochs=epochs, batch_size=20, learning_rate=0.1), **more)


def up_down(epochs, **more):
    training = TrainingSettings(epochs=epochs, batch_size=20, learning_rate=0.05, momentum=0.5)
    return UpDownSettings(n_gibbs_steps=(3,), training=training, **more)


def trained(y=Y, sizes=(3, 5), *, seed=0, greedy=20, epochs=0, rows=X, **options):
    run = DBNTraining(rows, y, sizes, settings(greedy), up_down(epochs), seed=seed, device="cpu", **options)
    return run, list(run)


def test_greedy_layers_below_are_those_of_a_stack_trained_in_the_same_order(seed):
    run, records = trained(None, (3, 4, 5), seed=seed)
    stack = GreedyPretraining(X, (3, 4, 5), settings(), seed=seed, device="cpu")
    expected = [record["loss"] for record in stack]
    assert [record["loss"] for record in records] == expected
    for name, value in DBN.from_stack(stack.stack).state_dict().items():
        assert torch.equal(run.dbn.state_dict()[name], value), name
    assert {(r["stage"], r["layer"], r["n_layers"]) for r in records} == {("pretrain", k, 3) for k in range(3)}


def test_up_down_raises_the_likelihood_and_the_bound(seed):
    states = binary(5)
    greedy, _ = trained(seed=seed, greedy=3)
    whole, records = trained(seed=seed, greedy=3, epochs=60)
    before, after = (exact_log_likelihood(run.dbn, X).mean() for run in (greedy, whole))
    assert before + 0.05 < after < -2.0
    for run in (greedy, whole):
        assert (exact_bound(run.dbn, states) < exact_log_likelihood(run.dbn, states)).all()
    bounds = [exact_bound(run.dbn, states)[[25, 6]].mean() for run in (greedy, whole)]
    assert bounds[0] < bounds[1]
    assert {record["stage"] for record in records[6:]} == {"up_down"}
    assert (whole.dbn.predict(X) == Y).mean() > 0.9
    assert all(parameter.grad is None for parameter in whole.dbn.parameters())


def test_the_same_seed_gives_the_same_bits_and_touches_nothing_global(seed):
    before = global_state()
    one, other = (trained(seed=seed, epochs=3, validation=(X[:20], Y[:20])) for _ in range(2))
    assert global_state() == before
    assert all(torch.equal(a, b) for a, b in zip(one[0].dbn.parameters(), other[0].dbn.parameters(), strict=True))
    assert 0 <= one[1][-1]["validation_error"] <= 100


def test_few_labels_are_enough_for_clear_classes(seed):
    few = np.where(np.arange(200) < 20, Y, -1)
    run, _ = trained(few, epochs=20, seed=seed)
    assert run.dbn.n_classes == 2
    assert (run.dbn.predict(X) == Y).mean() > 0.85


def test_a_net_of_one_layer_and_weighted_rows(seed):
    run, _ = trained(Y, (5,), seed=seed, epochs=20)
    assert len(run.dbn.layers) == 0
    assert (run.dbn.predict(X) == Y).mean() > 0.9
    only_ones, _ = trained(None, (3, 5), seed=seed, epochs=5, sample_weight=Y)
    states, (one, zero) = binary(5), (X[Y == 1].mean(axis=0), X[Y == 0].mean(axis=0))
    means = np.exp(exact_log_likelihood(only_ones.dbn, states)) @ states
    assert ((means - one) ** 2).sum() < ((means - zero) ** 2).sum()


BAD: list[tuple[dict, type, str]] = [
    ({"y": Y.astype(float)}, DataError, "class indices, one a row"),
    ({"y": Y[:9]}, DataError, r"\(200,\); got"),
    ({"y": Y - 2}, DataError, "No row has a label"),
    ({"y": Y - 2 * (Y == 0)}, DataError, "be -1 for a row without a label; got -2"),
    ({"classes": np.array(["a"])}, DataError, "in 0 to 0"),
    ({"sizes": ()}, SettingsError, "at least one layer"),
    ({"sizes": (3, 0)}, SettingsError, "hidden_layer_sizes of the DBN must be an integer >= 1"),
    ({"rows": np.full((200, 5), np.nan)}, DataError, "NaN or infinite"),
    ({"rows": np.full((200, 5), np.nan), "sizes": (3,)}, DataError, "NaN or infinite"),
    ({"sample_weight": -Y}, DataError, "sample_weight must be finite, 0 or more"),
    ({"y": None, "validation": (X, Y)}, DataError, "error of the labels, and the net has none"),
    ({"validation": (X[:, 1:], Y)}, DataError, r"have 5 features each; got shape \(200, 4\)"),
    ({"validation": (X[:0], Y[:0])}, DataError, r"got shape \(0, 5\)"),
    ({"validation": (X, Y[:9])}, DataError, r"\(200,\); got"),
    ({"validation": (X, Y - (Y == 0))}, DataError, "Every validation row must have a label"),
    ({"validation": (X, Y + 1)}, DataError, "in 0 to 1"),
]


@pytest.mark.parametrize(("options", "error", "words"), BAD, ids=[words for _, _, words in BAD])
def test_what_cannot_be_trained_is_refused_before_training(options, error, words):
    given = {"rows": X, "y": Y, "sizes": (3, 5), **options}
    with pytest.raises(error, match=words):
        DBNTraining(given.pop("rows"), given.pop("y"), given.pop("sizes"), settings(), up_down(1), seed=0, **given)


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        ([settings(), AutoencoderSettings()], "settings of layer 2 are AutoencoderSettings"),
        ([settings(), settings(hidden_units="gaussian")], "layer 2 has 'gaussian'"),
        (settings(missing="gibbs"), "does not draw missing values"),
        (settings(visible_units="replicated_softmax"), "no generative layer of replicated_softmax"),
        ([settings()], "exactly 2"),
    ],
)
def test_layers_that_a_net_cannot_have_are_refused(layers, words):
    with pytest.raises(SettingsError, match=words):
        DBNTraining(X, Y, (3, 5), layers, up_down(1), seed=0)


@pytest.mark.parametrize("sizes", [(5,), (3, 5)])
@pytest.mark.parametrize(
    ("greedy", "later", "words"),
    [
        ({}, {"early_stopping": True}, "early_stopping needs validation rows"),
        ({}, {"optimizer": "cg", "weight_decay": 0.0}, "optimizer 'cg' needs a loss that is the same each time"),
        ({"early_stopping": True}, {}, "early_stopping needs validation rows"),
    ],
)
def test_what_the_memory_and_up_down_cannot_be_trained_with_is_refused_before_training(sizes, greedy, later, words):
    layers = [settings()] * len(sizes)
    layers[-1] = RBMSettings(training=TrainingSettings(epochs=1, **greedy))
    with pytest.raises(SettingsError, match=words):
        DBNTraining(X, Y, sizes, layers, UpDownSettings(training=TrainingSettings(epochs=1, **later)), seed=0)


def test_the_net_is_not_there_before_greedy_training_is_over():
    run = DBNTraining(X, Y, (3, 5), settings(), up_down(1), seed=0)
    next(run)
    with pytest.raises(SettingsError, match="iterate over the records"):
        run.dbn.predict(X)


# The estimator ---

SMALL = {
    "pretrain_epochs": 10,
    "up_down_epochs": 5,
    "pretrain_batch_size": 20,
    "up_down_batch_size": 20,
    "random_state": 0,
    "device": "cpu",
}
NAMES = np.array(["left", "right"])


@pytest.fixture(scope="module")
def fitted():
    return GenerativeDBN((3, 5), **SMALL).fit(X, NAMES[Y])


def test_the_estimator_classifies_and_draws_what_it_knows(fitted):
    assert fitted.score(X, NAMES[Y]) > 0.9
    assert fitted.classes_.tolist() == ["left", "right"]
    drawn = [fitted.sample(300, name, n_gibbs=100, states=True, random_state=1) for name in NAMES]
    assert set(np.unique(drawn)) == {0.0, 1.0}
    means = np.stack([rows.mean(axis=0) for rows in drawn])
    assert ((means > 0.5) == [[1, 1, 0, 0, 1], [0, 0, 1, 1, 0]]).all()
    again = fitted.sample(300, "right", n_gibbs=100, states=True, random_state=1)
    np.testing.assert_array_equal(drawn[1], again)
    assert not np.array_equal(again, fitted.sample(300, "right", n_gibbs=100, states=True, random_state=2))
    frames = fitted.watch(7, every=2, random_state=1)
    np.testing.assert_array_equal(next(frames), fitted.sample(7, n_gibbs=0, random_state=1))
    assert next(frames).shape == (7, 5)


def test_scores_are_the_bound_of_the_net(fitted):
    exact = exact_bound(fitted.dbn_, X[:20].astype(float))
    np.testing.assert_allclose(fitted.score_samples(X[:20], n_draws=3000), exact, atol=0.1)
    assert fitted.log_partition().method == "exact"


def test_the_score_of_a_row_does_not_depend_on_the_rows_beside_it(seed):
    rows = np.random.default_rng(seed).random((20, 5))
    model = GenerativeDBN((3, 5), **{**SMALL, "pretrain_epochs": 1, "up_down_epochs": 1}).fit(rows)
    np.testing.assert_allclose(model.score_samples(rows)[3:5], model.score_samples(rows[3:5]), rtol=1e-12)
    one, two = (model.score_samples(rows, n_draws=n) for n in (1, 2))
    assert (one != two).all()  # the codes are drawn


def test_without_labels_it_is_a_density_model():
    rows = RNG.normal(size=(60, 5)) * 3 + 7
    model = GenerativeDBN((3, 5), visible_units="gaussian", **SMALL).fit(rows)
    assert model.classes_ is None
    assert model.score(rows) == pytest.approx(model.score_samples(rows).mean())
    assert model.score_samples(rows).mean() > model.score_samples(rows + 9).mean()
    drawn = model.sample(500, n_gibbs=50, states=True, random_state=0)
    assert 6 < drawn.mean() < 8
    assert 2 < drawn.std() < 4
    with pytest.raises(SettingsError, match="without labels"):
        model.predict(rows)
    with pytest.raises(DataError, match="without labels"):
        model.sample(1, "left")


def test_gibbs_steps_may_differ_from_layer_to_layer():
    small = {**SMALL, "up_down_epochs": 0, "pretrain_epochs": 3}
    model = GenerativeDBN((3, 5), n_gibbs_steps=(1, 4), initial_gibbs_steps=1, **small).fit(X, Y)
    steps = [(record["layer"], record["n_gibbs_steps"]) for record in model.report_]
    assert steps == [(0, 1), (0, 1), (0, 1), (1, 1), (1, 2), (1, 4)]
    with pytest.raises(SettingsError, match="n_gibbs_steps of GenerativeDBN must be one value for all layers"):
        GenerativeDBN((3, 5), n_gibbs_steps=(1, 4, 3)).fit(X, Y)


def test_minus_one_marks_rows_without_a_label():
    y = np.where(np.arange(200) < 30, Y + 3, -1)
    model = GenerativeDBN((3, 5), **SMALL).fit(X, y)
    assert model.classes_.tolist() == [3, 4]
    assert (model.predict(X) == Y + 3).mean() > 0.8
    assert GenerativeDBN((3, 5), **{**SMALL, "up_down_epochs": 0}).fit(X, 2 * Y - 1).classes_.tolist() == [-1, 1]
    with pytest.raises(DataError, match="Every row is unlabelled"):
        GenerativeDBN().fit(X, np.full(200, -1))


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"up_down_learning_rate": -1}, "up_down_learning_rate of GenerativeDBN must be"),
        ({"pretrain_momentum": 1}, "pretrain_momentum of GenerativeDBN must be"),
        ({"up_down_gibbs_steps": (0,)}, "up_down_gibbs_steps of GenerativeDBN"),
        ({"hidden_layer_sizes": 7}, "hidden_layer_sizes of GenerativeDBN must be a list"),
        ({"visible_units": "gaussian_learned"}, "no generative layer of gaussian_learned"),
    ],
)
def test_illegal_parameters_are_refused_by_name(parameters, words):
    with pytest.raises(SettingsError, match=words):
        GenerativeDBN(**{"hidden_layer_sizes": (3, 5), **SMALL, **parameters}).fit(X, Y)


def test_illegal_labels_and_counts_are_refused(fitted):
    with pytest.raises(DataError, match=r"label must be one of \['left', 'right'\]; got 'up'"):
        fitted.sample(1, "up")
    with pytest.raises(SettingsError, match="n_samples of sample"):
        fitted.sample(0)
    with pytest.raises(SettingsError, match="n_gibbs of sample"):
        fitted.sample(1, n_gibbs=-1)
