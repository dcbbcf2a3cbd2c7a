"""Settings: round trips through JSON, unknown names, illegal values."""

import dataclasses
import json

import numpy as np
import pytest

from pretrain.exceptions import SettingsError
from pretrain.settings import (
    AutoencoderSettings,
    FinetuneSettings,
    RBMSettings,
    SupervisedSettings,
    TrainingSettings,
    encoder_settings,
    layer_settings_from_dict,
    settings_from_dict,
    to_dict,
)
from pretrain.training_settings import OPTIMIZERS

UNUSUAL = [
    TrainingSettings(
        epochs=3,
        batch_size=17,
        optimizer="sgd",
        learning_rate=0.25,
        momentum=0.5,
        nesterov=True,
        initial_momentum=0.1,
        initial_momentum_epochs=2,
        schedule="step",
        decay=0.5,
        decay_epochs=3,
        weight_decay=0.1,
        l1=0.2,
        max_norm=3.0,
        early_stopping=True,
        n_iter_no_change=4,
        tol=0.01,
        precision="float32",
    ),
    RBMSettings(
        "spin:2+gaussian:3",
        n_gibbs_steps=5,
        initial_gibbs_steps=2,
        gradient_estimator="tempering",
        sample_reconstruction=True,
        n_chains=17,
        n_temperatures=5,
        fast_learning_rate=0.5,
        fast_decay=0.5,
        centered=True,
        sparsity_target=0.1,
        sparsity_cost=0.5,
        sparsity_decay=0.5,
        hidden_dropout=0.25,
        missing="gibbs",
        initial_weights="transposed",
        weight_scale=0.01,
        initial_visible_bias="data",
        training=TrainingSettings(epochs=2),
    ),
    RBMSettings(hidden_units="gaussian", centered=False, binarize=True, training=TrainingSettings(learning_rate=0.1)),
    AutoencoderSettings("gaussian", 1.5, tied=False, activation="relu", reconstruction_loss="squared_error"),
    AutoencoderSettings(
        "swap",
        0.5,
        emphasis=1.0,
        activation="tanh",
        sparsity_target=0.1,
        sparsity_cost=0.5,
        contraction=0.2,
        contraction_higher_order=0.3,
        contraction_noise=0.4,
    ),
    FinetuneSettings(
        reconstruction_loss="squared_error",
        shift=2,
        flip=True,
        crop=4,
        rotation=15.0,
        noise=0.1,
        pseudo_labels=3.0,
        head_epochs=2,
        layer_learning_rates=(0.1, 0.5, 1.0),
        frozen_layers=(0, 1),
        training=TrainingSettings(l1=0.1),
    ),
]
CLASSES = [TrainingSettings, RBMSettings, AutoencoderSettings, SupervisedSettings, FinetuneSettings]


@pytest.mark.parametrize("settings", [*UNUSUAL, *(cls() for cls in CLASSES)], ids=lambda s: type(s).__name__)
def test_round_trip_through_json(settings):
    values = json.loads(json.dumps(to_dict(settings)))
    assert settings_from_dict(type(settings), values) == settings
    if hasattr(settings, "kind"):
        assert layer_settings_from_dict(values) == settings


@pytest.mark.parametrize("settings", UNUSUAL, ids=lambda s: type(s).__name__)
def test_the_round_trip_of_unusual_values_leaves_no_default(settings):
    # Otherwise a field that is lost on the way would come back by its default, unseen.
    usual = type(settings)()
    fields = {field.name for field in dataclasses.fields(settings)}
    changed = {
        name
        for other in UNUSUAL
        if type(other) is type(settings)
        for name in fields
        if getattr(other, name) != getattr(usual, name)
    }
    assert fields - changed <= {"optimizer", "training"}


def test_numpy_numbers_become_plain():
    settings = FinetuneSettings(
        head_epochs=np.int64(2),
        layer_learning_rates=np.array([0.5, 1.0]),
        frozen_layers=[np.int32(0)],
        training=TrainingSettings(epochs=np.int64(3), learning_rate=np.float32(0.5), nesterov=np.bool_(False)),
    )
    values = json.loads(json.dumps(to_dict(settings)))
    assert values["head_epochs"] == 2
    assert values["layer_learning_rates"] == [0.5, 1.0]
    assert values["frozen_layers"] == [0]
    assert (values["training"]["epochs"], values["training"]["nesterov"]) == (3, False)


@pytest.mark.parametrize("cls", CLASSES)
def test_missing_keys_keep_their_defaults(cls):
    assert settings_from_dict(cls, {}) == cls()


