"""Reconstructions and codes: which rows are shown, beside which components, and how they are drawn and refused."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

import checkpoints
from pipelines.cli import main
from pipelines.code_plots import MOST_CLASSES, codes_figure, reconstructions_figure
from pipelines.codes import Codes, Reconstructions, encode, name_model, reconstruct, rows_to_show
from pipelines.figure_style import PALETTE
from pipelines.pca import fit_pca, linear_code_errors
from pipelines.plots import to_svg
from pipelines.preparation import prepare, prepare_as_before
from pretrain import StackTransformer, unroll
from pretrain.architecture import Architecture
from pretrain.exceptions import DataError, SettingsError
from pretrain.network import Network
from tests.stacks import make_stack

SIZES = (64, 7, 3)


@pytest.fixture
def digits():
    return prepare("digits")


def digits_stack(digits, sizes=SIZES):
    return make_stack("binary RBMs", sizes=sizes, scaling=digits.scaling)


def digits_record(digits):
    return {"split": digits.split.to_dict()}


def reconstructions(n_features=6, n_shown=4):
    originals, rebuilt, by_pca = np.random.default_rng(0).normal(size=(3, n_shown, n_features))
    return Reconstructions(originals, rebuilt, by_pca, 1.25, 3.5, 2, 1789, "test")


def codes(y=None, n=60, **changes):
    code, by_pca = np.random.default_rng(0).normal(size=(2, n, 2))
    return Codes(**{"code": code, "code_size": 2, "by_pca": by_pca, "y": y, "kind": "test", **changes})


def titles(figure):
    return [axes.get_title(loc="left") for axes in figure.axes]


def pictures(figure):
    return [np.asarray(axes.images[0].get_array()) for axes in figure.axes]


# Which rows


def test_the_rows_are_the_recorded_test_rows_and_their_labels(digits):
    record = {"split": prepare("digits", seed=3, validation_fraction=0.1).split.to_dict()}
    again = prepare_as_before("digits", record, digits.scaling)
    rows = rows_to_show(again, record)
    assert rows.kind == "test"
    np.testing.assert_array_equal(rows.X, load_digits().data[again.split.test])
    np.testing.assert_array_equal(rows.y, load_digits().target[again.split.test])
    assert not np.isin(again.split.test, [*again.split.train, *again.split.validation]).any()


def test_rows_without_a_record_are_drawn_and_training_rows_serve_only_where_nothing_was_set_aside(digits):
    assert rows_to_show(digits, {}).kind == "drawn"
    everything = prepare("digits", test_fraction=0.0)
    rows = rows_to_show(everything, digits_record(everything))
    assert (rows.kind, len(rows.X)) == ("training", 1797)


def test_test_rows_of_the_data_s_own_need_no_record(tmp_path):
    X = np.arange(5 * 6.0).reshape(5, 6)
    np.savez(tmp_path / "a.npz", X=X, y=np.arange(5) % 2, X_test=X[:2] + 0.5, y_test=np.array([1, 0]))
    rows = rows_to_show(prepare(str(tmp_path / "a.npz")), {})
    assert (rows.kind, rows.y.tolist()) == ("test", [1, 0])
    np.testing.assert_array_equal(rows.X, X[:2] + 0.5)


# What is made of them


@pytest.mark.parametrize("unrolled", [False, True])
def test_reconstructions_are_the_model_s_and_those_of_components_of_the_training_rows(digits, unrolled):
    stack = digits_stack(digits)
    model = unroll(stack, "autoencoder") if unrolled else stack
    found = reconstruct(model, digits, rows_to_show(digits, digits_record(digits)), 5)
    raw = load_digits().data
    test, train = raw[digits.split.test], raw[digits.split.train]
    rebuilt = stack.inverse_transform(stack.transform(test))
    pca = PCA(3).fit(train / 16)
    by_pca = pca.inverse_transform(pca.transform(test / 16))
    np.testing.assert_array_equal(found.originals, test[:5])
    np.testing.assert_allclose(found.rebuilt, rebuilt[:5], atol=1e-4)
    np.testing.assert_allclose(found.by_pca, 16 * by_pca[:5], atol=1e-3)
    assert found.error == pytest.approx(np.square((test - rebuilt) / 16).sum(axis=1).mean(), rel=1e-5)
    assert found.pca_error == pytest.approx(np.square(test / 16 - by_pca).sum(axis=1).mean(), rel=1e-5)
    assert (found.n_components, found.n_rows) == (3, 359)


def test_a_wide_code_is_compared_with_all_components_that_there_are(digits):
    found = reconstruct(digits_stack(digits, (64, 67)), digits, rows_to_show(digits, digits_record(digits)), 1)
    assert found.n_components == 64
    assert found.pca_error == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("shape", [(23, 7), (7, 23)])
def test_principal_components_are_exact_and_at_most_as_many_as_there_are(shape, seed):
    X = np.random.default_rng(seed).random(shape).astype(np.float32)
    pca = fit_pca(X, 3)
    directions = np.linalg.svd(X - X.mean(axis=0, dtype=np.float64), full_matrices=False)[2][:3]
    np.testing.assert_allclose(np.abs((pca.components_ * directions).sum(axis=1)), 1, atol=1e-4)
    assert linear_code_errors(X, X, 50)["pca"] == pytest.approx(0, abs=1e-6)
    with pytest.raises(DataError, match="at least 3 training rows; there are 2"):
        linear_code_errors(X[:2], X, 1)


@pytest.mark.parametrize("into", ["stack", "autoencoder", "classifier"])
def test_codes_of_two_units_are_drawn_as_they_are(digits, into, generator):
    stack = digits_stack(digits, (64, 7, 2))
    options = {"n_outputs": 10, "generator": generator} if into == "classifier" else {}
    model = stack if into == "stack" else unroll(stack, into, **options)
    rows = rows_to_show(digits, digits_record(digits))
    found = encode(model, digits, rows)
    assert found.code_size == 2
    np.testing.assert_allclose(found.code, stack.transform(rows.X), rtol=1e-5)
    pca = PCA(2).fit(digits.train_rows())
    np.testing.assert_allclose(found.by_pca, pca.transform(digits.scaling.apply(rows.X)), atol=1e-4)
    np.testing.assert_array_equal(found.y, load_digits().target[digits.split.test])


def test_larger_codes_are_projected_by_components_of_the_training_codes(digits):
    stack, rows = digits_stack(digits), rows_to_show(digits, digits_record(digits))
    found = encode(stack, digits, rows)
    pca = PCA(2).fit(stack.transform(load_digits().data[digits.split.train].astype(float)))
    assert found.code_size == 3
    np.testing.assert_allclose(found.code, pca.transform(stack.transform(rows.X)), atol=1e-4)


def test_what_cannot_be_reconstructed_or_drawn_is_named(digits, generator):
    rows = rows_to_show(digits, digits_record(digits))
    classifier = unroll(digits_stack(digits), "classifier", n_outputs=10, generator=generator)
    with pytest.raises(SettingsError, match=r"is a classifier and reconstructs nothing\. Give a stack"):
        reconstruct(classifier, digits, rows, 3)
    with pytest.raises(DataError, match="the code has 1 units and a row has 64 features; each needs at least 2"):
        encode(digits_stack(digits, (64, 1)), digits, rows)


def test_components_need_rows(tmp_path):
    np.savez(tmp_path / "a.npz", X=np.eye(2, 5), X_test=np.eye(3, 5))
    prepared = prepare(str(tmp_path / "a.npz"))
    with pytest.raises(DataError, match="at least 3 training rows; there are 2"):
        reconstruct(make_stack("one RBM", sizes=(5, 3)), prepared, rows_to_show(prepared, {}), 2)


def test_models_are_named_by_their_sizes_up_to_the_code(generator):
    stack = make_stack("binary RBMs")
    assert name_model(stack) == "Stack 13-7-5-3"
    assert name_model(unroll(stack, "autoencoder")) == "Deep autoencoder 13-7-5-3"
    assert name_model(unroll(stack, "regressor", n_outputs=2, generator=generator)) == "Regressor 13-7-5-3"
    deep = Architecture(2, 2, tuple(range(3, 12)), ("relu",) * 9)
    assert name_model(Network(deep)) == "Classifier 2-3-4-...-9-10-11"


# How they are drawn


def test_images_stand_one_above_the_other_in_the_same_shades():
    rows = reconstructions()
    figure = reconstructions_figure(rows, "Stack 6-2", "ours", image_shape=(2, 3), value_range=(-1.0, 3.0))
    assert titles(figure) == [
        "The first 4 of 1,789 test rows of ours",
        "Stack 6-2:\nmean squared error 1.25 an image, of all",
        "PCA, 2 components:\nmean squared error 3.5 an image, of all",
    ]
    for page, X in zip(pictures(figure), (rows.originals, rows.rebuilt, rows.by_pca), strict=True):
        assert page.shape == (2, 4 * 3 + 3)
        for k in range(4):
            shades = np.clip((X[k] + 1) / 4, 0, 1).reshape(2, 3)
            np.testing.assert_allclose(page[:, 4 * k : 4 * k + 3], shades)
        np.testing.assert_allclose(page[:, 3], 1.0)
    assert "squared error 3.5" in str(figure.get_label())


def test_ten_images_are_a_line_and_without_a_range_the_originals_decide():
    rows = reconstructions(n_features=6, n_shown=23)
    originals, rebuilt, _ = pictures(reconstructions_figure(rows, "a", "b", image_shape=(2, 3)))
    assert originals.shape == (3 * 2 + 2, 10 * 3 + 9)
    low, high = rows.originals.min(), rows.originals.max()
    np.testing.assert_allclose(originals[3:5, 4:7], ((rows.originals[11] - low) / (high - low)).reshape(2, 3))
    np.testing.assert_allclose(rebuilt[6:, 12:], 1.0)  # an unfinished line is filled up with white


def test_colour_images_keep_their_channels():
    figure = reconstructions_figure(reconstructions(n_features=18), "a", "b", image_shape=(2, 3, 3))
    assert [page.shape for page in pictures(figure)] == [(2, 15, 3)] * 3


@pytest.mark.parametrize("image_shape", [None, (3, 2, 1, 1)])
def test_rows_that_are_no_images_are_heat_maps_with_a_range_for_each_feature(image_shape):
    rows = reconstructions()
    rows.originals[:, 1] = 700.0  # a constant feature is grey
    rows.rebuilt[:, 1] = 700.25
    figure = reconstructions_figure(rows, "Stack 6-2", "ours", image_shape=image_shape)
    originals, rebuilt, _ = pictures(figure)
    assert originals.shape == (4, 6)
    np.testing.assert_allclose([originals.min(axis=0)[0], originals.max(axis=0)[0]], [0, 1])
    np.testing.assert_allclose([originals[:, 1], rebuilt[:, 1]], [[0.5] * 4, [0.75] * 4])
    assert titles(figure)[1] == "Stack 6-2:\nmean squared error 1.25 a row, of all"


def test_codes_have_the_colours_of_their_labels_and_a_legend():
    y = np.repeat(["b", "a", "c"], 20)
    drawn = codes(y)
    figure = codes_figure(drawn, "Stack 6-2", "ours")
    for axes, points in zip(figure.axes, (drawn.code, drawn.by_pca), strict=True):
        offsets = [np.asarray(dots.get_offsets()) for dots in axes.collections]
        for own, label in zip(offsets, "abc", strict=True):
            np.testing.assert_array_equal(own, points[y == label])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b", "c"]
    assert [line.get_color() for line in figure.legends[0].get_lines()] == list(PALETTE[:3])
    assert titles(figure) == ["Stack 6-2:\nits code of 2 units", "PCA:\nfirst 2 components of the data"]
    assert str(figure.get_label()).startswith("60 test rows of ours, coloured by label: Stack 6-2")


def test_a_projected_code_is_called_so():
    figure = codes_figure(codes(code_size=30, kind="training"), "Stack 6-30", "ours")
    assert titles(figure)[0] == "Stack 6-30:\nits code of 30 units, projected to 2 by PCA"
    assert figure.axes[0].get_xlabel() == "component 1 of the code"
    assert "60 training rows of ours: Stack" in str(figure.get_label())


@pytest.mark.parametrize(
    ("y", "n_axes", "said"),
    [
        (None, 2, "60 test rows of ours:"),
        (np.linspace(0, 1, 60), 3, "shaded by target"),
        (np.array([f"{k % (MOST_CLASSES + 1)}" for k in range(60)]), 2, "more than 20 classes in one colour"),
    ],
)
def test_codes_without_classes_have_no_legend(y, n_axes, said):
    figure = codes_figure(codes(y), "Stack 6-2", "ours")
    assert figure.legends == []
    assert (len(figure.axes), len(figure.axes[0].collections)) == (n_axes, 1)
    assert said in str(figure.get_label())
    assert to_svg(figure) == to_svg(codes_figure(codes(y), "Stack 6-2", "ours"))


# The command


@pytest.fixture
def cli(tmp_path, monkeypatch, digits):
    """Run `pretrain ...` in a folder with a stack, a deep autoencoder and a classifier of digits."""
    monkeypatch.chdir(tmp_path)
    stack = digits_stack(digits)
    models = {"stack": stack, "autoencoder": unroll(stack, "autoencoder")}
    for name, model in models.items():
        checkpoints.save(model, f"{name}.h5", provenance=digits_record(digits))
    return lambda *arguments: CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.mark.parametrize("model", ["stack", "autoencoder"])
@pytest.mark.parametrize("what", ["reconstructions", "codes"])
def test_plot(cli, tmp_path, model, what):
    result = cli("plot", what, f"{model}.h5", "--data", "digits", "-o", "x.png", "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert (found["what"], found["rows"], found["n_rows"]) == (what, "test", 359)
    if what == "reconstructions":
        evaluated = json.loads(cli("evaluate", f"{model}.h5", "digits", "--json").stdout)
        assert (found["error"], found["n_components"]) == (evaluated["test_error"], 3)
    else:
        assert found["code_size"] == 3
    assert (tmp_path / "x.png").stat().st_size > 5000


def test_plot_takes_a_fitted_estimator_and_says_that_it_may_have_seen_the_rows(cli, digits):
    estimator = StackTransformer((3, 2), n_iter=1, random_state=0).fit(load_digits().data[:50])
    checkpoints.save(estimator, "estimator.h5")
    result = cli("plot", "codes", "estimator.h5", "--data", "digits", "--n-rows", "11", "-o", "x.svg")
    assert result.exit_code == 0, result.output
    assert "not known to be the data of estimator.h5" in result.output
    result = cli("plot", "codes", "estimator.h5", "--data", "digits", "--n-rows", "11", "-o", "y.svg", "--json")
    assert json.loads(result.stdout) | {"output": ""} == {
        **{"output": "", "what": "codes", "rows": "drawn", "n_rows": 11, "code_size": 2}
    }


def test_plot_of_a_table(cli, digits):
    rng = np.random.default_rng(0)
    table = rng.normal(size=(60, 5))
    np.savetxt("t.csv", table, delimiter=",", header="a,b,c,d,price", comments="")
    checkpoints.save(make_stack("Gaussian data", sizes=(4, 3)), "t.h5")
    for what in ("reconstructions", "codes"):
        result = cli("plot", what, "t.h5", "--data", "t.csv", "--target", "price", "-o", f"{what}.pdf")
        assert result.exit_code == 0, result.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("codes", "stack.h5"), ["Codes are those of data", "give --data, such as --data digits"]),
        (("filters", "stack.h5", "--data", "digits"), ["--data, --target and --n-rows are for", "leave them out"]),
        (("curves", "stack.h5", "--n-rows", "3"), ["--n-rows are for reconstructions and codes"]),
        (("codes", "stack.h5", "--data", "narrow.npz"), ["the rows have 5 features", "stack.h5 was trained on 64"]),
        (("codes", "stack.h5", "--data", "digits", "--target", "y"), ["--target y names the label column of a .csv"]),
        (("reconstructions", "stack.h5", "--data", "digit"), ["did you mean 'digits'?"]),
        (("reconstructions", "net.h5", "--data", "digits"), ["is a classifier and reconstructs nothing"]),
    ],
)
def test_plot_refuses(cli, tmp_path, digits, generator, arguments, words):
    np.savez("narrow.npz", X=np.eye(30, 5))
    checkpoints.save(unroll(digits_stack(digits), "classifier", n_outputs=10, generator=generator), "net.h5")
    result = cli("plot", *arguments, "-o", "x.png")
    assert result.exit_code == 2, result.output
    for word in words:
        assert word in result.stderr
    assert not (tmp_path / "x.png").exists()
