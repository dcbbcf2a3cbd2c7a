"""`pretrain evaluate`: the error of a model on test rows."""

from typing import Any

import click

import checkpoints
from pipelines.commands.options import device_option, json_option, report_result
from pipelines.evaluation import evaluate as evaluate_model
from pipelines.evaluation import on_device, task_of_model
from pipelines.preparation import PreparedData, prepare_as_before, require_features, same_data
from pretrain.exceptions import DataError
from pretrain.scaling import Scaling


@click.command(epilog="Example: pretrain evaluate net.h5 digits --json")
@click.argument("model_file", metavar="MODEL", type=click.Path(dir_okay=False))
@click.argument("data")
@click.option("--target", help="Name of the label column of a csv file.")
@click.option("--rows", type=click.Choice(("test", "all")), default="test", show_default=True, help="Rows of DATA.")
@device_option
@json_option
def evaluate(model_file: str, data: str, target: str | None, rows: str, device: str, as_json: bool) -> None:
    """Test the model in MODEL on DATA.

    On the data that it was trained on, the test rows are those set aside then. Other data are tested on their
    own test rows or, where they have none, with --rows all on every row.
    """
    model = checkpoints.load(model_file)
    record = checkpoints.describe(model_file).get("provenance") or {}
    prepared = prepare_as_before(data, record, Scaling.none(), target=target)
    require_features(prepared, _n_features(model), model_file)
    X, y = _rows(prepared, record, rows, task_of_model(model), model_file)
    result = evaluate_model(on_device(model, device), X, y)
    line = f"test error {result['test_error']:.4g} ({result['unit']}) on {result['n_test']} rows"
    report_result(result, [f"{line}, {result['seconds']:.2f} s"], as_json)


def _n_features(model: Any) -> int:
    return model.n_visible if hasattr(model, "n_visible") else model.n_features_in_


def _rows(prepared: PreparedData, record: dict[str, Any], rows: str, task: str, model_file: str) -> tuple[Any, Any]:
    labelled = task != "reconstruction"
    if rows == "all":
        return prepared.dataset.X, prepared.labels() if labelled else None
    if not same_data(record, prepared.dataset) and prepared.split.test_source != "own":
        raise DataError(
            f"{prepared.dataset.name} are not the data that {model_file} was trained on, and they have no test rows "
            "of their own. Give --rows all to test on every row."
        )
    return prepared.raw_test_rows(), prepared.test_labels() if labelled else None
