"""The deep Boltzmann machine of Salakhutdinov & Hinton (2009) on MNIST: its likelihood and its fine-tuned error.

    python benchmarks/dbm_mnist.py -o dbm.json

784-500-1000, trained jointly by mean field and persistent chains, with centred gradients, on pixels that are drawn as
0 or 1 with the grey values as probabilities, anew every time. It begins with small random weights and the visible
biases of the data, or with `--pretrain-epochs` as two RBMs with doubled inputs, composed. Printed are the variational
lower bound on the log-likelihood of the test rows (drawn once), with log Z from annealed importance sampling and from
its reverse, and the test error in % of the unrolled network, fine-tuned on grey values beside the mean-field means of
the second layer; the paper has at least -84.62 nats and 0.95 %. The model is saved beside the JSON, as dbm.h5, before
it is measured; a model that is there already is refused before training.

Nothing is chosen by the test rows: `--model dbm.h5 --ais-runs 0 --validation-rows 10000` fine-tunes a model that is
there on the other training rows and prints the error on these.
"""

import dataclasses
import time
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from recording import describe_machine, format_table, write_json
from sklearn.metrics import zero_one_loss

import checkpoints
from pipelines.preparation import PreparedData, prepare
from pretrain import DBM, DBMTraining, Finetuning, augmented_rows, unroll_dbm
from pretrain.columns import column_mean
from pretrain.dbm_bound import ais_dbm_log_partition, dbm_bound, reverse_ais_dbm_log_partition
from pretrain.dbm_settings import DBM_TRAINING, DBMSettings
from pretrain.network import Network
from pretrain.random_streams import BernoulliSampler, RandomStreams
from pretrain.settings import FinetuneSettings, RBMSettings, TrainingSettings

PAPER = {"bound": -84.62, "test_error": 0.95}


def train(
    data: PreparedData,
    sizes: tuple[int, ...],
    epochs: dict[str, int],
    learning_rate: float,
    centered: bool,
    seed: int,
) -> tuple[DBM, list[Any]]:
    """The model, and a record of every epoch."""
    rbm = TrainingSettings(epochs=epochs["pretrain"], learning_rate=0.05, initial_momentum=0.5, weight_decay=2e-4)
    settings = RBMSettings(binarize=True, weight_scale=0.01, initial_visible_bias="data", training=rbm)
    training = dataclasses.replace(DBM_TRAINING, epochs=epochs["joint"], learning_rate=learning_rate)
    joint = DBMSettings(binarize=True, centered=centered, training=training)
    run = DBMTraining(data.train_rows(), sizes, settings, joint, seed=seed)
    records = []
    for record in run:
        records.append(record)
        click.echo(
            f"{record['stage']} {record['epoch']}: loss {record['loss']:.2f}, {record['seconds']:.1f} s", err=True
        )
    return run.dbm, records


def measure_bound(dbm: DBM, data: PreparedData, seed: int, n_runs: int, n_temperatures: int) -> dict[str, float]:
    """The bound on test rows in nats, and log Z from both sides."""
    streams = RandomStreams(seed)
    place = dbm.visible_bias.device
    sampler = BernoulliSampler(streams.generator("likelihood", layer=0, device=place), exact=True)
    train_rows, test_rows = (
        torch.from_numpy(rows).to(place) for rows in (data.train_rows(), data.scaling.apply(data.raw_test_rows()))
    )
    test_rows = sampler.sample(test_rows, torch.empty_like(test_rows))
    start = sampler.sample(train_rows[:n_runs].contiguous(), torch.empty_like(train_rows[:n_runs]))
    options: dict[str, Any] = {
        "generator": streams.generator("likelihood", layer=1, device=place),
        "base_mean": torch.from_numpy(column_mean(train_rows)),
        "n_temperatures": n_temperatures,
    }
    forward = ais_dbm_log_partition(dbm, n_runs=n_runs, **options)
    reverse = reverse_ais_dbm_log_partition(dbm, start, **options)
    found, backwards = (dbm_bound(dbm, test_rows, log_partition) for log_partition in (forward, reverse))
    return {
        "bound": found.mean,
        "standard_error": found.standard_error,
        "spread": found.spread,
        "reverse_bound": backwards.mean,
        "log_partition": forward.value,
        "log_partition_error": forward.standard_error,
        "reverse_log_partition": reverse.value,
    }


