"""What an epoch of fine-tuning costs: `DBNClassifier` against scikit-learn's `MLPClassifier` on the digits.

    python benchmarks/estimator_overhead.py -o overhead.json

Both have the same layers, batches, optimiser and logistic units, and are fitted `--repeats` times in turns. The
seconds of an epoch are the difference between two fits of many and of few epochs by the difference of these numbers,
so that pretraining and everything else that a fit does once are not in them. Printed are the medians, the ratio of an
epoch, and the milliseconds of a whole fit on 20 rows of 3 columns, one epoch of each stage.
"""

import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from recording import describe_machine, format_table, write_json
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

from pretrain import DBNClassifier

FEW = 2  # epochs of the shorter fit


def make_contestants(sizes: tuple[int, ...], batch_size: int) -> dict[str, Callable[[int], Any]]:
    """Unfitted estimators by name, for a number of epochs of supervised training."""
    shared: dict[str, Any] = {"batch_size": batch_size, "random_state": 0}
    return {
        "DBNClassifier": lambda n: DBNClassifier(sizes, max_iter=n, pretrain_epochs=1, device="cpu", **shared),
        "MLPClassifier": lambda n: MLPClassifier(
            sizes, activation="logistic", max_iter=n, tol=0.0, n_iter_no_change=n + 1, **shared
        ),
    }


def seconds_of(estimator: Any, X: np.ndarray, y: np.ndarray) -> float:
    """Wall time of a fit."""
    started = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # so few epochs are meant
        estimator.fit(X, y)
    return time.perf_counter() - started


def time_epochs(
    contestants: dict[str, Callable[[int], Any]], X: np.ndarray, y: np.ndarray, epochs: int, repeats: int
) -> dict[str, list[float]]:
    """Seconds of an epoch of fine-tuning by name, one entry a repeat; the contestants take turns."""
    found: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(repeats):
        for name, make in contestants.items():
            few, many = (seconds_of(make(n), X, y) for n in (FEW, FEW + epochs))
            found[name].append((many - few) / epochs)
    return found


def time_smallest(repeats: int) -> dict[str, list[float]]:
    """Seconds of a fit on 20 rows of 3 columns, one epoch of each stage."""
    X = np.random.default_rng(0).random((20, 3))
    y = np.arange(20) % 2
    contestants = make_contestants((5,), 10)
    return {name: [seconds_of(make(1), X, y) for _ in range(repeats)] for name, make in contestants.items()}


@click.command(help="Seconds of an epoch of fine-tuning, against MLPClassifier.")
@click.option("--layers", default="256,256", show_default=True, help="Units of each hidden layer.")
@click.option("--batch-size", default=35, show_default=True, help="Rows a step; 35 is the default on the digits.")
@click.option("--epochs", default=20, show_default=True, help="Epochs that are timed.")
@click.option("--repeats", default=5, show_default=True)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="JSON of every timing.")
def main(layers: str, batch_size: int, epochs: int, repeats: int, output: Path | None) -> None:
    """Time both, print a table and the ratio."""
    torch.set_num_threads(1)
    X, y = load_digits(return_X_y=True)
    sizes = tuple(int(size) for size in layers.split(","))
    epoch = time_epochs(make_contestants(sizes, batch_size), X / 16, y, epochs, repeats)
    smallest = time_smallest(max(repeats, 3))
    rows = [
        [name, f"{1000 * statistics.median(epoch[name]):.1f}", f"{1000 * statistics.median(smallest[name]):.1f}"]
        for name in epoch
    ]
    click.echo(format_table(["estimator", "ms an epoch", "ms a fit of 20 rows"], rows))
    ours, theirs = (statistics.median(seconds) for seconds in epoch.values())
    click.echo(f"an epoch of DBNClassifier takes {ours / theirs:.2f} times that of MLPClassifier")
    machine = describe_machine(torch.device("cpu"))
    write_json(output, {"machine": machine, "epoch": epoch, "smallest_fit": smallest, "ratio": ours / theirs})


if __name__ == "__main__":
    main()
