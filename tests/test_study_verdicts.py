"""Every study says "holds" of figures that support its claim, and "does not hold" of those that contradict it."""

import re
from itertools import pairwise

import pytest
from matplotlib.figure import Figure
from study_records import make_results

from pipelines.studies.catalogue import STUDIES, studies_named
from pipelines.studies.depth import DEPTHS
from pipelines.studies.initial_weights import DEPTHS as INITIAL_DEPTHS
from pipelines.studies.optimisation import FINE_RATES, NORM_RATES
from pipelines.studies.study import Scale
from pretrain.exceptions import SettingsError

SCRATCH_DEPTHS = {
    f"scratch {n}": {"gradients": [10.0**-n, 1.0], "train_loss": 0.1 * n, "test_error": 2.0 * n} for n in DEPTHS
}
NAMES = ("ReLU", "ReLU with batch norm")
# For each study: what its trials must give for the claim to hold.
SUPPORTING = {
    "vanishing-gradient": SCRATCH_DEPTHS,
    "pretraining-cures-it": SCRATCH_DEPTHS,
    "depth-against-width": {"1 hidden layer": {"test_error": 7.0}},
    "relu-needs-none": {"ReLU from scratch": {"test_error": 5.1}},
    "pretraining-with-few-labels": {
        "pretrained sigmoid, 50 labels": {"test_error": 10.0},
        "sigmoid, 50 labels": {"test_error": 20.0},
        "ReLU, 50 labels": {"test_error": 15.0},
    },
    "dropout": {"dropout": {"test_error": 4.0}},
    "dropout-with-pretraining": {"dropout": {"test_error": 4.0}},
    "monte-carlo-dropout": {"dropout": {"draw_area": 0.8}},
    "batch-norm-learning-rate": {
        **{f"{NAMES[0]} at {rate:g}": {"train_loss": 2.3, "losses": [2.3, 1.0, 0.3]} for rate in NORM_RATES[5:]},
        **{f"{NAMES[0]} at {rate:g}": {"losses": [2.3, 1.0, 0.3]} for rate in NORM_RATES[:5]},
    },
    "optimisers": {f"{name} at 0.1": {"train_loss": 0.2} for name in ("SGD", "momentum", "Nesterov", "Adagrad")},
    "learning-rate": {
        f"ReLU at {rate:g}": {"train_loss": 3.0 if rate > 1 else 0.1 + (rate - 1) ** 2} for rate in FINE_RATES
    },
    "initialisation": {
        **{f"tanh, small Gaussian, {n} layers": {"train_loss": 2.3} for n in INITIAL_DEPTHS},
        **{f"relu, small Gaussian, {n} layers": {"train_loss": 2.3} for n in INITIAL_DEPTHS},
        **{f"relu, Xavier, {n} layers": {"train_loss": 0.5} for n in INITIAL_DEPTHS},
    },
    "degradation": {"plain 56": {"train_loss": 0.5}},
    "densenet-parameters": {"densely connected": {"n_parameters": 500, "test_error": 5.2}},
    "shortcuts": {name: {"train_loss": 0.2} for name in ("times 0.5", "a matrix", "dropout 0.5")},
    "stochastic-depth": {"stochastic depth": {"compute_seconds": 0.8, "test_error": 4.0}},
}
# What contradicts it: by default all trials are alike.
CONTRADICTING = {
    "relu-needs-none": {"ReLU from scratch": {"test_error": 5.6}},
    "pretraining-with-few-labels": {"pretrained sigmoid, 50 labels": {"test_error": 21.0}},
    "monte-carlo-dropout": {"dropout": {"draw_area": 0.8, "draw_error": 7.0}},
    "optimisers": {f"Adam at {rate:g}": {"train_loss": 0.2} for rate in (0.001, 0.003, 0.01)},
    "learning-rate": {
        f"ReLU at {rate:g}": {"train_loss": 3.0 if rate > 8 else 0.1 + 0.1 * abs(rate - 1)} for rate in FINE_RATES
    },
    "densenet-parameters": {"densely connected": {"n_parameters": 500, "test_error": 6.5}},
    "stochastic-depth": {"stochastic depth": {"compute_seconds": 0.8, "test_error": 6.0}},
}
every_study = pytest.mark.parametrize("name", STUDIES)


@every_study
def test_figures_that_support_the_claim(name):
    verdict = STUDIES[name].judge(make_results(STUDIES[name], SUPPORTING[name]))
    assert [part.statement for part in verdict.parts if not part.holds] == []
    assert verdict.holds
    assert verdict.to_dict()["reason"] == ""


@every_study
def test_figures_that_contradict_the_claim(name):
    verdict = STUDIES[name].judge(make_results(STUDIES[name], CONTRADICTING.get(name, {})))
    assert not verdict.holds
    assert verdict.to_dict()["word"] == "does not hold at this scale"
    assert verdict.reason


@every_study
def test_the_figure_says_in_words_what_it_shows(name):
    figure = STUDIES[name].draw(make_results(STUDIES[name], SUPPORTING[name]))
    assert isinstance(figure, Figure)
    assert any(sign.isdigit() for sign in figure.get_label())


@every_study
@pytest.mark.parametrize("full", [False, True])
def test_trials_have_names_of_their_own_and_one_sentence_says_the_claim(name, full):
    trials = STUDIES[name].trials(Scale(full, n_features=784 if full else 64))
    assert len({trial.name for trial in trials}) == len(trials)
    for text in (STUDIES[name].claim, STUDIES[name].criterion, STUDIES[name].source):
        assert text.endswith((".", "?"))


def test_the_slope_of_gradients_over_depth_is_in_decades_a_layer():
    verdict = STUDIES["vanishing-gradient"].judge(make_results(STUDIES["vanishing-gradient"], SCRATCH_DEPTHS))
    assert verdict.parts[0].numbers["mean"] == pytest.approx(-1)


def test_the_rate_of_an_optimiser_is_chosen_by_the_validation_loss():
    changed = {
        "Adam at 0.001": {"validation_loss": 0.1, "train_loss": 0.5, "test_error": 9.0},
        "Adam at 0.01": {"validation_loss": 0.3, "train_loss": 0.01, "test_error": 1.0},
    }
    verdict = STUDIES["optimisers"].judge(make_results(STUDIES["optimisers"], changed))
    (chosen,) = re.findall(r"Adam ([\d.]+)", verdict.reason)
    assert float(chosen.rstrip(".")) == pytest.approx(0.5, rel=0.02)


def test_a_training_that_diverged_at_once_is_not_the_fastest():
    changed = dict(SUPPORTING["batch-norm-learning-rate"])
    changed["ReLU at 30"] = {"train_loss": 2.3, "losses": []}
    verdict = STUDIES["batch-norm-learning-rate"].judge(make_results(STUDIES["batch-norm-learning-rate"], changed))
    assert verdict.holds


def test_networks_of_depth_against_width_have_as_many_weights():
    for trial in STUDIES["depth-against-width"].trials(Scale()):
        sizes = (64, *trial.hidden_layer_sizes)
        n_weights = sum(a * b for a, b in pairwise(sizes))
        assert n_weights == pytest.approx(40_000, rel=0.01)


def test_a_study_that_does_not_exist_is_named():
    with pytest.raises(SettingsError, match="no study 'drop'; the studies are vanishing-gradient"):
        studies_named(("dropout", "drop"))
    assert [study.name for study in studies_named(("dropout", "dropout"))] == ["dropout"]