@pytest.mark.parametrize("cls", CLASSES[1:])
def test_missing_keys_of_training_keep_the_defaults_of_the_class(cls):
    settings = settings_from_dict(cls, {"training": {"epochs": 3}})
    assert settings.training == dataclasses.replace(cls().training, epochs=3)
    assert settings.training.optimizer == cls().training.optimizer


@pytest.mark.parametrize(
    ("cls", "values", "message"),
    [
        (
            TrainingSettings,
            {"learning_rat": 1},
            "TrainingSettings has no setting 'learning_rat'. Did you mean 'learnin",
        ),
        (
            RBMSettings,
            {"training": {"momentun": 1}},
            "TrainingSettings has no setting 'momentun'. Did you mean 'momen",
        ),
        (RBMSettings, {"corruption": "masking"}, "RBMSettings has no setting 'corruption'"),
        (AutoencoderSettings, {"zzz": 1}, "AutoencoderSettings has no setting 'zzz'. Its settings: corruption, "),
        (TrainingSettings, {"kind": "rbm"}, "TrainingSettings has no setting 'kind'"),
        (RBMSettings, {"kind": "autoencoder"}, "RBMSettings has no setting 'kind'"),
    ],
)
def test_unknown_keys(cls, values, message):
    with pytest.raises(SettingsError) as caught:
        settings_from_dict(cls, values)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("kind", [None, "stack", ["rbm"]])
def test_unknown_kind_of_layer(kind):
    with pytest.raises(SettingsError, match="kind of a layer must be one of rbm, autoencoder, supervised; got"):
        layer_settings_from_dict({"kind": kind})


