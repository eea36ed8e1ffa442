"""Print how timm shows pictures to one of its pretrained networks, as JSON."""

import argparse
import json

import workflow_scripts.networks.torchvision_models  # noqa: F401 - see there
from workflow_scripts.shared.files import UserError, run_command

KEYS = ("input_size", "mean", "std", "interpolation", "crop_pct", "crop_mode")


def read_timm_config(name: str) -> dict:
    """Return timm's values of KEYS for a network; raise UserError if timm does not know the name."""
    from timm.models import get_pretrained_cfg

    try:
        config = get_pretrained_cfg(name, allow_unregistered=False)
    except RuntimeError as error:
        raise UserError(str(error)) from None
    if config is None:
        raise UserError(f"no pretrained network is called {name}")
    return {key: getattr(config, key) for key in KEYS}


def main() -> None:
    """Print the preprocessing of the network that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", help="as timm.create_model takes it")
    print(json.dumps(read_timm_config(parser.parse_args().name)))


if __name__ == "__main__":
    run_command(main)
