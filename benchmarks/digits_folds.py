"""scikit-learn's digits in folds: `DBNClassifier` at its defaults against an `MLPClassifier` of its size.

    python benchmarks/digits_folds.py -o digits_folds.json

Both are scored on the same folds (`StratifiedKFold`, shuffled by the seed); printed are accuracies in %, mean and
standard deviation over the folds, the paired difference, and seconds of a fit and its score.
"""

from pathlib import Path

import click
import numpy as np
import torch
from recording import describe_machine, format_table, write_json
from sklearn.datasets import load_digits
from sklearn.model_selection import StratifiedKFold, cross_validate
from sklearn.neural_network import MLPClassifier

from pretrain import DBNClassifier


def run(n_folds: int, n_rows: int | None, seed: int) -> dict[str, dict[str, list[float]]]:
    """Accuracy in % and seconds of each fold, by estimator."""
    X, y = (part[:n_rows] for part in load_digits(return_X_y=True))
    folds = StratifiedKFold(n_folds, shuffle=True, random_state=seed)
    pretrained = DBNClassifier(random_state=seed)
    perceptron = MLPClassifier(pretrained.hidden_layer_sizes, random_state=seed)
    found = {}
    for estimator in (pretrained, perceptron):
        scores = cross_validate(estimator, X, y, cv=folds)
        seconds = scores["fit_time"] + scores["score_time"]
        found[type(estimator).__name__] = {
            "accuracy": (100 * scores["test_score"]).tolist(),
            "seconds": seconds.tolist(),
        }
    return found


@click.command(help="Accuracy on digits in folds: DBNClassifier against MLPClassifier.")
@click.option("--folds", "n_folds", default=10, show_default=True)
@click.option("--rows", "n_rows", type=int, help="The first so many rows alone.")
@click.option("--seed", default=0, show_default=True, help="Of the folds and of both estimators.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="JSON of every fold.")
def main(n_folds: int, n_rows: int | None, seed: int, output: Path | None) -> None:
    """Print one row an estimator, and the difference."""
    found = run(n_folds, n_rows, seed)
    rows = [
        [name, _level(np.array(one["accuracy"])), f"{np.median(one['seconds']):.1f}"] for name, one in found.items()
    ]
    ours, other = (np.array(one["accuracy"]) for one in found.values())
    click.echo(
        format_table(["estimator", "accuracy %", "seconds"], [*rows, ["difference", _level(ours - other), ""]])
    )
    write_json(output, {"machine": describe_machine(torch.device("cpu")), "folds": found, "seed": seed})


def _level(values: np.ndarray) -> str:
    return f"{values.mean():.2f} ± {values.std(ddof=1):.2f}"


if __name__ == "__main__":
    main()