def finetune(
    dbm: DBM, data: PreparedData, epochs: int, dropout: dict[str, float], seed: int, n_validation: int
) -> dict[str, float]:
    """Error in % of the unrolled network after fine-tuning, on test rows or on the last training rows."""
    network = unroll_dbm(dbm.cpu(), n_outputs=10, generator=RandomStreams(seed).generator("head"), **dropout)
    training = TrainingSettings(optimizer="adam", learning_rate=1e-3, schedule="cosine", epochs=epochs)
    rows, labels = data.train_rows(), data.train_labels()
    n_used = len(rows) - n_validation
    used = augmented_rows(dbm, rows[:n_used])
    for _ in Finetuning(network, used, labels[:n_used], FinetuneSettings(training=training), seed=seed):
        pass
    if n_validation > 0:
        return {"validation_error": error_of(network, augmented_rows(dbm, rows[n_used:]), labels[n_used:])}
    test_rows = augmented_rows(dbm, data.scaling.apply(data.raw_test_rows()))
    return {"test_error": error_of(network, test_rows, data.test_labels())}


def error_of(network: Network, rows: np.ndarray, labels: np.ndarray) -> float:
    """Share of wrong rows in %."""
    return 100 * float(zero_one_loss(labels, network.output_rows(rows).argmax(axis=1)))


@click.command(help="Train, measure and fine-tune a deep Boltzmann machine.")
@click.option("--data", default="mnist", show_default=True, help="Data with ten classes and values from 0 to 1.")
@click.option("--layers", default="500,1000", show_default=True, help="Hidden units.")
@click.option("--pretrain-epochs", default=0, show_default=True, help="Of each RBM.")
@click.option("--joint-epochs", default=250, show_default=True)
@click.option("--learning-rate", default=DBM_TRAINING.learning_rate, show_default=True, help="Of joint training.")
@click.option("--centered", type=bool, default=True, show_default=True, help="Gradients of joint training.")
@click.option("--model", type=click.Path(path_type=Path), help="Of an earlier run: measured instead of a new one.")
@click.option("--epochs", default=30, show_default=True, help="Of fine-tuning; 0: none.")
@click.option("--dropout", default=0.0, show_default=True, help="Of hidden units in fine-tuning.")
@click.option("--input-dropout", default=0.0, show_default=True, help="Of pixels and means in fine-tuning.")
@click.option("--validation-rows", default=0, show_default=True, help="Training rows for the error; 0: test rows.")
@click.option("--ais-runs", default=100, show_default=True, help="0: no bound.")
@click.option("--ais-temperatures", default=14_500, show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="JSON of all; the model is beside it, as .h5.")
def main(
    data: str,
    layers: str,
    pretrain_epochs: int,
    joint_epochs: int,
    learning_rate: float,
    centered: bool,
    model: Path | None,
    epochs: int,
    dropout: float,
    input_dropout: float,
    validation_rows: int,
    ais_runs: int,
    ais_temperatures: int,
    seed: int,
    output: Path | None,
) -> None:
    """Print the figures beside the paper's."""
    saved = None if output is None or model is not None else output.with_suffix(".h5")
    if saved is not None:
        if saved == output or saved.exists():
            raise click.UsageError(
                f"The model would be written over {saved}. Give an -o that ends in .json and has no .h5 beside it."
            )
        saved.parent.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    prepared = prepare(data, seed=seed)
    if model is None:
        sizes = tuple(int(size) for size in layers.split(","))
        n_epochs = {"pretrain": pretrain_epochs, "joint": joint_epochs}
        dbm, records = train(prepared, sizes, n_epochs, learning_rate, centered, seed)
    else:
        dbm, records = checkpoints.load(model), checkpoints.read_history(model)
    if saved is not None:
        checkpoints.save(dbm, saved, history=records)
    figures: dict[str, float] = {}
    if ais_runs > 0:
        figures |= measure_bound(dbm, prepared, seed, ais_runs, ais_temperatures)
    if epochs > 0:
        rates = {"dropout": dropout, "input_dropout": input_dropout}
        figures |= finetune(dbm, prepared, epochs, rates, seed, validation_rows)
    figures["seconds"] = time.perf_counter() - started
    rows = [[name, f"{value:.2f}", f"{PAPER[name]:.2f}" if name in PAPER else ""] for name, value in figures.items()]
    click.echo(format_table(["figure", "reached", "paper"], rows))
    machine, layer_sizes = describe_machine(dbm.visible_bias.device), dbm.hidden_layer_sizes
    write_json(
        output, {"machine": machine, "data": data, "layers": layer_sizes, "figures": figures, "history": records}
    )


if __name__ == "__main__":
    main()
