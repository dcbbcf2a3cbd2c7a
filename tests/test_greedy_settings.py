"""Greedy pretraining: every setting of a layer does something, every estimator trains every unit type."""

import numpy as np
import pytest
import torch
from stacks import pretrained, quick, rows

from pretrain.exceptions import DataRangeWarning, SettingsError
from pretrain.greedy import GreedyPretraining
from pretrain.settings import LAYER_SETTINGS
from pretrain.stack import LAYER_KINDS

layer_kinds = pytest.mark.parametrize("kind", LAYER_KINDS)
N_ROWS = 23
UNITS = (
    "bernoulli",
    "gaussian",
    "gaussian_learned",
    "noisy_relu",
    "spin",
    "softmax:5+bernoulli:8",
    "replicated_softmax",
)


# Every setting of a layer does something ---


PCD, FAST = {"gradient_estimator": "pcd"}, {"gradient_estimator": "fast_pcd"}
SPARSE = {"sparsity_target": 0.1, "sparsity_cost": 1.0}
EFFECTS = [
    # kind, setting, what else is set, value, another value
    ("rbm", "visible_units", {}, "bernoulli", "gaussian"),
    ("rbm", "hidden_units", {}, "bernoulli", "gaussian"),
    ("rbm", "gradient_estimator", {}, "cd", "mean_field"),
    ("rbm", "gradient_estimator", {}, "cd", "pcd"),
    ("rbm", "gradient_estimator", {"fast_learning_rate": 1.0}, "pcd", "fast_pcd"),
    ("rbm", "gradient_estimator", {}, "pcd", "tempering"),
    ("rbm", "n_gibbs_steps", {}, 1, 2),
    ("rbm", "n_gibbs_steps", {"gradient_estimator": "mean_field"}, 1, 2),
    ("rbm", "n_gibbs_steps", PCD, 1, 2),
    ("rbm", "n_gibbs_steps", FAST, 1, 2),
    ("rbm", "n_gibbs_steps", {"gradient_estimator": "tempering"}, 1, 2),
    ("rbm", "initial_gibbs_steps", {"n_gibbs_steps": 4}, None, 1),
    ("rbm", "sample_reconstruction", {}, False, True),
    ("rbm", "n_chains", PCD, "auto", 5),
    ("rbm", "n_temperatures", {"gradient_estimator": "tempering"}, 10, 3),
    ("rbm", "fast_learning_rate", FAST, 0.01, 1.0),
    ("rbm", "fast_decay", {"fast_learning_rate": 1.0, **FAST}, 0.95, 0.5),
    ("rbm", "centered", {}, "auto", True),
    ("rbm", "centered", {"visible_units": "gaussian"}, "auto", False),
    ("rbm", "binarize", {}, False, True),
    ("rbm", "sparsity_target", {"sparsity_cost": 1.0}, None, 0.1),
    ("rbm", "sparsity_target", {"sparsity_cost": 1.0}, 0.2, 0.1),
    ("rbm", "sparsity_cost", SPARSE, 1.0, 2.0),
    ("rbm", "sparsity_decay", SPARSE, 0.9, 0.5),
    ("rbm", "hidden_dropout", {}, 0.0, 0.5),
    ("rbm", "weight_scale", {}, 0.1, 0.2),
    ("rbm", "initial_visible_bias", {}, "zero", "data"),
    ("rbm", "epochs", {}, 1, 2),
    ("autoencoder", "corruption", {}, "masking", "gaussian"),
    ("autoencoder", "corruption", {}, "masking", "none"),
    ("autoencoder", "corruption", {}, "masking", "salt_and_pepper"),
    ("autoencoder", "corruption", {}, "masking", "swap"),
    ("autoencoder", "corruption_level", {}, 0.25, 0.3),
    ("autoencoder", "emphasis", {}, 0.0, 1.0),
    ("autoencoder", "sparsity_target", {"sparsity_cost": 1.0}, None, 0.1),
    ("autoencoder", "sparsity_target", {"activation": "tanh", "sparsity_cost": 1.0}, 0.2, 0.1),
    ("autoencoder", "sparsity_cost", SPARSE, 1.0, 2.0),
    ("autoencoder", "contraction", {}, 0.0, 1.0),
    ("autoencoder", "contraction_higher_order", {}, 0.0, 1.0),
    ("autoencoder", "contraction_noise", {"contraction_higher_order": 1.0}, 0.1, 0.5),
    ("autoencoder", "tied", {}, True, False),
    ("autoencoder", "activation", {}, "sigmoid", "tanh"),
    ("autoencoder", "reconstruction_loss", {}, "cross_entropy", "squared_error"),
    ("autoencoder", "epochs", {}, 1, 2),
    ("supervised", "activation", {}, "sigmoid", "tanh"),
    ("supervised", "epochs", {}, 1, 2),
]
# Without the one rows with holes are refused (test_missing_values), the other is for layers above the first.
ELSEWHERE = {"missing", "initial_weights"}


def test_every_setting_has_a_row():
    for kind, cls in LAYER_SETTINGS.items():
        named = {name for owner, name, *_ in EFFECTS if owner == kind}
        own = set(cls.__dataclass_fields__) - {"kind", "training"}
        assert named | (ELSEWHERE & own) == own | {"epochs"}


