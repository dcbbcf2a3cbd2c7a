"""What every benchmark records: the machine, a plain table, a JSON file."""

import json
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import sklearn
import torch

import pretrain


def describe_machine(device: torch.device) -> dict[str, Any]:
    """Processor, threads and versions, ready for JSON."""
    return {
        "cpu": _cpu_model(),
        "gpu": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "scikit-learn": sklearn.__version__,
        "pretrain": pretrain.__version__,
    }


def format_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lines of a table: the first column to the left, all others to the right."""
    widths = [max(len(row[k]) for row in [header, *rows]) for k in range(len(header))]
    return "\n".join(
        "  ".join(
            cell.ljust(w) if k == 0 else cell.rjust(w) for k, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in [header, *rows]
    )


def write_json(path: Path | None, values: dict[str, Any]) -> None:
    """Write `values` to `path`, which may exist; None writes nothing."""
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(values, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    fields = [line.partition(":") for line in info.read_text().splitlines()] if info.exists() else []
    known = {name.strip(): value.strip() for name, _, value in fields}
    if "model name" not in known:
        return platform.processor() or platform.machine()
    return f"{known['model name']} (family {known.get('cpu family', '?')}, model {known.get('model', '?')})"