INTEGER, NUMBER = "must be an integer >= {}", "must be a finite number {}"
ILLEGAL = [
    *((TrainingSettings, "epochs", value, INTEGER.format(0)) for value in (-1, 1.5, True, "many", None)),
    *((TrainingSettings, "batch_size", value, INTEGER.format(1)) for value in (0, 2.0, None)),
    *((TrainingSettings, "optimizer", value, "must be one of sgd, adagrad, ") for value in ("lion", None, ["sgd"])),
    *((TrainingSettings, "learning_rate", value, NUMBER.format("> 0")) for value in (0, -1, "0.1", None, "Auto")),
    *((TrainingSettings, "learning_rate", value, NUMBER.format("> 0")) for value in (float("nan"), float("inf"))),
    *((TrainingSettings, "momentum", value, NUMBER.format(">= 0 and < 1")) for value in (-0.1, 1)),
    *((TrainingSettings, "nesterov", value, "must be True or False") for value in ("yes", 1, None)),
    *((TrainingSettings, "initial_momentum", value, NUMBER.format(">= 0 and < 1")) for value in (-0.1, 1)),
    (TrainingSettings, "initial_momentum_epochs", 0, INTEGER.format(1)),
    *(
        (TrainingSettings, "schedule", value, "must be one of constant, step, exponential, ")
        for value in ("sine", None)
    ),
    (TrainingSettings, "decay", 0, NUMBER.format("> 0")),
    (TrainingSettings, "decay_epochs", 0, INTEGER.format(1)),
    (TrainingSettings, "weight_decay", -1, NUMBER.format(">= 0")),
    (TrainingSettings, "l1", -1, NUMBER.format(">= 0")),
    *((TrainingSettings, "max_norm", value, NUMBER.format("> 0")) for value in (0, "3")),
    (TrainingSettings, "early_stopping", 1, "must be True or False"),
    (TrainingSettings, "n_iter_no_change", 0, INTEGER.format(1)),
    (TrainingSettings, "tol", -1, NUMBER.format(">= 0")),
    (TrainingSettings, "precision", "float16", "must be one of auto, float32, bfloat16"),
    (RBMSettings, "visible_units", "relu", "must be one of bernoulli, gaussian"),
    (RBMSettings, "hidden_units", None, "must be one of bernoulli, gaussian"),
    *((RBMSettings, "n_gibbs_steps", value, INTEGER.format(1)) for value in (0, 1.0)),
    *(
        (RBMSettings, "visible_units", value, "must be one of bernoulli, ")
        for value in (None, 3, "", "softmax:2+relu:3")
    ),
    *(
        (RBMSettings, "visible_units", value, "must have a width of 1 or more")
        for value in ("spin:0", "spin:x+spin:2")
    ),
    *(
        (RBMSettings, "visible_units", value, "must be one of bernoulli, ")
        for value in ("spin+softmax:2", "+", "Spin")
    ),
    *(
        (RBMSettings, "hidden_units", v, "must be one of ")
        for v in ("gaussian_learned", "spin:2+replicated_softmax:2")
    ),
    (RBMSettings, "visible_units", "spin:2+replicated_softmax:2", "cannot mix replicated_softmax with other types"),
    *((RBMSettings, "gradient_estimator", value, "must be one of cd, mean_field, pcd") for value in ("CD", None)),
    *((RBMSettings, "initial_gibbs_steps", value, INTEGER.format(1)) for value in (0, 1.5, "1")),
    *((RBMSettings, "sample_reconstruction", value, "must be True or False") for value in (1, "yes", None)),
    *((RBMSettings, "n_chains", value, INTEGER.format(1)) for value in (0, 1.5, "many", None)),
    *((RBMSettings, "n_temperatures", value, INTEGER.format(2)) for value in (1, 2.5, None)),
    *((RBMSettings, "fast_learning_rate", value, NUMBER.format(">= 0")) for value in (-1, "0.1", float("nan"))),
    *((RBMSettings, "fast_decay", value, NUMBER.format(">= 0 and < 1")) for value in (-0.1, 1, None)),
    *((RBMSettings, "centered", value, "must be True or False") for value in (1, "yes", None)),
    *((RBMSettings, "binarize", value, "must be True or False") for value in (1, "auto", None)),
    *((RBMSettings, "sparsity_target", value, NUMBER.format("> 0 and < 1")) for value in (0, 1, "0.1")),
    *((RBMSettings, "sparsity_cost", value, NUMBER.format(">= 0")) for value in (-1, None, float("inf"))),
    *((RBMSettings, "sparsity_decay", value, NUMBER.format(">= 0 and < 1")) for value in (-0.1, 1, None)),
    *((RBMSettings, "hidden_dropout", value, NUMBER.format(">= 0 and < 1")) for value in (-0.1, 1, None)),
    *((RBMSettings, "missing", value, "must be one of error, gibbs") for value in ("mean", None)),
    *((RBMSettings, "initial_weights", value, "must be one of random, transposed") for value in ("zero", None)),
    *((RBMSettings, "initial_visible_bias", value, "must be one of zero, data") for value in ("mean", None)),
    (RBMSettings, "weight_scale", -1, NUMBER.format(">= 0")),
    (AutoencoderSettings, "corruption", "salt", "must be one of none, masking, gaussian, salt_and_pepper, swap"),
    *((AutoencoderSettings, "emphasis", value, NUMBER.format(">= 0 and <= 1")) for value in (-0.1, 1.1, None)),
    *((AutoencoderSettings, "sparsity_target", value, NUMBER.format("> 0 and < 1")) for value in (0, 1, "0.1")),
    *((AutoencoderSettings, "sparsity_cost", value, NUMBER.format(">= 0")) for value in (-1, None)),
    *((AutoencoderSettings, "contraction", value, NUMBER.format(">= 0")) for value in (-1, None, float("inf"))),
    *((AutoencoderSettings, "contraction_higher_order", value, NUMBER.format(">= 0")) for value in (-1, None)),
    *((AutoencoderSettings, "contraction_noise", value, NUMBER.format("> 0")) for value in (0, -1, None)),
    *((AutoencoderSettings, "corruption_level", value, NUMBER.format(">= 0 and < 1")) for value in (-0.1, 1)),
    (AutoencoderSettings, "tied", "no", "must be True or False"),
    (AutoencoderSettings, "activation", "swish", "must be one of sigmoid, tanh, "),
    (AutoencoderSettings, "reconstruction_loss", "mse", "must be one of auto, cross_entropy, squared_error"),
    (SupervisedSettings, "activation", "softmax", "must be one of sigmoid, tanh, "),
    (FinetuneSettings, "head_epochs", -1, INTEGER.format(0)),
    (FinetuneSettings, "layer_learning_rates", 0.5, "must be a list or a tuple, one entry a layer"),
    (FinetuneSettings, "layer_learning_rates", (0.5, -1), NUMBER.format(">= 0")),
    (
        FinetuneSettings,
        "reconstruction_loss",
        "hinge",
        "must be one of auto, cross_entropy, squared_error",
    ),
    (FinetuneSettings, "shift", -1, INTEGER.format(0)),
    (FinetuneSettings, "flip", 1, "must be True or False"),
    (FinetuneSettings, "crop", -1, "must be an integer >= 0"),
    (FinetuneSettings, "rotation", 181, "must be a finite number >= 0 and <= 180"),
    (FinetuneSettings, "noise", -1, "must be a finite number >= 0"),
    (FinetuneSettings, "pseudo_labels", -1, "must be a finite number >= 0"),
    (FinetuneSettings, "frozen_layers", 1, "must be a list or a tuple, one entry a layer"),
    (FinetuneSettings, "frozen_layers", (-1,), INTEGER.format(0)),
    *((cls, "training", value, "must be TrainingSettings") for cls in CLASSES[1:] for value in (None, {"epochs": 3})),
]


