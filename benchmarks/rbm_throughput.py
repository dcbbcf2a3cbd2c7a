"""Seconds an epoch of CD-1 training: ours, the matrix products it cannot do without, and other libraries.

    python benchmarks/rbm_throughput.py -o throughput.json

Every cell of the table is one size and one batch size. In a cell all contestants see the same rows, in turn, and
each has one epoch of warm-up before its `--repeats` epochs that count. Small batches are timed on fewer rows
(`ROWS_PER_BATCH_ROW`); the seconds are scaled to 60,000 rows and the table says how many were timed.

The contestants:

floor-float32, floor-bfloat16
    Nothing but the products that CD-1 needs for a batch, between buffers that are there already: three through W
    (data to hidden, hidden to reconstruction, reconstruction to hidden) and one that forms both statistics from
    the 2 x batch rows of data and reconstruction. With one thread or all of them, whichever is faster in the warm-up;
    on a GPU the four are a CUDA graph, so that it is not Python that is measured.
pretrain-float32, pretrain-bfloat16
    `GreedyPretraining` of one RBM with its defaults: shuffling, sampling, gradient, momentum, weight decay, the
    monitored loss, the check at the end of an epoch. Threads as the library chooses.
BernoulliRBM
    scikit-learn's, `fit` on float32 for one epoch (`partial_fit` would turn the data to float64). It neither
    shuffles nor has momentum or weight decay, and does not monitor; it draws its weights anew, some milliseconds
    an epoch. On a CPU only.
learnergy, rbms
    Where they are installed (written for learnergy 2.0 and rbms 0.5): `learnergy.models.bernoulli.RBM.fit`, and
    the loop of `rbms.training.pcd.train` with `training_type="cd"`, without the files that it writes every step.

Memory is the peak resident set of a process of its own during one epoch, less its size once the data and all
modules are loaded; on a GPU the peak that torch has allocated there, less the data.

The rows are MNIST's training images over 255 where the environment variable PRETRAIN_DATA is set, else random numbers
of that shape. A size that does not begin with 784 gets their codes under a random RBM, or random probabilities.
"""

import dataclasses
import importlib.util
import multiprocessing
import os
import re
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import numpy as np
import torch
from recording import describe_machine, format_table, write_json
from sklearn.neural_network import BernoulliRBM
from threadpoolctl import threadpool_limits

from pipelines.data import DATA_VARIABLE, load_dataset
from pretrain import RBM, GreedyPretraining
from pretrain.cuda_graph import CudaRecorder
from pretrain.device import resolve_device, resolve_precision
from pretrain.settings import RBMSettings

N_ROWS, N_PIXELS = 60_000, 784  # of an epoch, whatever share of it is timed
ROWS_PER_BATCH_ROW = 1200  # batches of 10 are timed on 12,000 rows
MEGABYTE = 2**20
TINY = (8, 4, 5, 20)  # sizes, batch and rows on which modules are loaded that torch loads when they are first used

RunEpoch = Callable[[], None]


