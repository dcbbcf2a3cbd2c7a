"""Damaged and hostile checkpoint files by the thousand: does loading ever crash, hang, or return wrong numbers?

    python benchmarks/fuzz_checkpoints.py -n 20000 -o fuzz.json

Legal files of every kind are changed: bits flipped, bytes overwritten, files cut or spliced, and members, types,
shapes, links, attributes and settings changed through h5py; of the latter most get new digests, as a forger would
give them. Worker processes load each one. The aims are no crash, no case above five seconds, no error other than
CheckpointError, no wrong numbers from a file whose digests were not forged, and no more memory than for legal files.
Files that miss an aim are kept with --keep; case k of a seed can be made again with `--only k`.
"""

import argparse
import collections
import contextlib
import multiprocessing
import os
import random
import resource
import shutil
import tempfile
import time
import traceback
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch
from checkpoint_mutations import mutate
from recording import describe_machine, format_table, write_json

import checkpoints
import pretrain
from checkpoints.codecs import encode_root
from checkpoints.tree import digest_of_version_1
from pretrain.baselines import scratch_network
from pretrain.exceptions import CheckpointError
from pretrain.scaling import Scaling
from pretrain.settings import RBMSettings, TrainingSettings
from pretrain.up_down_settings import UpDownSettings

MEMORY_LIMIT = 6 * 2**30  # of a worker, so that a memory bomb does not take the machine
OLDER_VERSIONS = [Path(__file__).parents[1] / "tests" / "data" / f"checkpoint_v{version}.h5" for version in (1, 2)]
GOOD = ("refused", "same", "forged")
AIMS = {"crash": 0, "hang": 0, "wrong numbers": 0, "other error": 0}


def main() -> None:
    """Fuzz, print the table, exit with 1 where an aim is missed."""
    options = parse_options()
    with tempfile.TemporaryDirectory() as folder:
        corpus = make_corpus(Path(folder))
        started = time.perf_counter()
        results = list(fuzz(corpus, options))
        seconds = time.perf_counter() - started
    record = summarize(results, seconds, options)
    print(format_table(("mutation", *record["outcomes"]), table_rows(record)))
    print(f"{record['n']} files in {seconds:.0f} s; {record['memory_growth_mb']:.0f} MB above the legal files")
    for missed in record["missed"][:20]:
        print(f"case {missed['case']}, {missed['mutation']}: {missed['outcome']}: {missed['detail'][-600:]}")
    write_json(options.output, record)
    raise SystemExit(1 if record["missed"] else 0)


def parse_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", type=int, default=20_000, help="files (default 20000)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--hang-seconds", type=float, default=5.0, help="what counts as a hang (default 5)")
    parser.add_argument("--keep", type=Path, help="folder for the files that miss an aim")
    parser.add_argument("--only", type=int, help="this case alone")
    parser.add_argument("-o", "--output", type=Path, help="JSON file")
    return parser.parse_args()


def make_corpus(folder: Path) -> list[Path]:
    """Small legal files of every kind."""
    rng, generator = np.random.default_rng(0), torch.Generator().manual_seed(0)
    X = rng.random((20, 7))
    labels = np.array(["a", "é"])[rng.integers(0, 2, 20)]
    kinds = ("relu-bn", "residual", "dense", "stochastic-depth")
    networks = [scratch_network(kind, 7, (5, 3), 2, generator=generator) for kind in kinds]
    networks[0].classes, networks[1].scaling = np.array(["a", "é"]), Scaling.fit("standard", X)
    rbm = pretrain.RBM(7, 5, visible_units="gaussian_learned:3+softmax:4", generator=generator)
    stack = pretrain.Stack([rbm, pretrain.Autoencoder(5, 3, tied=False, generator=generator)])
    estimators = [
        pretrain.DBNClassifier((5,), pretrain_epochs=1, max_iter=1, random_state=0).fit(X, labels),
        pretrain.RBMTransformer(5, n_iter=1, random_state=0).fit(X),
    ]
    dbn = _dbn_training((X > 0.5).astype(np.float32), labels == "a")
    next(dbn)
    state = checkpoints.RunState({"seconds": 1.5, "parts": {"pretrain": {"state": dbn.state_dict()}}})
    list(dbn)
    rbms = [pretrain.RBM(7, 5, generator=generator), pretrain.RBM(5, 3, generator=generator)]
    deep = [dbn.dbn, pretrain.DBM.from_rbms(rbms), state]
    history = [{"stage": "pretrain", "epoch": 1, "loss": 0.5, "done": True}, {"epoch": 2, "note": "é"}]
    provenance = {"seed": 1, "split": {"train": list(range(20))}}
    for k, model in enumerate((*networks, stack, *estimators, *deep)):
        checkpoints.save(model, folder / f"{k}.h5", history=history, provenance=provenance)
    for path in OLDER_VERSIONS:
        shutil.copy(path, folder)
    return sorted(folder.glob("*.h5"))


def _dbn_training(X: np.ndarray, y: np.ndarray) -> pretrain.DBNTraining:
    """A short training of a belief net with labels, greedy and then up-down."""
    training = TrainingSettings(epochs=1)
    settings, up_down = RBMSettings(training=training), UpDownSettings(n_gibbs_steps=(1,), training=training)
    return pretrain.DBNTraining(X, y.astype(int), (5, 3), settings, up_down, seed=0, device="cpu")


