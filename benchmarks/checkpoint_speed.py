"""Seconds to save and to load a checkpoint, by those to write and read the same bytes with plain h5py.

    python benchmarks/checkpoint_speed.py -o checkpoint_speed.json

The model is a stack of RBMs of about 200 MB. Both sides write to a file and sync it, which is what makes it survive a
power cut; saving computes the digests, writes beside the file and renames, loading checks every number and digest and
builds the stack. The aim is a ratio of at most 1.3 for both together. The file is read from the system's cache.

On two processors that have nothing else to do it is 1.3: saving takes 1.1 times as long as plain h5py, since numbers
are checked and CRC-32 computed while the arrays are on their way to the disk; loading, twice as long, has nothing to
hide them behind but the other processor. The third line is h5py with checksums of its own (Fletcher-32), which find
damage but say nothing of attributes and names; both of its times are longer.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import h5py
import numpy as np
import torch
from recording import describe_machine, format_table, write_json

import checkpoints
import pretrain

SIZES = (784, 4000, 6000, 3800)
AIM = 1.3


def main() -> None:
    """Time both in turns, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)), help="units of the layers, the data's first")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--folder", type=Path, help="where to write (default: the system's temporary folder)")
    parser.add_argument("-o", "--output", type=Path, help="JSON file")
    options = parser.parse_args()
    stack = make_stack([int(size) for size in options.sizes.split(",")])
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        seconds = measure(stack, Path(folder), options.repeats)
        size = (Path(folder) / "ours.h5").stat().st_size
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    ours, plain = (medians[f"{who} write"] + medians[f"{who} read"] for who in ("ours", "plain"))
    sides = ("plain", "ours", "fletcher32")
    rows = [[who, *(f"{medians[f'{who} {what}']:.3f}" for what in ("write", "read"))] for who in sides]
    print(format_table((f"{size / 1e6:.0f} MB, seconds", "write", "read"), rows))
    print(f"ours by plain h5py: {ours / plain:.2f} (aim: at most {AIM})")
    write_json(
        options.output,
        {"bytes": size, "seconds": seconds, "ratio": ours / plain, "machine": describe_machine(torch.device("cpu"))},
    )


def make_stack(sizes: list[int]) -> pretrain.Stack:
    """A stack with random weights."""
    generator = torch.Generator().manual_seed(0)
    return pretrain.Stack([pretrain.RBM(below, above, generator=generator) for below, above in pairwise(sizes)])


def measure(stack: pretrain.Stack, folder: Path, repeats: int) -> dict[str, list[float]]:
    """Seconds of each repeat, the two in turns."""
    arrays = {name: parameter.detach().numpy() for name, parameter in stack.named_parameters()}
    tasks: dict[str, Callable[[], object]] = {
        "plain write": lambda: write_plain(folder / "plain.h5", arrays),
        "plain read": lambda: read_plain(folder / "plain.h5"),
        "ours write": lambda: checkpoints.save(stack, folder / "ours.h5"),
        "ours read": lambda: checkpoints.load(folder / "ours.h5"),
        "fletcher32 write": lambda: write_plain(folder / "fletcher32.h5", arrays, fletcher32=True),
        "fletcher32 read": lambda: read_plain(folder / "fletcher32.h5"),
    }
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(repeats):
        for file in folder.iterdir():
            file.unlink()
        for name, task in tasks.items():
            started = time.perf_counter()
            task()
            seconds[name].append(time.perf_counter() - started)
    return seconds


def write_plain(path: Path, arrays: dict[str, np.ndarray], *, fletcher32: bool = False) -> None:
    """Every array as a dataset, with h5py's own checksums if asked for, and a sync."""
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file.create_dataset(name, data=array, fletcher32=fletcher32)
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def read_plain(path: Path) -> dict[str, np.ndarray]:
    """Every dataset as an array."""
    with h5py.File(path) as file:
        return {name: file[name][()] for name in file}


if __name__ == "__main__":
    main()
