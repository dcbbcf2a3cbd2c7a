"""Make `tests/data/checkpoint_v<N>.h5`, the file of format version N that every later version must read.

Run once for each version, by hand, with the code that first writes it: `python tests/make_checkpoint.py`. The file
carries its own expected predictions in the provenance.
"""

from pathlib import Path

import numpy as np
import torch

import checkpoints
from checkpoints.format import FORMAT_VERSION
from pretrain.baselines import scratch_network
from pretrain.scaling import Scaling

TARGET = Path(__file__).parent / "data" / f"checkpoint_v{FORMAT_VERSION}.h5"


def main() -> None:
    """Write the file; an existing one is left alone."""
    generator, rng = torch.Generator().manual_seed(1), np.random.default_rng(1)
    network = scratch_network("residual", 7, (5, 3, 3), 2, generator=generator).eval()
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
    TARGET.parent.mkdir(exist_ok=True)
    checkpoints.save(network, TARGET, history=history, provenance=provenance)


if __name__ == "__main__":
    main()
