"""What a command of `pretrain` must have answered, and a command that pretrains a small stack."""

import json

STACK = ("stack", "digits", "--layers", "61,31", "--epochs", "3")


def one_json(result):
    """The one JSON object that standard output must be."""
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def refused(result, *words, most_lines=2):
    """Exit status 2, nothing on standard output, a short message that holds the words, and no traceback."""
    assert result.exit_code == 2, result.output
    assert isinstance(result.exception, SystemExit)
    assert "Traceback" not in result.output
    assert result.stdout == ""
    for word in words:
        assert word in result.stderr
    message = result.stderr[result.stderr.index("Error: ") :]
    assert len(message.strip().splitlines()) <= most_lines
