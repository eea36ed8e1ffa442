"""The config of an experiment on the command line: commands take it in the arguments that snakemake has for it."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from workflow_scripts.plan.load import read_config
from workflow_scripts.shared.files import UserError


def add_config_arguments(parser: argparse.ArgumentParser) -> None:
    """Add `--configfile` and `--config` to a parser; with neither the config is the default experiment's."""
    parser.add_argument(
        "--configfile",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="as for snakemake; without it the default experiment",
    )
    parser.add_argument(
        "--config", nargs="+", default=[], metavar="KEY=VALUE", help="as for snakemake, such as replicates='[1]'"
    )


def config_of(args: argparse.Namespace) -> dict:
    """Return the complete config that these arguments give; UserError as `read_values` and `read_config`."""
    return read_config(args.configfile, read_values(args.config))


def snakemake_arguments(args: argparse.Namespace) -> list[str]:
    """Return the arguments that give snakemake the same config."""
    files = ["--configfile", *map(str, args.configfile)] if args.configfile else []
    return [*files, "--config", *args.config] if args.config else files


def read_values(words: Sequence[str]) -> dict:
    """Return the values of `--config` by key, as snakemake reads them; UserError for a word that is no KEY=VALUE."""
    if not words:
        return {}
    from snakemake.cli import parse_config  # it takes half a second to import

    for word in words:
        try:
            parse_config([word])
        except (ValueError, AssertionError):
            raise UserError(
                f"--config: {word!r} is no KEY=VALUE: write it as gpus=2 or training='{{epochs: 9}}'"
            ) from None
    return parse_config(words)
