"""Records of a comparison as a table of comma-separated values."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any


def as_csv(records: Sequence[Mapping[str, Any]]) -> str:
    """One line a cell; what is no single value, such as the history, is left to `records.json`."""
    names = dict.fromkeys(name for record in records for name in record if _is_single(record[name]))
    lines = io.StringIO()
    writer = csv.DictWriter(lines, list(names), extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return lines.getvalue()


def _is_single(value: Any) -> bool:
    return value is None or isinstance(value, str | int | float)