@pytest.mark.parametrize(("cls", "name", "value", "legal"), ILLEGAL)
def test_illegal_values(cls, name, value, legal):
    with pytest.raises(SettingsError) as caught:
        cls(**{name: value})
    assert str(caught.value).startswith(f"{name} of {cls.__name__} {legal}")
    got = value[-1] if isinstance(value, tuple) else value
    assert str(caught.value).endswith(f"; got {got!r}.")
    assert isinstance(caught.value, ValueError)


def test_every_field_has_an_illegal_value():
    for cls in CLASSES:
        assert {name for owner, name, *_ in ILLEGAL if owner is cls} == {
            field.name for field in dataclasses.fields(cls)
        }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sparsity_target": 0.1, "hidden_units": "spin"}, "sparsity_target of RBMSettings is for bernoulli hidden"),
        ({"binarize": True, "visible_units": "gaussian"}, "binarize of RBMSettings is for bernoulli visible"),
        ({"missing": "gibbs", "visible_units": "replicated_softmax"}, "missing of RBMSettings must be 'error'"),
        ({"centered": True, "visible_units": "replicated_softmax"}, "centered of RBMSettings is not for replicated"),
    ],
)
def test_settings_that_contradict_each_other(options, message):
    with pytest.raises(SettingsError, match=message):
        RBMSettings(**options)
    for name in options:  # each alone is legal
        RBMSettings(**{name: options[name]})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"emphasis": 0.5, "corruption": "gaussian"},
            "emphasis of AutoencoderSettings is for noise that",
        ),
        ({"emphasis": 0.5, "corruption": "none"}, "emphasis of .* got corruption 'none', corruption_level 0.25"),
        ({"emphasis": 0.5, "corruption_level": 0}, "emphasis of .* got corruption 'masking', corruption_level 0"),
        ({"sparsity_target": 0.1, "activation": "relu"}, "sparsity_target of .* sigmoid, tanh, .* got 'relu'"),
        ({"sparsity_target": 0.1, "activation": "softplus"}, "sparsity_target of AutoencoderSettings is for the"),
        ({"contraction_higher_order": 0.1, "activation": "identity"}, "contraction_higher_order of .*'identity'"),
    ],
)
def test_settings_of_an_autoencoder_that_contradict_each_other(options, message):
    with pytest.raises(SettingsError, match=message):
        AutoencoderSettings(**options)
    for name in options:  # each alone is legal
        AutoencoderSettings(**{name: options[name]})


@pytest.mark.parametrize("cls", [AutoencoderSettings, FinetuneSettings])
def test_the_rate_is_left_to_the_units_of_rbms_alone(cls):
    training = TrainingSettings(learning_rate="auto")
    assert RBMSettings(training=training).training.learning_rate == "auto"
    with pytest.raises(SettingsError, match=f"learning_rate of {cls.__name__} must be a number; 'auto' is for RBMs"):
        cls(training=training)


def test_a_legal_corruption_level_depends_on_the_noise():
    assert AutoencoderSettings(corruption="gaussian", corruption_level=1.5).corruption_level == 1.5
    for share in ("masking", "salt_and_pepper", "swap"):
        with pytest.raises(SettingsError, match=r"corruption_level of AutoencoderSettings must be .* < 1; got 1.5"):
            AutoencoderSettings(corruption=share, corruption_level=1.5)


@pytest.mark.parametrize("options", [{"optimizer": name} for name in OPTIMIZERS[1:]] + [{"momentum": 0}], ids=str)
def test_nesterov_needs_sgd_with_momentum(options):
    with pytest.raises(SettingsError, match="nesterov of TrainingSettings needs optimizer 'sgd' with momentum > 0"):
        TrainingSettings(nesterov=True, **options)


def test_settings_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        TrainingSettings().epochs = 3


@pytest.mark.parametrize("n_layers", [1, 3])
def test_the_settings_of_an_encoder(n_layers):
    training = TrainingSettings(epochs=3)
    units = ["gaussian", *["bernoulli"] * (n_layers - 1)]
    codes = [*["bernoulli"] * (n_layers - 1), "gaussian"]
    rbms = [RBMSettings(v, h, n_gibbs_steps=2, training=training) for v, h in zip(units, codes, strict=True)]
    assert encoder_settings(RBMSettings("gaussian", n_gibbs_steps=2, training=training), n_layers) == rbms
    tanh = AutoencoderSettings(activation="tanh", training=training)
    linear = dataclasses.replace(tanh, activation="identity")
    assert encoder_settings(tanh, n_layers) == [*[tanh] * (n_layers - 1), linear]