@pytest.mark.parametrize(("kind", "name", "others", "value", "another"), EFFECTS)
def test_every_setting_changes_the_result(kind, name, others, value, another, seed):
    options = {"epochs": 2, **others}
    codes = [
        pretrained(rows(seed, N_ROWS), (5,), quick(kind, **{**options, name: v}), seed)[0].stack.transform(rows(seed))
        for v in (value, value, another)
    ]
    np.testing.assert_array_equal(codes[0], codes[1])
    assert not np.array_equal(codes[0], codes[2])


def test_the_loss_decides_the_outputs():
    for loss, output in (("cross_entropy", "sigmoid"), ("squared_error", "identity"), ("auto", "sigmoid")):
        run, _ = pretrained(rows(), (3,), quick("autoencoder", reconstruction_loss=loss, epochs=0))
        assert run.stack.layers[0].output_activation == output


# Estimators, unit types, arithmetic ---


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("estimator", ["cd", "mean_field", "pcd", "fast_pcd", "tempering"])
@pytest.mark.parametrize("units", UNITS)
def test_every_estimator_trains_every_unit_type(units, estimator, precision, seed):
    X = (rows(seed, N_ROWS) > 0.5).astype(np.float32)
    if units.startswith("softmax"):
        X[:, :5] = np.eye(5)[np.arange(N_ROWS) % 5]
    settings = quick(visible_units=units, gradient_estimator=estimator, precision=precision, learning_rate=0.001)
    run, records = pretrained(2 * X - 1 if units == "spin" else X, (5, 3), settings, seed)
    assert all(np.isfinite(record["loss"]) for record in records)
    assert all(p.isfinite().all() and p.dtype == torch.float32 for p in run.stack.parameters())


@pytest.mark.parametrize(
    "hidden_units", ["bernoulli", "spin", "softmax", "gaussian", "noisy_relu", "spin:2+softmax:3"]
)
def test_a_layer_above_sees_the_codes_of_the_layer_below_by_units_that_fit(hidden_units, seed):
    below, above = quick(hidden_units=hidden_units, learning_rate=0.001), quick(learning_rate=0.001)
    run, _ = pretrained(rows(seed, N_ROWS), (5, 3), [below, above], seed)
    expected = {"gaussian": "gaussian", "noisy_relu": "gaussian"}.get(hidden_units, hidden_units)
    assert run.stack.layers[1].visible_units.name == expected


def test_the_rate_may_be_left_to_the_units():
    for units, rate in (("bernoulli", 0.1), ("gaussian", 0.01)):
        run, records = pretrained(rows(n=N_ROWS), (5, 3), quick(visible_units=units, learning_rate="auto"))
        assert [r["learning_rate"] for r in records] == pytest.approx([rate] * 2 + [0.1] * 2)
        assert [layer.default_learning_rate(run.settings[0]) for layer in run.stack.layers] == [rate, 0.1]
    run, records = pretrained(
        rows(n=N_ROWS), (5,), quick(gradient_estimator="pcd", initial_visible_bias="data", learning_rate="auto")
    )
    assert [r["learning_rate"] for r in records] == pytest.approx([0.01] * 2)  # chains must follow the weights
    with pytest.raises(
        SettingsError, match="learning_rate of AutoencoderSettings must be a number; 'auto' is for RBMs"
    ):
        quick("autoencoder", learning_rate="auto")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (quick(binarize=True, hidden_units="gaussian"), "binarize of RBMSettings .* this layer has 'gaussian'"),
        ([quick(), quick(hidden_units="softmax:2+spin:2")], "describe 4 columns, but there are 3"),
        (
            [quick("autoencoder"), quick("autoencoder", optimizer="cg")],
            "optimizer 'cg' needs a loss that is the same",
        ),
        ([quick(), quick(early_stopping=True)], "early_stopping needs validation rows"),
    ],
)
def test_what_a_layer_above_cannot_be_is_said_before_the_first_is_trained(settings, message):
    with pytest.raises(SettingsError, match=message):
        GreedyPretraining(rows(n=N_ROWS), (5, 3), settings, seed=0)


def test_a_rehearsal_changes_no_number_and_warns_of_nothing_twice(seed):
    one, other = (GreedyPretraining(2 * rows(seed, N_ROWS), (5, 3), quick(), seed=seed, device="cpu") for _ in "ab")
    zero = one.rehearse()
    with pytest.warns(DataRangeWarning) as caught:
        records = list(one)
    assert len(caught) == 1
    assert not any(p.any() for p in zero.parameters())
    assert [p.shape for p in zero.parameters()] == [p.shape for p in one.stack.parameters()]
    with pytest.warns(DataRangeWarning):
        again = list(other)
    assert [r["loss"] for r in records] == [r["loss"] for r in again]
    assert all(map(torch.equal, one.stack.parameters(), other.stack.parameters()))


@pytest.mark.parametrize("optimizer", ["lbfgs", "cg"])
@pytest.mark.parametrize("estimator", ["cd", "mean_field"])
def test_contrastive_divergence_has_no_loss_to_search_along(optimizer, estimator):
    with pytest.raises(SettingsError, match=f"optimizer of RBMSettings cannot be '{optimizer}'.*Take 'sgd'"):
        quick(optimizer=optimizer, gradient_estimator=estimator)
