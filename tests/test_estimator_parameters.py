"""Each parameter of each estimator does something, and an illegal value is refused by its name."""

import functools
import io
import itertools
import re
from contextlib import redirect_stderr, redirect_stdout

import numpy as np
import pytest
import torch
from sklearn.base import clone

import pretrain.estimators
from pretrain.estimators.transformers import AUTOENCODER_FIELDS
from pretrain.exceptions import SettingsError

NAMES = pretrain.estimators.__all__
N_ROWS, N_FEATURES = 61, 8
_rng = np.random.default_rng(1)
X = _rng.uniform(0.1, 0.9, size=(N_ROWS, N_FEATURES))
LABELS = (X[:, 0] > X[:, 1]).astype(int) + (X[:, 2] > 0.5)
TARGETS = X @ _rng.normal(size=(N_FEATURES, 2))

SHAPE = {"hidden_layer_sizes": (5, 3), "random_state": 0}
SUPERVISED = {**SHAPE, "max_iter": 3, "batch_size": 13, "learning_rate_init": 0.01}
PRETRAINED = {**SUPERVISED, "pretrain_epochs": 2, "pretrain_batch_size": 17}
BASE = {
    "RBMTransformer": {"n_components": 5, "n_iter": 2, "batch_size": 17, "random_state": 0},
    "StackTransformer": {**SHAPE, "n_iter": 2, "batch_size": 17},
    **{
        name: PRETRAINED
        for name in ("DBNClassifier", "DBNRegressor", "DeepAutoencoder", "SDAEClassifier", "SDAERegressor")
    },
    **{name: SUPERVISED for name in ("ScratchClassifier", "ScratchRegressor")},
    "GenerativeDBN": {
        **SHAPE,
        "pretrain_epochs": 2,
        "pretrain_batch_size": 17,
        "up_down_epochs": 3,
        "up_down_batch_size": 13,
    },
}

