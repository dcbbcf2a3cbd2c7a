"""`pretrain dbn`, `sample` and `evaluate` of deep belief nets on the command line, and their files."""

import json

import h5py
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from command_results import refused
from deep_oracles import CLASSES, small_dbn
from PIL import Image

import checkpoints
from pipelines.cli import main
from pipelines.images import as_images, mosaic
from pipelines.preparation import prepare_as_before
from pipelines.sampling import shades
from pretrain import DBN
from pretrain.exceptions import CheckpointError
from pretrain.scaling import Scaling

DBN_ARGUMENTS = ("dbn", "digits", "--layers", "13,11,17", "--epochs", "2", "--up-down-epochs", "3")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a net with labels and one without."""
    path = tmp_path_factory.mktemp("nets")
    for name, *options in (("dbn.h5",), ("plain.h5", "--without-labels", "--binarize", "true")):
        result = CliRunner().invoke(main, [*DBN_ARGUMENTS, *options, "-o", str(path / name)])
        assert result.exit_code == 0, result.output
    X = np.random.default_rng(0).random((30, 5))
    np.savez(path / "plain.npz", X=X)
    checkpoints.save(checkpoints.RunState({"seconds": 0.0}), path / "state.h5")
    return path


@pytest.fixture
def cli(folder, monkeypatch):
    monkeypatch.chdir(folder)
    return lambda *arguments: CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_the_file_holds_the_net_its_history_and_its_settings(cli):
    net, told = checkpoints.load("dbn.h5"), checkpoints.describe("dbn.h5")
    assert (net.n_visible, net.hidden_layer_sizes, net.classes.tolist()) == (64, (13, 11, 17), list(range(10)))
    assert (told["kind"], [layer["kind"] for layer in told["layers"]]) == ("dbn", ["directed", "directed", "rbm"])
    assert told["n_parameters"] == sum(parameter.numel() for parameter in net.parameters())
    assert told["classes"] == list(range(10))
    assert told["provenance"]["settings"]["up_down"]["n_gibbs_steps"] == [3, 6, 10]
    stages = [(r["stage"], r.get("n_gibbs_steps")) for r in checkpoints.read_history("dbn.h5")]
    assert stages == [("pretrain", None)] * 6 + [("up_down", 3), ("up_down", 6), ("up_down", 10)]
    assert checkpoints.load("plain.h5").classes is None
    assert checkpoints.describe("plain.h5")["provenance"]["settings"]["up_down"]["binarize"] is True


def test_evaluate_prints_the_error_and_the_bound(cli):
    options = ("--likelihood", "--ais-runs", "5", "--ais-temperatures", "50", "--json")
    result = json.loads(cli("evaluate", "dbn.h5", "digits", *options).stdout)
    assert (result["task"], result["n_test"], result["bound"], result["binarized"]) == (
        "classification",
        359,
        True,
        False,
    )
    net, record = checkpoints.load("dbn.h5"), checkpoints.describe("dbn.h5")["provenance"]
    prepared = prepare_as_before("digits", record, net.scaling)
    wrong = net.predict(prepared.raw_test_rows()) != prepared.test_labels()
    assert result["test_error"] == pytest.approx(100 * wrong.mean())
    assert -64 < result["test_log_likelihood"] < -10
    plain = json.loads(cli("evaluate", "plain.h5", "digits", *options).stdout)
    assert (plain["task"], plain["binarized"]) == ("reconstruction", True)
    assert 0 < plain["test_error"] < 16
    assert "log-likelihood at least -" in cli("evaluate", "plain.h5", "digits", *options[:-1]).stdout


def test_samples_are_a_page_with_a_line_for_each_class(cli):
    arguments = ("sample", "dbn.h5", "--each-label", "-n", "3", "--n-gibbs", "2", "--seed", "1")
    assert cli(*arguments, "-o", "one.png").exit_code == 0
    assert cli(*arguments, "-o", "two.png").exit_code == 0
    pages = [np.asarray(Image.open(name)) for name in ("one.png", "two.png")]
    factor = 400 // 26
    assert pages[0].shape == ((10 * 9 - 1) * factor, 26 * factor)
    np.testing.assert_array_equal(*pages)
    assert len(np.unique(pages[0])) > 10
    assert cli("sample", "plain.h5", "-n", "2", "--n-gibbs", "1", "--states", "-o", "states.png").exit_code == 0
    assert set(np.unique(np.asarray(Image.open("states.png")))) <= {0, 255}


def test_a_film_shows_the_chains_in_motion(cli):
    arguments = ("sample", "dbn.h5", "--label", "3", "-n", "4", "--gif", "--frames", "5", "--every", "2")
    result = cli(*arguments, "-o", "chain.gif", "--json")
    assert json.loads(result.stdout)["n_frames"] == 5
    with Image.open("chain.gif") as film:
        assert film.n_frames == 5
        first = np.asarray(film.convert("L"))
        film.seek(4)
        assert (np.asarray(film.convert("L")) != first).any()


def test_a_stack_of_rbms_generates_too(cli):
    assert cli("stack", "digits", "--layers", "13,11", "--epochs", "1", "-o", "stack.h5").exit_code == 0
    assert cli("sample", "stack.h5", "-n", "4", "--n-gibbs", "1", "-o", "stack.png").exit_code == 0
    options = ("--likelihood", "--ais-runs", "5", "--ais-temperatures", "50", "--json")
    assert json.loads(cli("evaluate", "stack.h5", "digits", *options).stdout)["bound"] is True


def test_filters_and_curves_can_be_plotted(cli):
    for what in ("filters", "curves"):
        assert cli("plot", what, "dbn.h5", "-o", f"{what}.png").exit_code == 0


def few_labels(n_labelled, *, y=None):
    """A csv of 90 rows of two prototypes, of which the first ones have a label, 3 or 4, and the others -1."""
    rng = np.random.default_rng(0)
    kind = np.arange(90) % 2
    X = np.array([[1, 1, 0, 0, 1], [0, 0, 1, 1, 0]])[kind] ^ (rng.random((90, 5)) < 0.1)
    y = np.where(np.arange(90) < n_labelled, kind + 3, -1) if y is None else y
    lines = [",".join(map(str, [*row, label])) for row, label in zip(X, y, strict=True)]
    return "\n".join(["a,b,c,d,e,label", *lines]), y


FEW = ("dbn", "few.csv", "--target", "label", "--layers", "5", "--epochs", "5", "--up-down-epochs", "2", "--json")


def test_rows_labelled_minus_one_train_without_a_label_and_are_not_tested(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    content, y = few_labels(50)
    (tmp_path / "few.csv").write_text(content)
    told = json.loads(cli(*FEW, "--validation-fraction", "0.2", "-o", "few.h5").stdout)
    net, split = checkpoints.load("few.h5"), checkpoints.describe("few.h5")["provenance"]["split"]
    assert net.classes.tolist() == [3, 4]
    assert (told["n_classes"], told["n_train"]) == (2, split["n_train"])
    prepared = prepare_as_before("few.csv", {"split": split}, net.scaling, target="label")
    train, validation, test = prepared.split.train, prepared.split.validation, prepared.split.test
    assert told["n_unlabelled"] == (y[train] == -1).sum() > 10
    known = validation[y[validation] > 0]
    assert 0 < len(known) < len(validation)
    wrong = net.predict(prepared.dataset.X[known]) != y[known]
    assert told["validation_error"] == pytest.approx(100 * wrong.mean())
    tested = json.loads(cli("evaluate", "few.h5", "few.csv", "--target", "label", "--json").stdout)
    known = test[y[test] > 0]
    assert (tested["n_test"], tested["n_unlabelled"]) == (len(known), len(test) - len(known))
    wrong = net.predict(prepared.dataset.X[known]) != y[known]
    assert tested["test_error"] == pytest.approx(100 * wrong.mean())
    said = cli("evaluate", "few.h5", "few.csv", "--target", "label").stdout
    assert f"on {len(known)} rows ({len(test) - len(known)} without a label left out)" in said
    again = cli(*FEW[:-1], "-o", "few.h5", "--overwrite")
    assert "with 2 classes (32 of 72 training rows unlabelled)" in again.stdout


def test_labels_of_minus_one_and_one_are_two_classes(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "few.csv").write_text(few_labels(90, y=np.arange(90) % 2 * 2 - 1)[0])
    told = json.loads(cli(*FEW, "-o", "signed.h5").stdout)
    assert (told["n_classes"], told["n_unlabelled"]) == (2, 0)
    assert checkpoints.load("signed.h5").classes.tolist() == [-1, 1]
    tested = json.loads(cli("evaluate", "signed.h5", "few.csv", "--target", "label", "--json").stdout)
    assert (tested["n_test"], "n_unlabelled" in tested) == (18, False)


def test_labels_that_are_all_missing_are_refused(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "few.csv").write_text(few_labels(0)[0])
    refused(cli(*FEW, "-o", "a.h5"), "few.csv: no training row has a label", "--without-labels")
    assert cli(*FEW, "--without-labels", "-o", "plain.h5").exit_code == 0
    X, y = np.eye(5)[np.arange(90) % 5], np.append(np.arange(60) % 3, np.full(30, -1))
    np.savez("own.npz", X=X, y=y, X_test=X[:9], y_test=np.full(9, -1))
    assert cli("dbn", "own.npz", *FEW[4:], "-o", "own.h5").exit_code == 0
    refused(cli("evaluate", "own.h5", "own.npz"), "All 9 rows are unlabelled (-1)")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("sample", "dbn.h5", "--label", "11", "-o", "a.png"), ["classes 0, 1", "--label 11"]),
        (("sample", "plain.h5", "--each-label", "-o", "a.png"), ["no labels"]),
        (("sample", "dbn.h5", "--label", "1", "--each-label", "-o", "a.png"), ["exclude each other"]),
        (("sample", "dbn.h5", "-o", "a.gif"), ["a.gif", "--gif"]),
        (("sample", "dbn.h5", "-o", "dbn.h5"), ["dbn.h5"]),
        (("sample", "dbn.h5", "--frames", "3", "-o", "a.png"), ["--frames does nothing here", "--gif"]),
        (("sample", "missing.h5", "-o", "a.png"), ["missing.h5"]),
        ((*DBN_ARGUMENTS, "--without-labels", "--validation-fraction", "0.1", "-o", "a.h5"), ["this net has none"]),
        (("dbn", "plain.npz", "--layers", "3", "--validation-fraction", "0.1", "-o", "a.h5"), ["have no labels"]),
        (("sample", "state.h5", "-o", "a.png"), ["state of an unfinished run"]),
        (("plot", "codes", "dbn.h5", "--data", "digits", "-o", "a.png"), ["deep belief net"]),
        (("finetune", "dbn.h5", "digits", "-o", "a.h5"), ["DBN"]),
        ((*DBN_ARGUMENTS, "--up-down-gibbs-steps", "3,0", "-o", "a.h5"), ["n_gibbs_steps", "0"]),
        ((*DBN_ARGUMENTS, "--up-down-optimizer", "cg", "-o", "a.h5"), ["optimizer"]),
        ((*DBN_ARGUMENTS, "--epochs", "1,2", "-o", "a.h5"), ["--epochs", "exactly 3"]),
        ((*DBN_ARGUMENTS, "--scaling", "none", "-o", "a.h5"), ["[0, 1]"]),
        (
            ("dbn", "digits", "--layers", "3", "--up-down-learning-rate", "1e30", "-o", "a.h5"),
            ["diverged", "up_down"],
        ),
    ],
    ids=str,
)
def test_mistakes_are_one_message(cli, arguments, words):
    refused(cli(*arguments), *words)


@pytest.mark.parametrize(
    ("rows", "scaling", "declared", "expected"),
    [
        ([[0.2, 1.0]], Scaling.none(), None, [[0.2, 1.0]]),  # probabilities
        ([[-1.0, 3.0]], Scaling.none(), None, [[0.0, 1.0]]),
        ([[0.0, 1.0], [0.5, 0.5]], Scaling("range", [0], [255]), (0, 255), [[0.0, 1.0], [0.5, 0.5]]),
        ([[1.0, -2.0]], Scaling("standard", [100, 50], [10, 20]), (0, 255), [[110 / 255, 10 / 255]]),
        ([[9.0, -9.0]], Scaling("standard", [100, 50], [10, 20]), (100, 150), [[1.0, 0.0]]),  # beyond the range
        ([[1.0, -1.0]], Scaling("standard", [100, 50], [10, 20]), None, [[1.0, 0.0]]),
        ([[7.0, 7.0]], Scaling.none(), None, [[0.0, 0.0]]),  # constant
    ],
)
def test_shades_are_those_of_the_data(rows, scaling, declared, expected):
    np.testing.assert_allclose(shades(np.array(rows), scaling, declared), expected)


def test_nets_of_standardised_images_are_drawn_in_the_values_of_the_images(cli, tmp_path):
    images = np.random.default_rng(0).normal([60, 100, 120, 200], [2, 9, 9, 20], (80, 4)).clip(0, 255)
    np.savez(tmp_path / "faces.npz", X=images.astype(np.uint8).reshape(80, 2, 2), y=np.arange(80) % 9 < 1)
    options = ("--visible-units", "gaussian", "--scaling", "standard", "--epochs", "3", "--up-down-epochs", "3")
    net, page = tmp_path / "faces.h5", tmp_path / "faces.png"
    for labels in ((), ("--without-labels",)):
        arguments = ("dbn", tmp_path / "faces.npz", "--layers", "7,5", *options, *labels, "-o", net, "--overwrite")
        assert cli(*arguments).exit_code == 0
        assert cli("sample", net, "-n", "9", "--n-gibbs", "20", "-o", page, "--overwrite").exit_code == 0
        assert cli("evaluate", net, tmp_path / "faces.npz").exit_code == 0
        pixels = np.asarray(Image.open(page)).astype(int)
        factor = len(pixels) // 8
        small = pixels[::factor, ::factor]
        drawn = np.stack([small[a::3, b::3] for a in (0, 1) for b in (0, 1)])
        np.testing.assert_allclose(drawn.reshape(4, -1).mean(axis=1), [60, 100, 120, 200], atol=15)


# Files ---


def make_net(sizes=(5, 3, 2), classes=CLASSES, **options):
    net = small_dbn(3, sizes, classes=classes, dtype=torch.float32, **options)
    net.scaling = Scaling.fit("standard", np.random.default_rng(3).normal(3, 2, (17, sizes[0])))
    return net


@pytest.mark.parametrize("data_units", ["bernoulli", "gaussian"])
@pytest.mark.parametrize(
    ("sizes", "classes"), [((5, 3, 2), CLASSES), ((5, 3), None), ((4,), np.arange(3)), ((4,), None)]
)
def test_nets_come_back(tmp_path, sizes, classes, data_units):
    net = make_net(sizes, classes, data_units=data_units)
    for name in ("one.h5", "two.h5"):
        checkpoints.save(net, tmp_path / name)
    assert (tmp_path / "one.h5").read_bytes() == (tmp_path / "two.h5").read_bytes()
    loaded = checkpoints.load(tmp_path / "one.h5")
    assert isinstance(loaded, DBN)
    assert loaded.state_dict().keys() == net.state_dict().keys()
    assert all(torch.equal(loaded.state_dict()[name], value) for name, value in net.state_dict().items())
    assert loaded.memory.visible_units.name == net.memory.visible_units.name
    X = np.random.default_rng(4).normal(3, 2, (7, sizes[0]))
    np.testing.assert_array_equal(loaded.scaled(X), net.scaled(X))
    if classes is not None:
        np.testing.assert_array_equal(loaded.predict(X), net.predict(X))
        assert loaded.classes.dtype == classes.dtype


def text(value):
    return np.array(value.encode(), dtype=h5py.string_dtype("utf-8", len(value.encode())))


def config(units, n_visible=3, n_hidden=2):
    return text(json.dumps({"n_visible": n_visible, "n_hidden": n_hidden, "visible_units": units}))


DAMAGE = [
    (
        lambda f: f["dbn/layers/01"].attrs.create("config", config("gaussian")),
        "Layer 2 of /dbn must have the 3 bernoulli",
    ),
    (lambda f: f["dbn/layers/00"].attrs.create("config", config("gaussian_learned", 5, 3)), "gaussian_learned"),
    (
        lambda f: f["dbn/layers/00"].attrs.create("config", config("bernoulli", 5, 4)),
        r"weight must have shape \(4, 5\)",
    ),
    (lambda f: f.__delitem__("dbn/memory"), "/dbn lacks the group 'memory'"),
    (lambda f: f.__delitem__("dbn/classes"), r"/dbn/memory must have 2 visible units 'bernoulli'"),
    (lambda f: f["dbn/memory"].attrs.create("kind", text("autoencoder")), "/dbn/memory"),
    (lambda f: f["dbn/layers/01/generative_bias"].__setitem__(0, np.nan), "generative_bias must hold finite numbers"),
]


@pytest.mark.parametrize(("change", "words"), DAMAGE, ids=[words for _, words in DAMAGE])
def test_damaged_files_are_refused_with_the_place(tmp_path, change, words):
    checkpoints.save(make_net(), tmp_path / "net.h5")
    with h5py.File(tmp_path / "net.h5", "r+") as file:
        change(file)
    with pytest.raises(CheckpointError, match=words):
        checkpoints.load(tmp_path / "net.h5")


def test_pages():
    images = np.arange(3 * 2 * 2).reshape(3, 4)
    assert as_images(images, (2, 2)).shape == (3, 2, 2)
    assert as_images(images, (2, 2, 1)).shape == (3, 2, 2)
    assert as_images(images, None).shape == (3, 1, 4)
    page = mosaic(as_images(images, (2, 2)), 2)
    assert page.shape == (5, 5)
    np.testing.assert_array_equal(page[:2, 3:], images[1].reshape(2, 2))
    np.testing.assert_array_equal(page[3:, :2], images[2].reshape(2, 2))
    assert (page[2] == 1).all()
    assert (page[3:, 3:] == 1).all()
