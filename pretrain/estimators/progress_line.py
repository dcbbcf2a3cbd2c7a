"""What verbose=True shows: a bar that moves in a terminal or a notebook, a line an epoch elsewhere."""

import sys

from pretrain.training import Record

BAR, LINE = 20, 79  # characters


def show_record(owner: str, record: Record) -> None:
    """Print a record of the run of an estimator of the class `owner`."""
    layer = "" if record["layer"] is None else f" layer {record['layer'] + 1}"
    stage, epoch = f"{record['stage']}{layer}", f"{record['epoch']}/{record['n_epochs']}"
    loss, seconds = f"loss {record['loss']:.4g}", f"{record['seconds']:.2f} s"
    if not is_live():
        print(f"[{owner}] {stage} epoch {epoch}: {loss}, {seconds}")  # noqa: T201 - asked for by verbose=True, as scikit-learn's own estimators print
        return
    done = BAR * record["epoch"] // record["n_epochs"]
    bar = "#" * done + "-" * (BAR - done)
    # As long as what it is written over; the last one stays.
    line = f"\r{owner} {stage} [{bar}] {epoch} {loss}, {seconds}".ljust(LINE)
    print(line, end="\n" if record["epoch"] == record["n_epochs"] else "", flush=True)  # noqa: T201 - asked for by verbose=True


def close_line(record: Record) -> None:
    """Leave the bar of a run whose last record this was, where it stopped early."""
    if is_live() and record["epoch"] < record["n_epochs"]:
        print()  # noqa: T201 - asked for by verbose=True


def is_live() -> bool:
    """Whether what is printed can be written over: standard output is a terminal, or that of a notebook."""
    return sys.stdout.isatty() or type(sys.stdout).__module__.partition(".")[0] == "ipykernel"
