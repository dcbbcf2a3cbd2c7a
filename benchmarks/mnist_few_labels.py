"""MNIST with 100 labels, ten a class, and the other 59,900 rows unlabelled: estimators at their defaults.

    python benchmarks/mnist_few_labels.py -o few_labels.json

Every draw chooses the labelled rows; `DBNClassifier` and `SDAEClassifier` are fitted on all 60,000 rows with -1 for
the others, scikit-learn's `MLPClassifier` with the same layers on the labelled rows alone (its other parameters at
their defaults; `--mlp-epochs` gives it longer). Pixels are divided by 255 for all. Printed are the mean over the
draws of the test accuracy in %, and the difference from the perceptron. Beside the defaults there are the best
settings that were found, on training rows outside the labelled ones with other draws. Nothing is chosen by the test
rows.
"""

import time
import warnings
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from recording import describe_machine, format_table, write_json
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

from pipelines.preparation import prepare
from pretrain import DBNClassifier, SDAEClassifier

REFERENCE = "MLPClassifier"
BEST = "DBNClassifier, best"
BEST_SETTINGS = {"hidden_layer_sizes": (1000, 500), "dropout": 0.5, "pseudo_labels": 3.0}
UNLABELLED = -1


def make_arms(seed: int, mlp_epochs: int) -> dict[str, Any]:
    """Unfitted estimators by name; those that pretrain take their own defaults, the perceptron their sizes."""
    arms: dict[str, Any] = {cls.__name__: cls(random_state=seed) for cls in (DBNClassifier, SDAEClassifier)}
    sizes = arms["DBNClassifier"].hidden_layer_sizes
    arms[BEST] = DBNClassifier(random_state=seed, **BEST_SETTINGS)
    arms[REFERENCE] = MLPClassifier(sizes, max_iter=mlp_epochs, random_state=seed)
    return arms


def draw_labelled(y: np.ndarray, per_class: int, seed: int) -> np.ndarray:
    """Rows that keep their labels, `per_class` of each class, (n_labelled,)."""
    rng = np.random.default_rng(seed)
    chosen = [rng.choice(np.flatnonzero(y == label), per_class, replace=False) for label in np.unique(y)]
    return np.sort(np.concatenate(chosen))


def run_draw(rows: dict[str, np.ndarray], arms: dict[str, Any], per_class: int, seed: int) -> list[dict[str, Any]]:
    """Test accuracy in % and seconds of every arm on one draw."""
    X, y = rows["X"], rows["y"]
    labelled = draw_labelled(y, per_class, seed)
    marked = np.full(len(y), UNLABELLED)
    marked[labelled] = y[labelled]
    results = []
    for name, arm in arms.items():
        model, started = clone(arm), time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # the perceptron's default is 200 epochs
            if name == REFERENCE:
                model.fit(X[labelled], y[labelled])
            else:
                model.fit(X, marked)
        seconds = time.perf_counter() - started
        accuracy = 100 * model.score(rows["X_test"], rows["y_test"])
        results.append({"arm": name, "draw": seed, "accuracy": accuracy, "seconds": seconds})
        click.echo(f"draw {seed}, {name}: {accuracy:.2f} %, {seconds:.0f} s", err=True)
    return results


def summarise(runs: list[dict[str, Any]]) -> list[list[str]]:
    """Rows of the table, one an arm."""
    names = list(dict.fromkeys(run["arm"] for run in runs))
    found = {name: np.array([run["accuracy"] for run in runs if run["arm"] == name]) for name in names}
    lines = []
    for name, accuracy in found.items():
        spread = f" ± {accuracy.std(ddof=1):.2f}" if len(accuracy) > 1 else ""
        above = "" if name == REFERENCE else f"{(accuracy - found[REFERENCE]).mean():+.2f}"
        seconds = np.median([run["seconds"] for run in runs if run["arm"] == name])
        lines.append([name, f"{accuracy.mean():.2f}{spread}", above, f"{seconds:.0f}"])
    return lines


@click.command(help="MNIST with few labels: estimators at their defaults against MLPClassifier.")
@click.option("--data", default="mnist", show_default=True, help="Data set, as the commands take it.")
@click.option("--per-class", default=10, show_default=True, help="Labelled rows of each class.")
@click.option("--draws", default=5, show_default=True, help="Draws of the labelled rows.")
@click.option("--mlp-epochs", default=200, show_default=True, help="Epochs of MLPClassifier; 200 is its default.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="JSON of every run.")
def main(data: str, per_class: int, draws: int, mlp_epochs: int, output: Path | None) -> None:
    """Run every draw, print a table."""
    prepared = prepare(data, seed=0)
    rows = {
        "X": prepared.train_rows(),
        "y": prepared.train_labels(),
        "X_test": prepared.scaling.apply(prepared.raw_test_rows()),
        "y_test": prepared.test_labels(),
    }
    runs: list[dict[str, Any]] = []
    for seed in range(draws):
        runs += run_draw(rows, make_arms(seed, mlp_epochs), per_class, seed)
    click.echo(f"\n{len(rows['X']):,} rows, {per_class} labels a class, {draws} draws")
    click.echo(format_table(["arm", "test accuracy %", f"against {REFERENCE}", "seconds"], summarise(runs)))
    write_json(output, {"machine": describe_machine(torch.device("cpu")), "per_class": per_class, "runs": runs})


if __name__ == "__main__":
    main()
