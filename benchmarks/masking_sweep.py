"""How much masking noise stacked denoising autoencoders want: the sweep of Vincent et al. (2010), on MNIST.

    python benchmarks/masking_sweep.py -o runs/masking

For each share of masked cells three layers of 1,000 units are pretrained on the training rows, unrolled and
fine-tuned; level 0 is plain autoencoders. They are compared by the error on validation rows, a sixth of the 60,000,
that neither stage saw; the test rows are not read. A seed draws the weights, the noise and the order of the rows; the
split is the same for all. `sweep.json` is written after every run, and runs that it holds are not made again;
`sweep.png` shows it.
"""

import json
import statistics
import time
from pathlib import Path
from typing import Any

import click
import matplotlib
import torch
from matplotlib.figure import Figure
from recording import describe_machine, format_table, write_json
from sklearn.metrics import zero_one_loss

from pipelines.figure_style import STYLE
from pipelines.preparation import PreparedData, prepare
from pretrain import Finetuning, GreedyPretraining, unroll
from pretrain.random_streams import RandomStreams
from pretrain.settings import AutoencoderSettings, FinetuneSettings, TrainingSettings

SIZES = (1000, 1000, 1000)
VALIDATION_FRACTION = 1 / 6
LEVELS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)


def run_level(data: PreparedData, level: float, seed: int, training: dict[str, TrainingSettings]) -> dict[str, Any]:
    """Pretrain at one level, fine-tune, and return the validation error in % and the seconds."""
    started = time.perf_counter()
    layer = AutoencoderSettings(corruption_level=level, training=training["pretraining"])
    pretraining = GreedyPretraining(data.train_rows(), SIZES, layer, seed=seed)
    exhaust(pretraining)
    head = RandomStreams(seed).generator("head")
    network = unroll(pretraining.stack, "classifier", n_outputs=10, generator=head)
    settings = FinetuneSettings(training=training["finetuning"])
    exhaust(Finetuning(network, data.train_rows(), data.train_labels(), settings, seed=seed))
    predicted = network.output_rows(data.validation_rows()).argmax(axis=1)
    error = 100 * zero_one_loss(data.labels()[data.split.validation], predicted)
    return {"level": level, "seed": seed, "validation_error": error, "seconds": time.perf_counter() - started}


def exhaust(run: Any) -> None:
    """Train to the end."""
    for _ in run:
        pass


def spread_of(runs: list[dict[str, Any]]) -> dict[float, list[float]]:
    """Validation errors by level, levels in order."""
    levels = sorted({run["level"] for run in runs})
    return {level: [run["validation_error"] for run in runs if run["level"] == level] for level in levels}


@matplotlib.rc_context(STYLE)
def sweep_figure(errors: dict[float, list[float]]) -> Figure:
    """Every run as a dot, and a line through the means."""
    figure = Figure(figsize=(4.6, 3.2), layout="constrained")
    axes = figure.add_subplot()
    for level, found in errors.items():
        axes.plot([100 * level] * len(found), found, "o", color="#0072b2", alpha=0.5, markeredgewidth=0)
    axes.plot(
        [100 * level for level in errors], [statistics.mean(found) for found in errors.values()], color="#0072b2"
    )
    axes.set(xlabel="masked cells in pretraining, %", ylabel="validation error, %")
    axes.set_title("MNIST, 784-1000-1000-1000-10 denoising autoencoders")
    return figure


@click.command(help="Sweep the share of masked cells of stacked denoising autoencoders.")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="Folder of sweep.json and .png.")
@click.option("--data", default="mnist", show_default=True)
@click.option("--level", "levels", type=float, multiple=True, default=LEVELS, show_default=True)
@click.option("--seeds", default=3, show_default=True, help="Runs of each level.")
@click.option("--pretrain-epochs", default=15, show_default=True, help="Epochs a layer.")
@click.option("--epochs", default=30, show_default=True, help="Epochs of fine-tuning.")
def main(output: Path, data: str, levels: tuple[float, ...], seeds: int, pretrain_epochs: int, epochs: int) -> None:
    """Run what is missing, then print the table and draw the figure."""
    adam = TrainingSettings(optimizer="adam", learning_rate=1e-3, schedule="cosine", epochs=epochs)
    training = {
        "pretraining": TrainingSettings(optimizer="adam", learning_rate=1e-3, epochs=pretrain_epochs),
        "finetuning": adam,
    }
    record = output / "sweep.json"
    prepared = prepare(data, validation_fraction=VALIDATION_FRACTION)
    settings = {"data": data, "pretrain_epochs": pretrain_epochs, "epochs": epochs}
    content: dict[str, Any] = {"machine": describe_machine(torch.device("cpu")), "settings": settings, "runs": []}
    if record.exists():
        found = json.loads(record.read_text(encoding="utf-8"))
        if found["settings"] != settings:
            raise click.ClickException(
                f"{record} holds runs with {found['settings']}, not {settings}; take another -o."
            )
        content["runs"] = found["runs"]
    done = {(run["level"], run["seed"]) for run in content["runs"]}
    for seed in range(seeds):
        for level in levels:
            if (level, seed) not in done:
                content["runs"].append(run_level(prepared, level, seed, training))
                write_json(record, content)
                click.echo(json.dumps(content["runs"][-1]))
    errors = spread_of(content["runs"])
    click.echo(
        format_table(
            ["level", "runs", "validation error %", "std"],
            [
                [
                    f"{level:g}",
                    f"{len(e)}",
                    f"{statistics.mean(e):.2f}",
                    f"{statistics.stdev(e):.2f}" if e[1:] else "",
                ]
                for level, e in errors.items()
            ],
        )
    )
    sweep_figure(errors).savefig(output / "sweep.png", dpi=150)


if __name__ == "__main__":
    main()
