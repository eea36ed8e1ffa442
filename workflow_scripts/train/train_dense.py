"""Train a dense network (level 0) and keep its state at the rewind point."""

from pathlib import Path

from torch import nn

from workflow_scripts.files import file_fingerprint, run_command, text_fingerprint
from workflow_scripts.train.arguments import load_batches, recipe_fingerprint, training_parser
from workflow_scripts.train.checkpoints import load_network, save_network, save_tensors, write_metrics
from workflow_scripts.train.pruning import Masks
from workflow_scripts.train.training import Batches, Trainer, accuracy, choose_device


def train_dense(
    network: nn.Module,
    masks: Masks,
    train: Batches,
    settings: dict,
    replicate: int,
    rewind_epoch: int,
) -> tuple[dict, list[dict]]:
    """Train `network` in place for all epochs; return its state after `rewind_epoch` epochs, and the history."""
    trainer = Trainer(network, masks, train, settings, replicate)
    trainer.train_to(rewind_epoch)
    rewind_point = trainer.state()
    trainer.train_to(settings["epochs"])
    return rewind_point, trainer.history


def main() -> None:
    parser = training_parser(__doc__)
    parser.add_argument("--start", type=Path, required=True, help="the network.pt to start from")
    parser.add_argument("--rewind-epoch", type=int, required=True)
    parser.add_argument("--rewind", type=Path, required=True, help="rewind.pt, to be written")
    args = parser.parse_args()
    device = choose_device()
    train, test = load_batches(args, device)
    network, masks = load_network(args.start, args.network)
    rewind_point, history = train_dense(network, masks, train, args.training, args.replicate, args.rewind_epoch)
    start = file_fingerprint(args.start)
    lineage = text_fingerprint(start, recipe_fingerprint(args), args.rewind_epoch)
    save_tensors(args.rewind, rewind_point | {"start": start, "lineage": lineage})
    save_network(args.out, network, masks, lineage)
    write_metrics(args.metrics, network, masks, accuracy(network, test, args.training["precision"]), history)


if __name__ == "__main__":
    run_command(main)
