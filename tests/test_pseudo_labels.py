"""Pseudo-labels: the objective against its formula, when they count, and what they are good for."""

import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from sklearn.datasets import make_moons
from stacks import rows
from supervised_problem import LABELS, N_FEATURES, X, finetune, make_network, quick, snapshot, targets
from torch.nn import functional

from pipelines.cli import main
from pretrain.batches import Batch, BatchSource
from pretrain.estimators import DBNClassifier, ScratchClassifier, ScratchRegressor
from pretrain.exceptions import DataError, SettingsError
from pretrain.finetuning import Finetuning
from pretrain.pseudo_labels import PseudoLabelLearner, ramp
from pretrain.settings import FinetuneSettings, TrainingSettings

OTHERS = rows(5, 37, N_FEATURES)


def settings(pseudo_labels=3.0, **training):
    fields = {"epochs": 10, "batch_size": 7, "optimizer": "adam", "learning_rate": 0.01, **training}
    return FinetuneSettings(pseudo_labels=pseudo_labels, training=TrainingSettings(**fields))


def learner_of(network, seed=0, weight=3.0, batch_size=37):
    source = BatchSource(
        OTHERS, batch_size=batch_size, generator=torch.Generator().manual_seed(seed), device=torch.device("cpu")
    )
    return PseudoLabelLearner(
        network,
        rate_factors=[1.0] * 3,
        generator=torch.Generator().manual_seed(seed),
        dtype=torch.float32,
        unlabelled=source,
        weight=weight,
    )


def test_the_weight_grows_along_a_line():
    assert [ramp(share) for share in (0, 0.05, 0.1)] == [0, 0, 0]
    assert [ramp(share) for share in (0.35, 0.6, 0.9)] == pytest.approx([0.5, 1, 1])
    records = finetune(make_network(), settings(), unlabelled=OTHERS)
    found = [record["pseudo_label_weight"] for record in records]
    assert found == pytest.approx([0, 0, 0.6, 1.2, 1.8, 2.4, 3, 3, 3, 3])


def test_gradients_are_those_of_the_formula(seed):
    network, batch = make_network(seed=seed), Batch(torch.from_numpy(X), torch.from_numpy(LABELS))
    with torch.no_grad():  # so that the rows are not all of one class
        network.head.bias -= network(torch.from_numpy(OTHERS)).mean(dim=0)
    learner = learner_of(network, seed)
    learner.begin_epoch(7, 10)
    loss = learner.fill_gradients(batch)
    found = [parameter.grad.clone() for parameter in network.parameters()]
    u = torch.from_numpy(OTHERS)
    with torch.no_grad():
        classes = network(u).argmax(dim=1)
    assert len(classes.unique()) > 1
    labelled = functional.cross_entropy(network(batch.X), batch.y)
    expected = torch.autograd.grad(labelled + 3 * functional.cross_entropy(network(u), classes), network.parameters())
    for gradient, wanted in zip(found, expected, strict=True):
        torch.testing.assert_close(gradient, wanted)
    torch.testing.assert_close(loss, labelled.detach())  # the labelled rows' alone


def test_rows_of_both_kinds_are_changed_and_only_labelled_ones_weighted(seed):
    weight = torch.from_numpy(np.random.default_rng(seed).uniform(0.5, 1.5, len(X)).astype(np.float32))
    network, batch = make_network(seed=seed), Batch(torch.from_numpy(X), torch.from_numpy(LABELS), weight)
    learner, u = learner_of(network, seed), torch.from_numpy(OTHERS)
    learner.augment = lambda x: x.flip(1)
    learner.begin_epoch(7, 10)
    learner.fill_gradients(batch)
    found = [parameter.grad.clone() for parameter in network.parameters()]
    with torch.no_grad():
        classes = network(u).argmax(dim=1)  # of the rows as they are
    labelled = functional.cross_entropy(network(batch.X.flip(1)), batch.y, reduction="none") @ weight / len(X)
    pseudo = functional.cross_entropy(network(u.flip(1)), classes)
    expected = torch.autograd.grad(labelled + 3 * pseudo, network.parameters())
    for gradient, wanted in zip(found, expected, strict=True):
        torch.testing.assert_close(gradient, wanted)


def test_pseudo_labels_are_found_without_dropout_and_learned_with_it(seed):
    network = make_network(seed=seed, dropout=0.9)
    learner = learner_of(network, seed)
    labels = learner._pseudo_labels(torch.from_numpy(OTHERS))
    assert torch.equal(labels, network.eval()(torch.from_numpy(OTHERS)).argmax(dim=1))
    learner.begin_epoch(9, 10)
    learner.fill_gradients(Batch(torch.from_numpy(X), torch.from_numpy(LABELS)))
    assert network.training


def test_every_unlabelled_row_has_its_turn():
    learner = learner_of(make_network(), batch_size=10)
    seen = torch.cat([learner._unlabelled_rows().clone() for _ in range(4)])
    assert sorted(map(tuple, seen.tolist())) == sorted(map(tuple, OTHERS.tolist()))
    again = torch.cat([learner._unlabelled_rows().clone() for _ in range(4)])
    assert sorted(map(tuple, again.tolist())) == sorted(map(tuple, OTHERS.tolist()))
    assert not torch.equal(seen, again)


