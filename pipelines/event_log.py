"""Records of training as TensorBoard's event files, by the package tensorboard (the extra `pretrain[tensorboard]`).

Every number of a record of an epoch becomes a scalar at the number of the epoch: `finetune/loss`, `pretrain/layer
1/loss`.
"""

import re
from pathlib import Path
from typing import Any

from pretrain.exceptions import SettingsError
from pretrain.training import Record

try:
    from torch.utils.tensorboard import SummaryWriter
except ImportError:
    SummaryWriter = None  # type: ignore[assignment, misc]

PLACE = ("stage", "layer", "n_layers", "epoch", "n_epochs", "progress")  # where a record is, not what it says


class EventLog:
    """Writes records into a folder that `tensorboard --logdir FOLDER` shows.

    Parameters
    ----------
    folder : Path
        Made if it is not there. What an earlier training of the same name wrote is not shown any more.

    Raises
    ------
    SettingsError
        If the package tensorboard is not installed, or the folder cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        if SummaryWriter is None:
            raise SettingsError("--tensorboard needs the package tensorboard: pip install 'pretrain[tensorboard]'.")
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SettingsError(f"{folder} cannot be a folder for --tensorboard: {error.strerror}.") from error
        self.folder = folder
        self._writers: dict[str, Any] = {}

    def write(self, record: Record, title: str) -> None:
        """Write a record of an epoch; those of several trainings are told apart by their titles."""
        name = re.sub(r"^\[\d+/\d+\] ", "", title).replace("/", " of ")
        if name not in self._writers:
            self._writers[name] = SummaryWriter(str(self.folder / name), purge_step=0)
        layer = "" if record["layer"] is None else f"layer {record['layer'] + 1}/"
        for key, value in record.items():
            if key not in PLACE and isinstance(value, int | float):
                self._writers[name].add_scalar(f"{record['stage']}/{layer}{key}", value, record["epoch"])

    def close(self) -> None:
        """Write what is not written yet."""
        for writer in self._writers.values():
            writer.close()
        self._writers.clear()
