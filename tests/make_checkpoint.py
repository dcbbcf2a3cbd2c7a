"""Make `tests/data/checkpoint_v<N>.h5`, `state_v<N>.h5` and `network_v<N>.h5`, which every later version must read.

The first two, a network and the state of a run, are of format version N, the third is of version N of the kind
`network`. Run once for each version, by hand, with the code that first writes it: `python tests/make_checkpoint.py`.
The files carry what is expected of them in the provenance, a network its predictions.
"""

from pathlib import Path

import numpy as np
import torch

import checkpoints
from checkpoints.format import FORMAT_VERSION
from checkpoints.network_codec import VERSION
from pretrain.baselines import scratch_network
from pretrain.scaling import Scaling

DATA = Path(__file__).parent / "data"


def main() -> None:
    """Write the files; existing ones are left alone."""
    DATA.mkdir(exist_ok=True)
    for name, kind in ((f"checkpoint_v{FORMAT_VERSION}", "residual"), (f"network_v{VERSION}", "stochastic-depth")):
        if not (DATA / f"{name}.h5").exists():
            make(DATA / f"{name}.h5", kind)
    if not (DATA / f"state_v{FORMAT_VERSION}.h5").exists():
        make_state(DATA / f"state_v{FORMAT_VERSION}.h5")


def make(path: Path, kind: str) -> None:
    """Write one file, a network of the kind of baselines that is named."""
    generator, rng = torch.Generator().manual_seed(1), np.random.default_rng(1)
    network = scratch_network(kind, 7, (5, 3, 3), 2, generator=generator).eval()
    for name, tensor in network.state_dict().items():
        if "norm" in name and tensor.is_floating_point():
            tensor.uniform_(0.5, 1.5, generator=generator)
    network.scaling = Scaling.fit("standard", rng.normal(3, 2, (17, 7)))
    network.classes = np.array(["chien", "é"])
    X = rng.normal(3, 2, (11, 7))
    history = [
        {"stage": "pretrain", "layer": 0, "epoch": 1, "loss": 0.1},
        {"stage": "finetune", "layer": None, "epoch": 1, "loss": 2.5, "validation_error": 3},
    ]
    provenance = {
        "rows": X.tolist(),
        "probabilities": network.predict_proba(X).tolist(),
        "labels": network.predict(X).tolist(),
        "history": history,
    }
    checkpoints.save(network, path, history=history, provenance=provenance)


def make_state(path: Path) -> None:
    """Write one file, the state of an optimizer."""
    momentum = torch.arange(15.0).view(3, 5)
    state = {"slots": {0: {"step": 3, "betas": (0.9, 0.999), "momentum": momentum, "used": momentum > 4}}}
    provenance = {"momentum": momentum.tolist(), "used": (momentum > 4).tolist()}
    checkpoints.save(checkpoints.RunState(state), path, provenance=provenance)


if __name__ == "__main__":
    main()
