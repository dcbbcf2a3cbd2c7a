"""Does a classifier of real rows read what a deep belief net generates as the label that was clamped?

    python benchmarks/dream_agreement.py dbn.h5 net.h5 --n-gibbs 3000

`dbn.h5` is a deep belief net with labels, `net.h5` a classifier of the same rows and labels, trained on real ones.
For each label as many chains start at random, with the label clamped; after so many Gibbs steps of the memory their
codes are led down to means. Printed is the share of them, in %, that the classifier reads as their label, for each
label and for all.
"""

from pathlib import Path

import click
import numpy as np
import torch
from recording import format_table

import checkpoints
from pretrain import DBN
from pretrain.fantasies import GIBBS_STEPS, Fantasies
from pretrain.network import Network
from pretrain.random_streams import RandomStreams


def agreement(dbn: DBN, network: Network, per_label: int, n_gibbs: int, seed: int) -> np.ndarray:
    """Share of rows read as the clamped label, in %: (n_classes,)."""
    labels = torch.arange(dbn.n_classes).repeat_interleave(per_label)
    generator = RandomStreams(seed).generator("fantasies")
    fantasies = Fantasies(dbn, len(labels), labels=labels, generator=generator)
    fantasies.advance(n_gibbs)
    rows = dbn.scaling.undo(fantasies.data(states=False).numpy())
    read = network.predict(rows) == np.asarray(dbn.classes)[labels.numpy()]
    return 100 * read.reshape(dbn.n_classes, per_label).mean(axis=1)


@click.command(help="Print how often a classifier reads generated rows as their label.")
@click.argument("dbn_file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("network_file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--per-label", default=100, show_default=True, help="Chains of each label.")
@click.option("--n-gibbs", default=GIBBS_STEPS, show_default=True, help="Gibbs steps of every chain.")
@click.option("--seed", default=0, show_default=True)
def main(dbn_file: Path, network_file: Path, per_label: int, n_gibbs: int, seed: int) -> None:
    """Print one row a label and one for all."""
    dbn, network = checkpoints.load(dbn_file), checkpoints.load(network_file)
    if not isinstance(dbn, DBN) or dbn.n_classes == 0:
        raise click.UsageError(f"{dbn_file} must hold a deep belief net with labels; make one with `pretrain dbn`.")
    if not isinstance(network, Network) or network.classes is None:
        raise click.UsageError(f"{network_file} must hold a classifier; make one with `pretrain finetune`.")
    shares = agreement(dbn, network, per_label, n_gibbs, seed)
    rows = [[str(label), f"{share:.1f}"] for label, share in zip(np.asarray(dbn.classes), shares, strict=True)]
    click.echo(format_table(["label", "agreement %"], [*rows, ["all", f"{shares.mean():.1f}"]]))


if __name__ == "__main__":
    main()
