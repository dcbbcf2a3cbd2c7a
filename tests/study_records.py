"""Made-up records of the trials of a study."""

import numpy as np

from pipelines.studies.results import Results
from pipelines.studies.study import Scale

SEEDS = 5
FIGURES = {
    "train_loss": 0.1,
    "train_error": 1.0,
    "test_error": 5.0,
    "validation_loss": 0.2,
    "guessing_loss": 2.3,
    "seconds": 1.0,
    "compute_seconds": 1.0,
    "n_parameters": 1000,
    "draw_error": 5.0,
    "draw_area": 0.5,
    "output_area": 0.9,
}


def make_results(study, changed):
    """Results of a study's trials: `FIGURES` with noise of their own, or what `changed` (trial -> dict) says.

    A changed number gets the noise too; a list is taken as it is.
    """
    rng, records = np.random.default_rng(0), []
    for seed in range(SEEDS):
        for trial in study.trials(Scale()):
            figures = {**FIGURES, "losses": [1.0, 0.5, 0.1], "gradients": [1.0, 1.0], **changed.get(trial.name, {})}
            noisy = {key: _with_noise(value, rng) for key, value in figures.items()}
            records.append({"trial": trial.name, "seed": seed, "diverged": False, **noisy})
    return Results(records)


def _with_noise(value, rng):
    return value if isinstance(value, list) else value * (1 + 0.01 * rng.standard_normal())