# Parameter -> (another value, what else must be set for it to matter).
SGD = {"solver": "sgd", "learning_rate_init": 0.1}
STOPPING = {"early_stopping": True, "tol": 1e6, "n_iter_no_change": 1}
LONG_RAMP = {"pretrain_epochs": 6}  # momentum is 0.5 in the first five epochs whatever its final value
EFFECTS = {
    "hidden_layer_sizes": ((5, 2), {}),
    "n_components": (3, {}),
    "visible_units": ("gaussian", {}),
    "hidden_units": ("gaussian", {}),
    "gradient_estimator": ("pcd", {}),
    "sample_reconstruction": (False, {}),
    "n_chains": (3, {"gradient_estimator": "pcd"}),
    "n_temperatures": (3, {"gradient_estimator": "tempering"}),
    "fast_learning_rate": (0.5, {"gradient_estimator": "fast_pcd"}),
    "fast_decay": (0.5, {"gradient_estimator": "fast_pcd", "fast_learning_rate": 1.0}),
    "centered": (True, {}),
    "binarize": (True, {}),
    "sparsity_target": (0.1, {}),
    "sparsity_cost": (1.0, {"sparsity_target": 0.1}),
    "sparsity_decay": (0.1, {"sparsity_target": 0.1}),
    "hidden_dropout": (0.5, {}),
    "weight_scale": (0.01, {}),
    "initial_visible_bias": ("data", {}),
    "l1": (0.01, {}),
    "n_gibbs_steps": (2, {}),
    "initial_gibbs_steps": (1, {"n_gibbs_steps": 3}),
    "corruption": ("gaussian", {}),
    "corruption_level": (0.7, {}),
    "emphasis": (1.0, {}),
    "contraction": (0.5, {}),
    "contraction_higher_order": (0.5, {"contraction": 0.5}),
    "contraction_noise": (0.5, {"contraction": 0.5, "contraction_higher_order": 0.5}),
    "tied": (False, {}),
    "activation": ("tanh", {}),
    "initialisation": ("orthogonal", {}),
    "pseudo_labels": (3.0, {}),
    "kind": ("sigmoid", {}),
    "pretrain_epochs": (1, {}),
    "pretrain_learning_rate": (0.01, {}),
    "pretrain_schedule": ("linear", {}),
    "pretrain_batch_size": (29, {}),
    "pretrain_momentum": (0.6, LONG_RAMP),
    "pretrain_weight_decay": (0.1, {}),
    "pretrain_solver": ("sgd", {}),
    "up_down_epochs": (1, {}),
    "up_down_gibbs_steps": ((1,), {}),
    "up_down_batch_size": (29, {}),
    "up_down_solver": ("adam", {}),
    "up_down_learning_rate": (0.1, {}),
    "up_down_schedule": ("linear", {}),
    "up_down_momentum": (0.6, {}),
    "up_down_weight_decay": (0.1, {}),
    "nesterov": (True, {"solver": "sgd"}),
    "image_shape": ((2, 4), {"flip": True, "image_shape": (4, 2)}),
    "shift": (1, {"image_shape": (2, 4)}),
    "flip": (True, {"image_shape": (2, 4)}),
    "crop": (1, {"image_shape": (2, 4)}),
    "rotation": (90.0, {"image_shape": (2, 4)}),
    "noise": (0.5, {}),
    "head_epochs": (1, {}),
    "reconstruction_loss": ("squared_error", {}),
    "solver": ("rmsprop", {}),
    "learning_rate_init": (0.1, {}),
    "learning_rate": (0.01, {}),
    "schedule": ("constant", {}),
    "momentum": (0.6, SGD),
    "weight_decay": (0.1, {}),
    "max_iter": (2, {}),
    "n_iter": (1, {}),
    "batch_size": (29, {}),
    "alpha": (0.1, {}),
    "max_norm": (0.1, {}),
    "dropout": (0.4, {}),
    "input_dropout": (0.4, {}),
    "early_stopping": (True, {}),
    "validation_fraction": (0.3, {"early_stopping": True}),
    "n_iter_no_change": (2, STOPPING),
    "tol": (0.0, {**STOPPING, "n_iter_no_change": 20, "max_iter": 30, "learning_rate_init": 0.1}),
    "scaling": ("minmax", {}),
    "warm_start": (True, {}),
    "precision": ("bfloat16", {}),
    "verbose": (True, {}),
    "random_state": (1, {}),
    "class_weight": ("balanced", {}),
}
# What differs from EFFECTS in one estimator.
OWN_EFFECTS = {
    ("RBMTransformer", "momentum"): (0.6, {"n_iter": 6}),
    ("RBMTransformer", "schedule"): ("linear", {}),
    ("StackTransformer", "kind"): ("autoencoder", {}),
    ("DBNClassifier", "tol"): (0.0, {**EFFECTS["tol"][1], "dropout": 0.0, "sparsity_target": None}),
    ("DeepAutoencoder", "kind"): ("autoencoder", {}),
    **{
        (name, "image_shape"): ((4, 2), {"kind": "resnet-20", "image_shape": (2, 4)})
        for name in ("ScratchClassifier", "ScratchRegressor")
    },
}
for parameter in AUTOENCODER_FIELDS:
    value, others = EFFECTS[parameter]
    OWN_EFFECTS["StackTransformer", parameter] = value, {**others, "kind": "autoencoder"}

# Those that have tests of their own: `memory` is to have no effect but on the time (test_pretraining_cache).
# `pseudo_labels` wants rows without a label (test_pseudo_labels).
ELSEWHERE = ("device", "missing", "memory", "pseudo_labels")

CHECKED_BY_SKLEARN = ("memory",)  # in its words