def test_a_run_goes_on_where_it_was_stopped(seed):
    others = rows(5, 130, N_FEATURES)  # of three batches
    straight, stopped = make_network(seed=seed, dropout=0.2), make_network(seed=seed, dropout=0.2)
    finetune(straight, settings(), seed=seed, unlabelled=others)
    first = Finetuning(
        stopped, rows(seed, 23, 13), targets("classification", seed), settings(), seed=seed, device="cpu",
        unlabelled=others, progress_seconds=0,
    )  # fmt: skip
    for _ in range(19):  # in the middle of an epoch
        next(first)
    state, weights = first.state_dict(), snapshot(stopped)
    other = make_network(seed=seed + 7, dropout=0.2)
    other.load_state_dict(weights)
    second = Finetuning(
        other, rows(seed, 23, 13), targets("classification", seed), settings(), seed=seed, device="cpu",
        unlabelled=others,
    )  # fmt: skip
    second.load_state_dict(state)
    list(second)
    assert all(torch.equal(value, straight.state_dict()[name]) for name, value in other.state_dict().items())


def test_without_such_rows_nothing_changes(seed):
    plain, none, zero = (make_network(seed=seed) for _ in range(3))
    finetune(plain, settings(0.0), seed=seed)
    finetune(none, settings(), seed=seed)
    finetune(zero, settings(0.0), seed=seed, unlabelled=OTHERS)
    for network in (none, zero):
        assert all(torch.equal(value, plain.state_dict()[name]) for name, value in network.state_dict().items())


def test_what_cannot_be():
    for task in ("regression", "reconstruction"):
        with pytest.raises(SettingsError, match=f"pseudo_labels is for classifiers; this network is for {task}"):
            finetune(make_network(task), settings(), task=task, unlabelled=OTHERS)
    with pytest.raises(DataError, match=r"The network takes rows of 13 features; got shape \(37, 5\)"):
        finetune(make_network(), settings(), unlabelled=OTHERS[:, :5])
    with pytest.raises(SettingsError, match="optimizer 'lbfgs' needs a loss that is the same each time"):
        finetune(make_network(), settings(optimizer="lbfgs"), unlabelled=OTHERS)
    with pytest.raises(SettingsError, match="pseudo_labels of FinetuneSettings must be a finite number >= 0"):
        settings(-1)
    head = FinetuneSettings(1, pseudo_labels=3.0, training=quick().training)
    records = finetune(make_network(), head, unlabelled=OTHERS)
    assert ["pseudo_label_weight" in record for record in records] == [False, True, True]


# Where they can be asked for ---


def moons(seed):
    """Two moons with five labels each."""
    points, y = make_moons(400, noise=0.06, random_state=seed)
    known, rng = np.full(400, -1), np.random.default_rng(seed)
    for label in (0, 1):
        known[rng.choice(np.flatnonzero(y == label), 5, replace=False)] = label
    return points, y, known


def test_classes_come_to_be_told_apart_where_there_are_few_rows(seed):
    # What pseudo-labels do, [1] section 2.3: the entropy of the predictions on rows without a label falls.
    points, y, known = moons(seed)
    options = {"max_iter": 100, "batch_size": 10, "scaling": "standard", "random_state": seed}
    entropies = []
    for weight in (0.0, 3.0):
        model = ScratchClassifier("relu", (64,), pseudo_labels=weight, learning_rate_init=3e-3, **options)
        p = model.fit(points, known).predict_proba(points[known == -1])
        entropies.append(-(p * np.log(p + 1e-12)).sum(axis=1).mean())
        assert model.score(points, y) > 0.65
    assert entropies[1] < 0.85 * entropies[0]


def test_estimators():
    _, _, known = moons(0)
    data = rows(0, 400, 7)
    for cls in (ScratchClassifier, DBNClassifier):
        few = {"max_iter": 4, "random_state": 0, **({"pretrain_epochs": 1} if cls is DBNClassifier else {})}
        plain, pseudo = (cls(hidden_layer_sizes=(5,), pseudo_labels=w, **few).fit(data, known) for w in (0.0, 3.0))
        assert not torch.equal(plain.network_.head.weight, pseudo.network_.head.weight)
        assert pseudo.report_[-1]["pseudo_label_weight"] == 3.0
        assert "pseudo_labels : float" in cls.__doc__
    assert "pseudo_labels" not in ScratchRegressor().get_params()


def test_compare(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        common = ("compare", "digits", "--arms", "relu", "--seeds", "1", "--layers", "13", "--epochs", "4")
        return CliRunner().invoke(main, [*common, *arguments])

    result = run("--labels", "50,all", "--pseudo-labels", "3", "-o", "run")
    assert result.exit_code == 0, result.output
    told = json.loads((tmp_path / "run/records.json").read_text())
    assert told["settings"]["arms"]["relu"]["settings"]["finetuning"]["pseudo_labels"] == 3.0
    weights = {r["labels"]: [h.get("pseudo_label_weight") for h in r["history"]] for r in told["records"]}
    assert weights[50] == pytest.approx([0, 0.9, 2.4, 3])
    assert weights["all"] == [None] * 4  # there are no other rows
    refused = run("--labels", "all", "--pseudo-labels", "3", "-o", "other")
    assert (refused.exit_code, "--pseudo-labels does nothing here" in refused.output) == (2, True)
