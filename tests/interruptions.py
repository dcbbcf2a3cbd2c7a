"""Ends of commands in the middle of a run, and what their files hold but for the time."""

import json
import signal

import h5py

ANY_TIME = ("command", "created_at", "seconds")


class Killed(RuntimeError):
    """Ends a run as if it had been killed: nothing is written on the way."""


def kill():
    raise Killed


def terminate():
    signal.raise_signal(signal.SIGTERM)


def content(path):
    """Every dataset and every attribute, but for what tells the time and the command as it was typed."""
    found = {}

    def visit(name, node):
        found[name] = dict(node.attrs)
        if isinstance(node, h5py.Dataset) and name not in ("provenance", "digests", "history/columns/seconds"):
            found[name] = node[()].tobytes()

    with h5py.File(path) as file:
        file.visititems(visit)
        provenance = json.loads(file["provenance"][()])
    return {**found, "provenance": _timeless(provenance)}


def succeeded(result):
    assert result.exit_code == 0, result.output + repr(result.exception)


def _timeless(provenance):
    """Without times and the command as it was typed, also of the stack that a network began with."""
    return {
        key: _timeless(value) if key == "pretraining" and value else value
        for key, value in provenance.items()
        if key not in ANY_TIME
    }