# Parameter -> values that are refused.
ILLEGAL = {
    "hidden_layer_sizes": (5, (5, 0), (5, 2.5), "57"),
    "n_components": (0, 2.5, None),
    "visible_units": ("relu", None, "bernoulli:3+relu:4", "bernoulli:x"),
    "hidden_units": ("relu", "replicated_softmax", "gaussian_learned"),
    "gradient_estimator": ("exact", None),
    "sample_reconstruction": ("yes", 1),
    "n_chains": (0, 2.5, "some"),
    "n_temperatures": (1, 2.5, None),
    "fast_learning_rate": (-0.1, None),
    "fast_decay": (-0.1, 1.0),
    "centered": ("yes", None),
    "binarize": ("yes", 1),
    "sparsity_target": (0, 1.0),
    "sparsity_cost": (-1, None),
    "sparsity_decay": (-0.1, 1.0),
    "hidden_dropout": (1.0, -0.1),
    "missing": ("mean", None),
    "weight_scale": (-0.1, None),
    "initial_visible_bias": ("mean",),
    "l1": (-1, None),
    "n_gibbs_steps": (0, 1.5),
    "initial_gibbs_steps": (0, 1.5),
    "corruption": ("salt", None),
    "corruption_level": (-0.1, 1.0, "much"),
    "emphasis": (-0.1, 1.1, None),
    "contraction": (-1, None),
    "contraction_higher_order": (-1, None),
    "contraction_noise": (0, None),
    "tied": ("yes", 1),
    "activation": ("sine",),
    "initialisation": ("lecun",),
    "pseudo_labels": (-1, None),
    "kind": ("transformer", 3, []),
    "pretrain_epochs": (-1, 1.5, "many"),
    "pretrain_learning_rate": (0, -1, np.nan),
    "pretrain_schedule": ("random",),
    "pretrain_batch_size": (0, "all"),
    "pretrain_momentum": (1.0, -0.1, "heavy"),
    "pretrain_weight_decay": (-1e-3, None),
    "pretrain_solver": ("newton",),
    "up_down_epochs": (-1, 1.5, "many"),
    "up_down_gibbs_steps": (3, (0,), (2.5,)),
    "up_down_batch_size": (0, "all"),
    "up_down_solver": ("newton",),
    "up_down_learning_rate": (0, -1, np.nan),
    "up_down_schedule": ("random",),
    "up_down_momentum": (1.0, -0.1),
    "up_down_weight_decay": (-1, None),
    "nesterov": ("yes", 1),
    "image_shape": ([8], [3, 3], [2.0, 4.0], 8),
    "shift": (-1, 0.5),
    "flip": ("yes", 1),
    "crop": (-1, 0.5),
    "rotation": (-1, 181, None),
    "noise": (-0.1, None),
    "head_epochs": (-1, 0.5, "all"),
    "reconstruction_loss": ("absolute", None),
    "solver": ("newton", None),
    "learning_rate_init": (0, -1, np.inf),
    "learning_rate": (0, "fast"),
    "schedule": ("random",),
    "momentum": (1.0, -0.1),
    "weight_decay": (-1,),
    "max_iter": (-1, 2.5, "long"),
    "n_iter": (-1, 2.5, "long"),
    "batch_size": (0, 2.5, "all"),
    "alpha": (-1, None),
    "max_norm": (0, -1),
    "dropout": (1.0, -0.1, "half"),
    "input_dropout": (1.0, -0.1),
    "early_stopping": ("yes",),
    "validation_fraction": (-0.1, 1.0, "some"),
    "n_iter_no_change": (0, 1.5),
    "tol": (-1,),
    "scaling": ("log", None),
    "warm_start": ("yes", 2),
    "device": ("tpu", 3),
    "precision": ("float8",),
    "verbose": ("yes", None),
    "random_state": (-1, 1.5, "seed"),
    "class_weight": ("even", 3, [], [1, 2, 3], {0: -1.0}, {1: np.nan}, {1: "much"}),
    "memory": (3,),
}


def defaults(name):
    return getattr(pretrain.estimators, name)().get_params()


PARAMETERS = [(name, parameter) for name in NAMES for parameter in defaults(name)]


def fit(name, **changes):
    targets = TARGETS if name.endswith("Regressor") else LABELS
    return getattr(pretrain.estimators, name)(**{**BASE[name], **changes}).fit(X, targets)


@functools.cache
def outcome(name, changes):
    """What fits leave behind: model, scaling, losses, whether they printed, and the same after a second fit."""
    printed = io.StringIO()
    with redirect_stdout(printed), redirect_stderr(printed):
        estimator = fit(name, **dict(changes))
        first = state(estimator)
        estimator.fit(X, TARGETS if name.endswith("Regressor") else LABELS)
    return first, state(estimator), bool(printed.getvalue())


