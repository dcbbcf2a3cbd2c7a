"""`pretrain evaluate`: the error of a model on test rows."""

from typing import Any

import click
import numpy as np

import checkpoints
from pipelines.commands.idle_options import CheckedCommand
from pipelines.commands.options import report_result, run_options
from pipelines.commands.parameter_types import CommaList
from pipelines.data import Dataset, load_dataset
from pipelines.evaluation import evaluate as evaluate_model
from pipelines.evaluation import evaluate_by_dropout, module_of, network_or_stack, on_device, task_of_model
from pipelines.likelihood import measure_likelihood
from pipelines.pca import linear_code_errors
from pipelines.preparation import PreparedData, require_features, same_data, split_as_before
from pretrain.exceptions import DataError, SettingsError


@click.command(
    cls=CheckedCommand, settle=lambda params: [params], epilog="Example: pretrain evaluate net.h5 digits --json"
)
@click.argument("model_file", metavar="MODEL", type=click.Path(dir_okay=False))
@click.argument("data")
@click.option("--target", help="Name of the label column of a csv file.")
@click.option("--rows", type=click.Choice(("test", "all")), default="test", show_default=True, help="Rows of DATA.")
@click.option("--baselines", is_flag=True, help="Of an autoencoder: linear codes beside it.")
@click.option(
    "--baseline-units",
    type=CommaList(click.IntRange(min=1)),
    help="Units of those linear codes.  [default: as many as the code has]",
)
@click.option("--likelihood", is_flag=True, help="Of RBMs and DBNs: the log-likelihood, by AIS.")
@click.option("--ais-runs", type=click.IntRange(min=2), default=100, show_default=True, help="Annealing runs.")
@click.option(
    "--ais-temperatures", type=click.IntRange(min=3), default=14_500, show_default=True, help="Steps of a run."
)
@click.option("--dropout-draws", type=click.IntRange(min=2), help="Average over so many networks with units dropped.")
@run_options
def evaluate(
    model_file: str,
    data: str,
    target: str | None,
    rows: str,
    baselines: bool,
    baseline_units: tuple[int, ...] | None,
    likelihood: bool,
    ais_runs: int,
    ais_temperatures: int,
    dropout_draws: int | None,
    seed: int,
    device: str,
    as_json: bool,
) -> None:
    """Test the model in MODEL on DATA.

    On the data that it was trained on, the test rows are those set aside then. Other data are tested on their
    own test rows or, with --rows all, on every row. Rows labelled -1 are left out of the error of a classifier that
    does not know -1 as a class. The seed is that of the likelihood and of --dropout-draws; errors draw
    nothing.
    """
    if rows == "all" and (baselines or likelihood):
        raise click.UsageError(
            f"--{'baselines' if baselines else 'likelihood'} needs training rows besides those to test; --rows all "
            "leaves none. Give --rows test, or leave it out."
        )
    model = checkpoints.load(model_file)
    module, task = module_of(model), task_of_model(model)
    if baselines and task != "reconstruction":
        raise SettingsError("--baselines is for models that reconstruct their input: a stack or an autoencoder.")
    if dropout_draws is not None and task == "reconstruction":
        raise SettingsError("--dropout-draws is for classifiers and regressors with dropout.")
    record = checkpoints.describe(model_file).get("provenance") or {}
    dataset = load_dataset(data, target=target)
    require_features(dataset, _n_features(model), model_file)
    _require_unseen(dataset, record, rows, model_file)
    if rows == "all":
        X, y = _all_rows(dataset, task)
    else:
        prepared = PreparedData(dataset, split_as_before(dataset, record), module.scaling)
        X, y = prepared.raw_test_rows(), None if task == "reconstruction" else prepared.test_labels()
    result = {**evaluate_model(on_device(model, device), X, y), "rows": rows}
    line = f"test error {result['test_error']:.4g} ({result['unit']}) on {result['n_test']} rows"
    if "n_unlabelled" in result:
        line += f" ({result['n_unlabelled']} without a label left out)"
    lines = [f"{line}, {result['seconds']:.2f} s"]
    if dropout_draws is not None:
        found = evaluate_by_dropout(module, X, y, dropout_draws=dropout_draws, seed=seed)
        result |= found
        lines.append(
            f"test error {found['dropout_test_error']:.4g} by {dropout_draws} draws with dropout, whose standard "
            f"deviation is {found['dropout_standard_deviation']:.3g} on average"
        )
    if baselines:
        train, test = prepared.train_rows(), module.scaling.apply(X)
        most = min(train.shape)
        if any(units > most for units in baseline_units or ()):
            raise SettingsError(
                f"--baseline-units must be at most {most}: a linear code of {train.shape[1]} features, learned on "
                f"{len(train)} rows, has no more; got {max(baseline_units or ())}."
            )
        for units in baseline_units or (network_or_stack(model).n_hidden,):
            errors = linear_code_errors(train, test, units, seed=seed)
            result |= {f"{name}_{units}_test_error": error for name, error in errors.items()}
            lines += [f"{name} of {units} units {error:.4g}" for name, error in errors.items()]
    if likelihood:
        annealing = {"n_runs": ais_runs, "n_temperatures": ais_temperatures}
        result |= measure_likelihood(model, prepared, record, seed=seed, device=device, **annealing)
        lines += _likelihood_lines(result)
    report_result(result, lines, as_json)


def _likelihood_lines(result: dict[str, Any]) -> list[str]:
    drawn = "drawn as 0/1 states" if result["binarized"] else "as they are"
    least = "at least " if result["bound"] else ""
    between = result["between_states"]
    warning = (
        f"scores, no likelihoods: {100 * between:.2g} % of the values lie between the states of the visible units "
        "(an RBM that was trained with --binarize true is tested on drawn states)"
    )
    return [
        *([warning] if between else []),
        f"test log-likelihood {least}{result['test_log_likelihood']:.2f} ± {result['standard_error']:.2f} nats a row "
        f"(rows {drawn}, spread {result['spread']:.1f})",
        f"log Z {result['log_partition']:.2f} ± {result['log_partition_error']:.2f} by {result['n_runs']} runs of "
        f"{result['n_temperatures']} temperatures; backwards {result['reverse_log_partition']:.2f} ± "
        f"{result['reverse_log_partition_error']:.2f}, which makes the log-likelihood "
        f"{result['reverse_test_log_likelihood']:.2f}; {result['likelihood_seconds']:.0f} s",
    ]


def _n_features(model: Any) -> int:
    return model.n_visible if hasattr(model, "n_visible") else model.n_features_in_


def _require_unseen(dataset: Dataset, record: dict[str, Any], rows: str, model_file: str) -> None:
    known = same_data(record, dataset)
    if known and rows == "all":
        raise DataError(f"{model_file} was trained on rows of {dataset.name}; test it with --rows test.")
    if not known and rows == "test" and dataset.X_test is None:
        raise DataError(
            f"{dataset.name} are not the data that {model_file} was trained on, and they have no test rows of their "
            "own. Give --rows all to test on every row."
        )


def _all_rows(dataset: Dataset, task: str) -> tuple[np.ndarray, np.ndarray | None]:
    own_test = [] if dataset.X_test is None else [dataset.X_test]
    X = np.concatenate([dataset.X, *own_test])
    if task == "reconstruction":
        return X, None
    if dataset.y is None or (own_test and dataset.y_test is None):
        raise DataError(f"{dataset.name}: there are rows without labels, so not every row can be tested.")
    return X, np.concatenate([dataset.y, *([] if dataset.y_test is None else [dataset.y_test])])
