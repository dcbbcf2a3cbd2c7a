"""From arrays to a fine-tuned network, each stage by hand: pretrain, save, unroll, fine-tune, test.

Run it from anywhere: `python examples/01_stack_to_network.py`. It takes some seconds on two cores.
"""

import tempfile
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import checkpoints
from pretrain import Finetuning, GreedyPretraining, unroll
from pretrain.scaling import Scaling
from pretrain.settings import FinetuneSettings, RBMSettings

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.2, stratify=y, random_state=0)

# Pixels run from 0 to 16; Bernoulli units model values in [0, 1]. The stack keeps the scaling.
scaling = Scaling.fit("range", X_train, value_range=(0, 16))
pretraining = GreedyPretraining(scaling.apply(X_train), (256, 256), RBMSettings(), seed=0, scaling=scaling)
for record in pretraining:
    if record["epoch"] == record["n_epochs"]:
        print(f"layer {record['layer']}: reconstruction error {record['loss']:.2f} a row")

with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "stack.h5"
    checkpoints.save(pretraining.stack, path)
    stack = checkpoints.load(path)

network = unroll(stack, "classifier", n_outputs=10, generator=torch.Generator().manual_seed(0))
for record in Finetuning(network, scaling.apply(X_train), y_train, FinetuneSettings(), seed=0):
    if record["epoch"] % 10 == 0:
        print(f"fine-tuning epoch {record['epoch']}: loss {record['loss']:.4f}")

# `predict` takes raw rows: the network scales them as the stack was trained.
print(f"test accuracy {(network.predict(X_test) == y_test).mean():.3f}")