def state(estimator):
    model, losses = estimator.fitted_state()["model"], [record["loss"] for record in estimator.report_]
    weights = {key: (tuple(value.shape), value.tolist()) for key, value in model.state_dict().items()}
    return weights, losses, model.scaling.kind, model.scaling.scale.tolist()


@pytest.mark.parametrize(("name", "parameter"), [p for p in PARAMETERS if p[1] not in ELSEWHERE])
def test_each_parameter_has_an_effect(name, parameter):
    value, others = OWN_EFFECTS.get((name, parameter), EFFECTS[parameter])
    base = {**BASE[name], **others}
    assert value != {**defaults(name), **base}[parameter]
    with_it = outcome(name, tuple({**others, parameter: value}.items()))
    assert with_it != outcome(name, tuple(others.items()))


@pytest.mark.parametrize("name", NAMES)
def test_the_comparison_of_outcomes_sees_no_difference_where_there_is_none(name):
    assert outcome(name, (("device", "cpu"),)) == outcome(name, (("device", torch.device("cpu")),))


def test_missing_decides_about_nan():
    holes = X.copy()
    holes[::7, 2] = np.nan
    with pytest.raises(ValueError, match="contains NaN"):
        pretrain.estimators.RBMTransformer(**BASE["RBMTransformer"]).fit(holes)
    found = pretrain.estimators.RBMTransformer(**BASE["RBMTransformer"], missing="gibbs").fit(holes)
    assert np.isfinite(found.transform(holes)).all()


@pytest.mark.parametrize("name", NAMES)
def test_device_has_an_effect(name):
    if torch.cuda.is_available():
        model = fit(name, device="cuda").fitted_state()["model"]
        assert next(model.parameters()).device.type == "cuda"
    else:
        with pytest.raises(SettingsError, match="device 'cuda' was asked for, but torch finds none here"):
            fit(name, device="cuda")


@pytest.mark.parametrize(("name", "parameter"), PARAMETERS)
def test_an_illegal_value_is_refused_by_the_parameters_name(name, parameter):
    for value in ILLEGAL[parameter]:
        if parameter in CHECKED_BY_SKLEARN:
            with pytest.raises(ValueError, match=f"'{parameter}'"):
                fit(name, **{parameter: value})
            continue
        got = re.escape(repr(value[-1] if isinstance(value, tuple) else value))
        with pytest.raises(SettingsError, match=rf"^{parameter} (of [\w ]+ )?must .*; got {got}\.$"):
            fit(name, **{parameter: value})


@pytest.mark.parametrize(
    ("name", "parameter"),
    [
        *itertools.product(
            ("DBNClassifier", "SDAERegressor"),
            ("dropout", "input_dropout", "validation_fraction", "solver", "max_iter"),
        ),
        *itertools.product(["DeepAutoencoder"], ("reconstruction_loss", "solver", "schedule", "max_iter", "alpha")),
    ],
)
def test_illegal_values_are_refused_before_anything_is_trained(name, parameter):
    estimator = getattr(pretrain.estimators, name)(**{**BASE[name], parameter: -1})
    with pytest.raises(SettingsError, match=parameter):
        estimator.fit(X, TARGETS if name.endswith("Regressor") else LABELS)
    assert not hasattr(estimator, "report_")


@pytest.mark.parametrize("name", NAMES)
def test_clones_have_every_parameter(name):
    cls, known = getattr(pretrain.estimators, name), defaults(name)
    changed = {parameter: value for parameter, (value, _) in EFFECTS.items() if parameter in known}
    estimator = cls(**changed)
    assert estimator.get_params() == {**known, **changed}
    assert clone(estimator).get_params() == estimator.get_params()
    assert clone(fit(name)).get_params() == {**known, **BASE[name]}


@pytest.mark.parametrize("name", NAMES)
def test_fit_leaves_the_parameters_alone(name):
    estimator = fit(name)
    assert estimator.get_params() == getattr(pretrain.estimators, name)(**BASE[name]).get_params()
