"""scikit-learn's example "Restricted Boltzmann Machine features for digit classification", with its RBM and ours.

    python benchmarks/digits_pipeline.py -o digits.json

As in the example: the digits and four copies of them, shifted by one pixel each way; columns scaled to [0, 1]; a
fifth of the rows for testing; an RBM with 100 hidden units, rate 0.06 and 10 epochs; logistic regression with
C = 6000 on its features, and with C = 100 on the pixels. Not as in the example, whose `tol=1` makes recent versions
of scikit-learn stop before the first step: the regressions converge (`tol=1e-4`).

The shifted copies are made before the split, so every test digit has kin among the training rows: these accuracies
compare features and are no estimate for new writers. Each seed draws the split and the RBM. Nothing was chosen by
the test rows; the arms are

raw pixels
    No RBM.
BernoulliRBM
    The example.
RBMTransformer
    The example with the class exchanged and every argument kept. What the example leaves alone is each library's
    own: batches of 10 there, a fiftieth of the rows (at most 100) here; momentum and weight decay here alone.
RBMTransformer, batches of 10
    The same with scikit-learn's batches: as many updates as it makes.
RBMTransformer, plain steps of 10
    Without momentum and weight decay too, as scikit-learn's updates are.
RBMTransformer, persistent chains
    The same with scikit-learn's algorithm, stochastic maximum likelihood: only the initial weights are wider (0.1
    against 0.01) and the rows are shuffled every epoch.
RBMTransformer, defaults
    100 hidden units, all else left alone.

Printed are the mean and standard deviation over seeds of the test accuracy, the mean difference from the example in
the same split, and the median seconds of fitting the RBM. Arms take turns within a seed.
"""

import statistics
import time
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from recording import describe_machine, format_table, write_json
from scipy.ndimage import shift
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.neural_network import BernoulliRBM
from sklearn.preprocessing import MinMaxScaler

from pretrain import RBMTransformer

SHIFTS = ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1))  # rows and columns of an image
EXAMPLE = {"n_components": 100, "learning_rate": 0.06, "n_iter": 10}
RBM_C, PIXELS_C = 6000, 100
REFERENCE = "BernoulliRBM"
PLAIN_STEPS = {**EXAMPLE, "batch_size": 10, "momentum": 0.0, "weight_decay": 0.0}
ARMS: dict[str, tuple[Any, dict[str, Any]]] = {
    "raw pixels": (None, {}),
    REFERENCE: (BernoulliRBM, EXAMPLE),
    "RBMTransformer": (RBMTransformer, EXAMPLE),
    "RBMTransformer, batches of 10": (RBMTransformer, {**EXAMPLE, "batch_size": 10}),
    "RBMTransformer, plain steps of 10": (RBMTransformer, PLAIN_STEPS),
    "RBMTransformer, persistent chains": (RBMTransformer, {**PLAIN_STEPS, "gradient_estimator": "pcd"}),
    "RBMTransformer, defaults": (RBMTransformer, {"n_components": 100}),
}


def shifted_digits(n_images: int | None) -> tuple[np.ndarray, np.ndarray]:
    """The digits and their shifted copies: X (5 n_images, 64) float32 in [0, 1], y (5 n_images,)."""
    images, y = load_digits(return_X_y=True)
    images, y = images[:n_images].astype(np.float32).reshape(-1, 8, 8), y[:n_images]
    copies = [shift(images, (0, *by), order=0, mode="constant", cval=0) for by in SHIFTS]
    X = np.concatenate(copies).reshape(-1, 64)
    return MinMaxScaler().fit_transform(X), np.concatenate([y] * len(SHIFTS))


def run_arm(arm: str, split: list[np.ndarray], seed: int) -> tuple[float, float]:
    """Test accuracy, and seconds of fitting the RBM (0 without one)."""
    X_train, X_test, y_train, y_test = split
    transformer, arguments = ARMS[arm]
    seconds = 0.0
    if transformer is not None:
        rbm = transformer(**arguments, random_state=seed)
        started = time.perf_counter()
        rbm.fit(X_train)
        seconds = time.perf_counter() - started
        X_train, X_test = rbm.transform(X_train), rbm.transform(X_test)
    logistic = LogisticRegression(solver="newton-cg", C=PIXELS_C if transformer is None else RBM_C)
    return float(logistic.fit(X_train, y_train).score(X_test, y_test)), seconds


def results_of(accuracies: dict[str, list[float]], seconds: dict[str, list[float]]) -> list[dict[str, Any]]:
    """One dict an arm, ready for JSON; the figures in % but for the seconds."""
    results = []
    for arm, values in accuracies.items():
        differences = [100 * (a - b) for a, b in zip(values, accuracies[REFERENCE], strict=True)]
        results.append(
            {
                "arm": arm,
                "accuracies": values,
                "accuracy_percent": 100 * statistics.mean(values),
                "spread_percent": 100 * _spread(values),
                "difference_percent": statistics.mean(differences),
                "difference_spread_percent": _spread(differences),
                "fit_seconds": seconds[arm],
                "fit_seconds_median": statistics.median(seconds[arm]),
            }
        )
    return results


def _spread(values: list[float]) -> float:
    return statistics.stdev(values) if len(values) > 1 else 0.0


def arm_table(results: list[dict[str, Any]]) -> str:
    """The lines of the table."""
    header = ("arm", "test accuracy %", "difference from the example", "s to fit the RBM")
    rows = [
        (
            r["arm"],
            f"{r['accuracy_percent']:.2f} ± {r['spread_percent']:.2f}",
            f"{r['difference_percent']:+.2f} ± {r['difference_spread_percent']:.2f}" if r["arm"] != REFERENCE else "",
            f"{r['fit_seconds_median']:.2f}" if r["fit_seconds_median"] else "",
        )
        for r in results
    ]
    return format_table(header, rows)


@click.command()
@click.option("--seeds", type=click.IntRange(1), default=5, show_default=True, help="Splits, numbered from 0.")
@click.option("--rows", type=click.IntRange(50), default=None, help="Most images before shifting.  [default: all]")
@click.option("--threads", type=click.IntRange(1), default=None, help="Of torch.  [default: torch's]")
@click.option("--output", "-o", type=click.Path(dir_okay=False, path_type=Path), help="JSON file, overwritten.")
def main(seeds: int, rows: int | None, threads: int | None, output: Path | None) -> None:
    """Accuracy and seconds of scikit-learn's RBM example with its RBM and with ours."""
    torch.set_num_threads(threads or torch.get_num_threads())
    machine = describe_machine(torch.device("cpu"))
    print(", ".join(f"{key} {value}" for key, value in machine.items() if value))
    X, y = shifted_digits(rows)
    accuracies: dict[str, list[float]] = {arm: [] for arm in ARMS}
    seconds: dict[str, list[float]] = {arm: [] for arm in ARMS}
    for seed in range(seeds):
        split = train_test_split(X, y, test_size=0.2, random_state=seed)
        for arm in ARMS:
            accuracy, taken = run_arm(arm, split, seed)
            accuracies[arm].append(accuracy)
            seconds[arm].append(taken)
    results = results_of(accuracies, seconds)
    print(f"\n{len(X)} rows, {seeds} seeds\n{arm_table(results)}")
    write_json(output, {"machine": machine, "rows": len(X), "seeds": list(range(seeds)), "results": results})


if __name__ == "__main__":
    main()