def fuzz(corpus: list[Path], options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """One result for each case, from worker processes that are replaced when they die."""
    cases = iter(range(options.n) if options.only is None else [options.only])
    workers = [Worker(corpus, options) for _ in range(min(options.workers, options.n))]
    try:
        for worker in workers:
            worker.begin(next(cases, None))
        while any(worker.case is not None for worker in workers):
            waiting = [worker.connection for worker in workers if worker.case is not None]
            multiprocessing.connection.wait(waiting, timeout=0.2)
            for worker in workers:
                result = worker.result()
                if result is not None:
                    yield result
                    worker.begin(next(cases, None))
    finally:
        for worker in workers:
            worker.end()


class Worker:
    """A process that loads one file after the other, and what it is doing."""

    def __init__(self, corpus: list[Path], options: argparse.Namespace) -> None:
        self.corpus, self.options = corpus, options
        self.folder = Path(tempfile.mkdtemp())
        self.case: int | None = None
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["fuzz_checkpoints"])  # a worker that died is replaced in no time
        self.connection, theirs = context.Pipe()
        arguments = (theirs, self.corpus, self.folder, self.options.seed)
        self.process = context.Process(target=work, args=arguments, daemon=True)
        self.process.start()
        theirs.close()
        self.connection.recv()  # it is ready: starting counts for nothing

    def begin(self, case: int | None) -> None:
        """Hand it a case; None for no more."""
        self.case, self.started = case, time.monotonic()
        if case is not None:
            self.connection.send(case)

    def result(self) -> dict[str, Any] | None:
        """What came of the case, if that is known by now."""
        if self.case is None:
            return None
        ended: dict[str, Any]
        if self.connection.poll():
            try:
                return self._kept(self.connection.recv())
            except (EOFError, ConnectionResetError):
                self.process.join()
                ended = {"outcome": "crash", "detail": f"exit status {self.process.exitcode}"}
        elif time.monotonic() - self.started > self.options.hang_seconds:
            ended = {"outcome": "hang", "detail": f"more than {self.options.hang_seconds} s"}
        else:
            return None
        self.process.kill()
        self._start()
        mutation = (self.folder / "mutation").read_text() if (self.folder / "mutation").exists() else "?"
        return self._kept({"case": self.case, "mutation": mutation, "memory": 0, **ended})

    def _kept(self, result: dict[str, Any]) -> dict[str, Any]:
        if self.options.keep and result["outcome"] not in GOOD:
            self.options.keep.mkdir(parents=True, exist_ok=True)
            shutil.copy(self.folder / "case.h5", self.options.keep / f"{result['case']}.h5")
        return result

    def end(self) -> None:
        """Stop the process."""
        self.process.kill()
        self.process.join()
        shutil.rmtree(self.folder)


def work(connection: Connection, corpus: list[Path], folder: Path, seed: int) -> None:
    """Load the file of each case that comes, and send what came of it."""
    torch.set_num_threads(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # HDF5 has much to say
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_LIMIT, MEMORY_LIMIT))
    expected = {path: content(path) for path in corpus}
    memory = peak_memory()
    connection.send("ready")
    with contextlib.suppress(EOFError):
        while True:
            case = connection.recv()
            rng = random.Random(f"{seed} {case}")
            source, path = rng.choice(corpus), folder / "case.h5"
            mutation, forged = mutate(source, rng.choice(corpus), path, rng, note=folder / "mutation")
            outcome, detail = judge(path, expected[source], forged)
            connection.send(
                {
                    "case": case,
                    "mutation": mutation,
                    "outcome": outcome,
                    "detail": detail,
                    "memory": peak_memory() - memory,
                }
            )


def judge(path: Path, expected: str, forged: bool) -> tuple[str, str]:
    """What loading a file comes to, in a word and in a sentence."""
    try:
        found = content(path)
    except CheckpointError as error:
        return "refused", str(error)
    except BaseException:
        return "other error", traceback.format_exc()
    if found == expected:
        return "same", ""
    return ("forged", "") if forged else ("wrong numbers", "the digest of what was loaded differs")


def content(path: Path) -> str:
    """A SHA-256 of what `load`, `read_history` and `describe` return: it sees what a CRC-32 in the file may not."""
    told = checkpoints.describe(path)
    return digest_of_version_1(
        encode_root(checkpoints.load(path), checkpoints.read_history(path), told["provenance"])
    )


def peak_memory() -> float:
    """Of this process, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0


def summarize(results: list[dict[str, Any]], seconds: float, options: argparse.Namespace) -> dict[str, Any]:
    """What is printed and written: counts by mutation and outcome, and every case that missed an aim."""
    outcomes = list(dict.fromkeys((*GOOD, *AIMS)))
    counts: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    for result in results:
        counts[result["mutation"].split(",")[0]][result["outcome"]] += 1
    return {
        "n": len(results),
        "seed": options.seed,
        "seconds": seconds,
        "outcomes": outcomes,
        "counts": {name: {o: counts[name][o] for o in outcomes} for name in sorted(counts)},
        "memory_growth_mb": max((result["memory"] for result in results), default=0) / 1e6,
        "missed": [result for result in results if result["outcome"] not in GOOD],
        "machine": describe_machine(torch.device("cpu")),
    }


def table_rows(record: dict[str, Any]) -> list[list[str]]:
    """One row a mutation, and one of sums."""
    rows = [[name, *map(str, counts.values())] for name, counts in record["counts"].items()]
    sums = [sum(counts[o] for counts in record["counts"].values()) for o in record["outcomes"]]
    return [*rows, ["all", *map(str, sums)]]


if __name__ == "__main__":
    main()
