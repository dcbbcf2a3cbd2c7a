"""Does denoising pretraining with swap noise help on a table? Breast cancer: 569 rows of 30 numbers, two classes.

    python benchmarks/table_denoising.py -o table.json

Every seed draws a third of the rows for testing and, of the rest, the rows that keep their labels; all rows that are
not for testing pretrain. Networks have two layers of 64 units and differ in what their name says; gradient boosting,
which practitioners would take for a table, sees the labelled rows. Every arm is used as it comes: nothing was tuned.
Printed are the mean and standard deviation over seeds of the test error in %, and the mean difference from the same
network without pretraining with the p of a paired t-test (scipy's).
"""

import statistics
import time
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from recording import describe_machine, format_table, write_json
from scipy.stats import ttest_rel
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.model_selection import train_test_split

from pretrain import ScratchClassifier, SDAEClassifier

SIZES = (64, 64)
REFERENCE = "sigmoid, not pretrained"


def make_arms(seed: int) -> dict[str, Any]:
    """Unfitted estimators by name."""
    return {
        REFERENCE: ScratchClassifier("sigmoid", SIZES, random_state=seed),
        "swap 0.15": SDAEClassifier(SIZES, corruption="swap", corruption_level=0.15, random_state=seed),
        "swap 0.3": SDAEClassifier(SIZES, corruption="swap", corruption_level=0.3, random_state=seed),
        "masking 0.3": SDAEClassifier(SIZES, corruption="masking", corruption_level=0.3, random_state=seed),
        "no noise": SDAEClassifier(SIZES, corruption="none", random_state=seed),
        "ReLU, not pretrained": ScratchClassifier("relu", SIZES, random_state=seed),
        "gradient boosting": GradientBoostingClassifier(random_state=seed),
    }


def run_seed(seed: int, n_labels: int | None) -> list[dict[str, Any]]:
    """Test error in % and seconds of each arm on one draw of rows and labels; None keeps all labels."""
    X, y = load_breast_cancer(return_X_y=True)
    X, X_test, y, y_test = train_test_split(X, y, test_size=1 / 3, stratify=y, random_state=seed)
    labelled = np.arange(len(y))
    if n_labels is not None:
        labelled, _ = train_test_split(labelled, train_size=n_labels, stratify=y, random_state=seed)
    marked = np.full_like(y, -1)
    marked[labelled] = y[labelled]
    results = []
    for name, arm in make_arms(seed).items():
        started = time.perf_counter()
        if isinstance(arm, SDAEClassifier):
            arm.fit(X, marked)
        else:
            arm.fit(X[labelled], y[labelled])
        seconds = time.perf_counter() - started
        error = 100 * (1 - arm.score(X_test, y_test))
        results.append({"arm": name, "labels": len(labelled), "seed": seed, "error": error, "seconds": seconds})
    return results


def summarise(runs: list[dict[str, Any]]) -> list[list[str]]:
    """Rows of the table of one number of labels."""
    errors = {arm: np.array([run["error"] for run in runs if run["arm"] == arm]) for arm in make_arms(0)}
    rows = []
    for arm, found in errors.items():
        change, p = "", ""
        if arm != REFERENCE:
            change = f"{(found - errors[REFERENCE]).mean():+.2f}"
            p = f"{ttest_rel(found, errors[REFERENCE]).pvalue:.2g}" if len(found) > 1 else ""
        seconds = statistics.median(run["seconds"] for run in runs if run["arm"] == arm)
        spread = f" ± {found.std(ddof=1):.2f}" if len(found) > 1 else ""
        rows.append([arm, f"{found.mean():.2f}{spread}", change, p, f"{seconds:.2f}"])
    return rows


@click.command(help="Swap-noise pretraining on a table, against none.")
@click.option("--labels", "budgets", multiple=True, default=("20", "all"), show_default=True, help="Labelled rows.")
@click.option("--seeds", default=20, show_default=True)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="JSON of every run.")
def main(budgets: tuple[str, ...], seeds: int, output: Path | None) -> None:
    """Run every budget and seed, print a table a budget."""
    torch.set_num_threads(1)
    runs: list[dict[str, Any]] = []
    for budget in budgets:
        own = [run for seed in range(seeds) for run in run_seed(seed, None if budget == "all" else int(budget))]
        click.echo(f"\n{own[0]['labels']} labels, {seeds} seeds")
        click.echo(format_table(["arm", "test error %", "against reference", "p", "seconds"], summarise(own)))
        runs += own
    write_json(output, {"machine": describe_machine(torch.device("cpu")), "runs": runs})


if __name__ == "__main__":
    main()