@dataclasses.dataclass(frozen=True)
class Cell:
    """One combination that is measured: sizes of the RBM, rows a batch, rows an epoch, epochs in all."""

    n_visible: int
    n_hidden: int
    batch_size: int
    n_rows: int
    n_epochs: int

    @property
    def n_batches(self) -> int:
        """Batches an epoch, the short last one included."""
        return -(-self.n_rows // self.batch_size)


def products_alone(X: torch.Tensor, cell: Cell, dtype: torch.dtype) -> RunEpoch:
    """The floor. X is (n_rows, n_visible); its first batch stands for all."""
    batch, device = cell.batch_size, X.device
    generator = torch.Generator().manual_seed(0)
    weight = (0.1 * torch.randn(cell.n_hidden, cell.n_visible, generator=generator)).to(device, dtype)
    states = torch.rand(batch, cell.n_hidden, generator=generator).round().to(device, dtype)
    v = torch.empty(2 * batch, cell.n_visible, dtype=dtype, device=device)
    h = torch.empty(2 * batch, cell.n_hidden, dtype=dtype, device=device)
    gradient = torch.empty_like(weight)
    v[:batch] = X[:batch]

    def multiply() -> None:
        torch.mm(v[:batch], weight.T, out=h[:batch])
        torch.mm(states, weight, out=v[batch:])
        torch.mm(v[batch:], weight.T, out=h[batch:])
        torch.mm(h.T, v, out=gradient)

    step = multiply
    if device.type == "cuda":
        recorder = CudaRecorder(device, generators=())
        recorder.warm_up(multiply)
        step = recorder.record(multiply)

    def run_epoch() -> None:
        for _ in range(cell.n_batches):
            step()

    return with_better_threads(run_epoch, device)


def with_better_threads(run_epoch: RunEpoch, device: torch.device) -> RunEpoch:
    """`run_epoch` on one thread, if that is faster than on all of them."""
    threads = torch.get_num_threads()
    if device.type != "cpu" or threads == 1:
        return run_epoch

    def on_one_thread() -> None:
        torch.set_num_threads(1)
        try:
            run_epoch()
        finally:
            torch.set_num_threads(threads)

    return min((run_epoch, on_one_thread), key=lambda choice: min(seconds_of(choice, device) for _ in range(2)))


def pretraining(X: torch.Tensor, cell: Cell, precision: str) -> RunEpoch:
    """Ours, as `GreedyPretraining` runs it."""
    settings = RBMSettings()
    training = dataclasses.replace(
        settings.training, epochs=cell.n_epochs, batch_size=cell.batch_size, precision=precision
    )
    settings = dataclasses.replace(settings, training=training)
    run = GreedyPretraining(X, (cell.n_hidden,), settings, seed=0, device=X.device)

    def run_epoch() -> None:
        next(run)

    return run_epoch


def bernoulli_rbm(X: torch.Tensor, cell: Cell) -> RunEpoch:
    """scikit-learn's RBM, persistent contrastive divergence with one Gibbs step."""
    rows = X.numpy()
    rbm = BernoulliRBM(cell.n_hidden, learning_rate=0.1, batch_size=cell.batch_size, n_iter=1, random_state=0)

    def run_epoch() -> None:
        rbm.fit(rows)

    return run_epoch


def learnergy_rbm(X: torch.Tensor, cell: Cell) -> RunEpoch:
    """learnergy's RBM with the momentum and weight decay of ours."""
    models = importlib.import_module("learnergy.models.bernoulli")
    dataset = torch.utils.data.TensorDataset(X, torch.zeros(len(X)))
    rbm = models.RBM(
        n_visible=cell.n_visible,
        n_hidden=cell.n_hidden,
        steps=1,
        learning_rate=0.1,
        momentum=0.9,
        decay=2e-4,
        use_gpu=X.device.type == "cuda",
    )

    def run_epoch() -> None:
        rbm.fit(dataset, batch_size=cell.batch_size, epochs=1)

    return run_epoch


def rbms_rbm(X: torch.Tensor, cell: Cell) -> RunEpoch:
    """The steps of `rbms.training.pcd.train` with chains that start at the data."""
    fit_batch = importlib.import_module("rbms.training.pcd").fit_batch_pcd
    model = importlib.import_module("rbms.bernoulli_bernoulli.classes").BBRBM
    params = model.init_parameters(cell.n_hidden, SimpleNamespace(data=X), X.device, torch.float32)
    params.init_grad()
    optimizer = torch.optim.SGD(params.parameters(), lr=0.1, maximize=True)
    weights = torch.ones(len(X), device=X.device)

    @torch.no_grad()
    def run_epoch() -> None:
        for _ in range(cell.n_batches):
            rows = torch.randperm(len(X))[: cell.batch_size].to(X.device)
            batch = (X[rows], weights[rows])
            optimizer.zero_grad(set_to_none=False)
            chains = params.init_chains(len(rows), weights=batch[1], start_v=batch[0])
            fit_batch(batch=batch, parallel_chains=chains, params=params, gibbs_steps=1, beta=1.0)
            optimizer.step()

    return run_epoch


CONTESTANTS: dict[str, Callable[[torch.Tensor, Cell], RunEpoch]] = {
    "floor-float32": lambda X, cell: products_alone(X, cell, torch.float32),
    "floor-bfloat16": lambda X, cell: products_alone(X, cell, torch.bfloat16),
    "pretrain-float32": lambda X, cell: pretraining(X, cell, "float32"),
    "pretrain-bfloat16": lambda X, cell: pretraining(X, cell, "bfloat16"),
    "BernoulliRBM": bernoulli_rbm,
    "learnergy": learnergy_rbm,
    "rbms": rbms_rbm,
}


def available(device: torch.device) -> list[str]:
    """Contestants that run here: scikit-learn needs a CPU, two others an installation."""
    absent = {name for name in ("learnergy", "rbms") if importlib.util.find_spec(name) is None}
    if device.type != "cpu":
        absent.add("BernoulliRBM")
    return [name for name in CONTESTANTS if name not in absent]


def load_images(n_rows: int) -> np.ndarray | None:
    """MNIST's training images in [0, 1], (n_rows, 784) float32; None where there are none."""
    if not os.environ.get(DATA_VARIABLE):
        return None
    return np.divide(load_dataset("mnist").X[:n_rows], 255, dtype=np.float32)


def rows_for(images: np.ndarray | None, n_visible: int, n_rows: int) -> np.ndarray:
    """Rows of the data, (n_rows, n_visible) float32 in [0, 1]."""
    if images is None:
        return np.random.default_rng(0).random((n_rows, n_visible), dtype=np.float32)
    if n_visible == N_PIXELS:
        return images[:n_rows]
    rbm = RBM(N_PIXELS, n_visible, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return rbm.prop_up(torch.from_numpy(images[:n_rows])).numpy()


def seconds_of(run_epoch: RunEpoch, device: torch.device) -> float:
    """Wall time of one epoch, the device's work included."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    started = time.perf_counter()
    run_epoch()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - started


def time_cell(names: list[str], X: torch.Tensor, cell: Cell) -> dict[str, list[float]]:
    """Seconds of each repeat, scaled to `N_ROWS` rows, by contestant; contestants take turns."""
    epochs = {name: CONTESTANTS[name](X, cell) for name in names}
    for run_epoch in epochs.values():
        run_epoch()
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(cell.n_epochs - 1):
        for name, run_epoch in epochs.items():
            seconds[name].append(seconds_of(run_epoch, X.device) * N_ROWS / cell.n_rows)
    return seconds


def peak_bytes(device: torch.device) -> int:
    """The most that this process has held, or torch on a GPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    status = Path("/proc/self/status")  # getrusage would count the peak of the process that started this one
    if status.exists():
        peak = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(peak.split()[1]) * 1024
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def memory_added(name: str, path: Path, cell: Cell, device: str, threads: int) -> float:
    """Megabytes that one epoch adds to the data and modules; meant for a process of its own."""
    torch.set_num_threads(threads)
    tiny = Cell(*TINY, n_epochs=1)
    CONTESTANTS[name](torch.rand(tiny.n_rows, tiny.n_visible).to(device), tiny)()
    X = torch.from_numpy(np.load(path)).to(device)
    loaded = peak_bytes(X.device)
    CONTESTANTS[name](X, dataclasses.replace(cell, n_epochs=1))()
    return (peak_bytes(X.device) - loaded) / MEGABYTE


def measure_memory(names: list[str], X: torch.Tensor, cell: Cell) -> dict[str, float]:
    """`memory_added` of each contestant in a fresh process."""
    context = multiprocessing.get_context("spawn")
    added = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.npy"
        np.save(path, X.numpy(force=True))
        for name in names:
            with context.Pool(1) as pool:
                added[name] = pool.apply(memory_added, (name, path, cell, str(X.device), torch.get_num_threads()))
    return added


def results_of(cell: Cell, seconds: dict[str, list[float]], memory: dict[str, float]) -> list[dict[str, Any]]:
    """One dict a contestant, ready for JSON."""
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    floors = {kind: medians.get(f"floor-{kind}") for kind in ("float32", "bfloat16")}
    results = []
    for name, values in seconds.items():
        own = floors["bfloat16"] if name.endswith("bfloat16") else None
        results.append(
            {
                "contestant": name,
                "seconds": values,
                "median": medians[name],
                "min": min(values),
                "max": max(values),
                "ratio_to_float32_floor": medians[name] / floors["float32"] if floors["float32"] else None,
                "ratio_to_bfloat16_floor": medians[name] / own if own else None,
                "memory_added_mb": memory.get(name),
            }
        )
    return results


def cell_table(results: list[dict[str, Any]]) -> str:
    """The lines of one cell."""
    header = ("contestant", "s/epoch", "min", "max", "x float32 floor", "x bfloat16 floor", "MB added")
    columns = ("median", "min", "max", "ratio_to_float32_floor", "ratio_to_bfloat16_floor", "memory_added_mb")
    formats = (".3f", ".3f", ".3f", ".2f", ".2f", ".0f")
    rows = [
        (r["contestant"], *("" if r[c] is None else format(r[c], f) for c, f in zip(columns, formats, strict=True)))
        for r in results
    ]
    return format_table(header, rows)


def parse_sizes(context: click.Context, parameter: click.Parameter, text: str) -> list[tuple[int, int]]:
    """`784-500,500-2000` as pairs."""
    pairs = re.findall(r"(?:^|,)([1-9]\d*)-([1-9]\d*)(?=,|$)", text)
    if len(pairs) != len(text.split(",")):
        raise click.BadParameter(f"must be VISIBLE-HIDDEN, joined by commas; got {text!r}.")
    return [(int(n_visible), int(n_hidden)) for n_visible, n_hidden in pairs]


def parse_batches(context: click.Context, parameter: click.Parameter, text: str) -> list[int]:
    """`10,100` as numbers."""
    if not re.fullmatch(r"[1-9]\d*(,[1-9]\d*)*", text):
        raise click.BadParameter(f"must be whole numbers above 0, joined by commas; got {text!r}.")
    return [int(number) for number in text.split(",")]


@click.command()
@click.option("--rows", type=click.IntRange(1), default=N_ROWS, show_default=True, help="Most rows an epoch.")
@click.option("--repeats", type=click.IntRange(1), default=5, show_default=True, help="Epochs that count.")
@click.option("--sizes", default="784-500,500-2000", show_default=True, callback=parse_sizes, help="VISIBLE-HIDDEN.")
@click.option("--batches", default="10,100,1000", show_default=True, callback=parse_batches, help="Rows a batch.")
@click.option("--contestants", default="all", show_default=True, help="Names joined by commas.")
@click.option("--device", default="cpu", show_default=True, help="cpu or cuda; the data live there.")
@click.option("--threads", type=click.IntRange(1), default=None, help="Of torch and BLAS.  [default: torch's]")
@click.option("--memory/--no-memory", default=True, show_default=True, help="Measure the peak memory too.")
@click.option("--output", "-o", type=click.Path(dir_okay=False, path_type=Path), help="JSON file, overwritten.")
def main(
    rows: int,
    repeats: int,
    sizes: list[tuple[int, int]],
    batches: list[int],
    contestants: str,
    device: str,
    threads: int | None,
    memory: bool,
    output: Path | None,
) -> None:
    """Seconds an epoch of CD-1, ours and others', over the matrix products alone."""
    place = resolve_device(device)
    torch.set_num_threads(threads or torch.get_num_threads())
    names = available(place) if contestants == "all" else contestants.split(",")
    if unknown := [name for name in names if name not in available(place)]:
        raise click.BadParameter(f"contestants are {', '.join(available(place))}; got {', '.join(unknown)}.")
    images = load_images(min(rows, N_ROWS))
    record: dict[str, Any] = {
        "machine": describe_machine(place),
        "data": "random" if images is None else "mnist",
        "rows": N_ROWS,
        "repeats": repeats,
        "cells": [],
    }
    print(
        ", ".join(f"{key} {value}" for key, value in {**record["machine"], "data": record["data"]}.items() if value)
    )
    for n_visible, n_hidden in sizes:
        for batch in batches:
            n_rows = min(rows, N_ROWS, ROWS_PER_BATCH_ROW * batch)
            cell = Cell(n_visible, n_hidden, min(batch, n_rows), n_rows, repeats + 1)
            record["cells"].append(measure_cell(names, cell, images, place, memory=memory))
            write_json(output, record)


def measure_cell(
    names: list[str], cell: Cell, images: np.ndarray | None, device: torch.device, *, memory: bool
) -> dict[str, Any]:
    """Time a cell, print its table, return it ready for JSON."""
    X = torch.from_numpy(rows_for(images, cell.n_visible, cell.n_rows)).to(device)
    chosen = str(resolve_precision("auto", device, cell.n_visible * cell.n_hidden)).removeprefix("torch.")
    print(
        f"\n{cell.n_visible}-{cell.n_hidden}, batch {cell.batch_size}, {cell.n_rows:,} of {N_ROWS:,} rows timed, "
        f'precision="auto" is {chosen}',
        flush=True,
    )
    with threadpool_limits(limits=torch.get_num_threads(), user_api="blas"):
        seconds = time_cell(names, X, cell)
    results = results_of(cell, seconds, measure_memory(names, X, cell) if memory else {})
    print(cell_table(results), flush=True)
    return {
        "sizes": [cell.n_visible, cell.n_hidden],
        "batch_size": cell.batch_size,
        "rows_timed": cell.n_rows,
        "precision_auto": chosen,
        "results": results,
    }


if __name__ == "__main__":
    main()
