"""`python -m pipelines ...` is `pretrain ...`, from a checkout that is not installed."""

from pipelines.cli import main

main(prog_name="pretrain")
