"""What the states cost that long runs write now and then: seconds of one, and their share of the run's time.

    python benchmarks/saving_cost.py -o saving_cost.json

Greedy pretraining and fine-tuning of 784-500-500-2000-10 on MNIST, with a state taken and written after every epoch
as `stack` and `finetune` write it every two minutes by default. The share is the longest writing's of that interval;
the aim is at most 2 %.
"""

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import click
import torch
from recording import describe_machine, format_table, write_json

import checkpoints
from pipelines.preparation import prepare
from pipelines.resuming import CHECKPOINT_SECONDS, ResumableRun
from pretrain import Finetuning, GreedyPretraining, unroll
from pretrain.random_streams import RandomStreams
from pretrain.settings import FinetuneSettings, RBMSettings, TrainingSettings

AIM = 0.02


def measure(run: ResumableRun, path: Path) -> dict[str, list[float]]:
    """Seconds of each epoch, and seconds and bytes of the state that is written after it."""
    figures: dict[str, list[float]] = {"epoch": [], "state": [], "bytes": []}
    records: list[Any] = []
    for record in run:
        records.append(record)
        started = time.perf_counter()
        parts = {"run": {"records": records, "state": run.state_dict()}}
        checkpoints.save(checkpoints.RunState({"seconds": 0.0, "parts": parts}), path, overwrite=True)
        figures["state"].append(time.perf_counter() - started)
        figures["epoch"].append(record["seconds"])
        figures["bytes"].append(float(path.stat().st_size))
    return figures


@click.command(help="Time the states of a pretraining and of a fine-tuning.")
@click.option("--data", default="mnist", show_default=True)
@click.option("--layers", default="500,500,2000", show_default=True, help="Hidden units.")
@click.option("--epochs", default=3, show_default=True, help="Of each layer, and of fine-tuning.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="JSON file.")
def main(data: str, layers: str, epochs: int, output: Path | None) -> None:
    """Print both runs."""
    prepared = prepare(data, seed=0)
    rows, labels = prepared.train_rows(), prepared.train_labels()
    training = TrainingSettings(epochs=epochs)
    sizes = tuple(int(size) for size in layers.split(","))
    pretraining = GreedyPretraining(rows, sizes, RBMSettings(training=training), seed=0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.h5.resume"
        figures = {"pretraining": measure(pretraining, path)}
        head = RandomStreams(0).generator("head")
        network = unroll(pretraining.stack, n_outputs=len(set(labels.tolist())), generator=head)
        settings = FinetuneSettings(training=TrainingSettings(optimizer="adam", learning_rate=1e-3, epochs=epochs))
        figures["fine-tuning"] = measure(Finetuning(network, rows, labels, settings, seed=0), path)
    table = [
        [
            stage,
            f"{statistics.median(found['epoch']):.2f}",
            f"{max(found['bytes']) / 1e6:.0f}",
            f"{statistics.median(found['state']):.3f}",
            f"{max(found['state']):.3f}",
            f"{100 * max(found['state']) / CHECKPOINT_SECONDS:.2f} %",
        ]
        for stage, found in figures.items()
    ]
    header = ["", "s/epoch", "MB", "s/state", "longest", f"of {CHECKPOINT_SECONDS:.0f} s"]
    click.echo(format_table(header, table))
    click.echo(f"aim: at most {AIM:.0%}")
    write_json(output, {"machine": describe_machine(torch.device("cpu")), "figures": figures})


if __name__ == "__main__":
    main()
