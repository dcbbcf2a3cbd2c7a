"""The figures that the trials of a study gave."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pretrain.exceptions import DataError


class Results:
    """Records of the trials of a study, one for each trial and seed.

    Parameters
    ----------
    records : sequence of mapping
        See `pipelines.studies.trials.TrialBench.run`.

    Raises
    ------
    DataError
        Where a trial lacks a seed that another has, or has one twice: nothing could be paired.
    """

    def __init__(self, records: Sequence[Mapping[str, Any]]) -> None:
        self.seeds = sorted({record["seed"] for record in records})
        self.trials = list(dict.fromkeys(record["trial"] for record in records))
        self._records = {(record["trial"], record["seed"]): record for record in records}
        wanted = len(self.seeds) * len(self.trials)
        if not records or len(self._records) != wanted or len(records) != wanted:
            raise DataError(
                f"A study needs one record of each trial for each seed: {wanted} for {len(self.trials)} trials and "
                f"{len(self.seeds)} seeds; got {len(records)}."
            )

    def of(self, trial: str, key: str) -> np.ndarray:
        """A figure of one trial: (n_seeds,) in the order of the seeds, or (n_seeds, n) where it is a list."""
        if trial not in self.trials:
            raise DataError(f"The study has no trial {trial!r}; it has {', '.join(self.trials)}.")
        return np.array([self._records[trial, seed][key] for seed in self.seeds], dtype=np.float64)

    def records(self, trial: str) -> list[Mapping[str, Any]]:
        """The records of one trial in the order of the seeds."""
        return [self._records[trial, seed] for seed in self.seeds]

    def mean(self, trial: str, key: str) -> float:
        """Mean of a figure over the seeds."""
        return float(self.of(trial, key).mean())

    def chosen(self, trials: Sequence[str], by: str, key: str) -> np.ndarray:
        """`key` of the one of several trials whose `by` is lowest in each seed: (n_seeds,)."""
        best = np.argmin([self.of(trial, by) for trial in trials], axis=0)
        return np.array([self.of(trials[k], key)[place] for place, k in enumerate(best)])
