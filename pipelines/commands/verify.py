"""`pretrain verify`: whether a file is what was saved."""

import json

import click

import checkpoints
from pipelines.commands.options import json_option


@click.command(epilog="Example: pretrain verify net.h5")
@click.argument("file", type=click.Path(dir_okay=False))
@json_option
def verify(file: str, as_json: bool) -> None:
    """Say that FILE is intact, or name the first place in it that is damaged.

    Everything is read and compared with the digests that the file holds. That is done in a process of its own, so
    that FILE may come from anybody.
    """
    result = checkpoints.verify(file, isolated=True)
    if as_json:
        click.echo(json.dumps({"path": file, **result}))
        return
    told = f"{result['n_datasets']} datasets, {result['n_bytes']} bytes, {result['digest']}"
    click.echo(f"{file}: intact; {result['kind']}, format version {result['format_version']}, {told}")
