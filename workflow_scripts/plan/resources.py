"""Threads and GPUs of each rule's jobs, for the rules and for the cost sheet."""

from workflow_scripts.plan.concept_sets import is_drawn

TRAININGS = ("train_dense", "train_level")
TESTED = ("init_network", "make_control")  # networks that are not trained, but tested on the pictures
DISSECTION = (
    *("dump_activations", "find_thresholds", "tally_units", "validate_units", "rotate_units", "sweep_units"),
    "ablate_units",
)
DRAWING, DECODING = 8, 8  # threads that draw the generated world; that decode maps for a GPU, which counts faster
PACKING = 4  # threads that decode or draw labelled pictures; the generated world's, few and early, get one


def gpus_of(rule: str, config: dict, shuffled: bool = False, tested: bool = True) -> int:
    """Return how many GPUs a job of a rule holds.

    Args:
        rule: its name.
        config: whose `gpus` is a number.
        shuffled: labels are shuffled. In one job with the dense network's tally, it would request a second GPU.
        tested: there are test pictures for the network.
    """
    if rule in TRAININGS:
        return config["gpus"]
    if (rule in (*TESTED, *DISSECTION) and not shuffled) or (rule == "measure_network" and tested):
        return min(config["gpus"], 1)
    return 0


def threads_of(rule: str, config: dict, shuffled: bool = False, tested: bool = True) -> int:
    """Return how many threads a job of a rule requests; arguments as for `gpus_of`."""
    gpus, workers = gpus_of(rule, config, shuffled, tested), config["images"]["workers"]
    if rule == "make_images":
        return DRAWING
    if rule in ("find_thresholds", "tally_units", "validate_units", "rotate_units", "sweep_units"):
        return DECODING if gpus else 1
    if rule in ("pack_concepts", "draw_pictures"):
        return 1 if is_drawn(config["concepts"]) else PACKING
    if rule == "index_images":
        return workers
    if rule == "measure_network":
        return workers if tested else 1
    if rule == "ablate_units":
        return workers if tested or config["images"]["storage"] == "files" else 1
    if rule in (*TRAININGS, *TESTED):
        return max(gpus, 1) * (workers if config["images"]["storage"] == "files" else 1)
    return 1
