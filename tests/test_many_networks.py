"""Experiments with thousands of networks: what a shell bears."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from workflow_scripts.plan.experiment import Experiment
from workflow_scripts.plan.load import complete_config

ROOT = Path(__file__).resolve().parent.parent
BEARABLE = 100_000  # bytes of one argument: Linux takes 131,072
TABLES = ("units", "nulls", "split", "rotations", "sweep", "ablation", "classes")
FILES = ["metrics.json", *(f"{name}.csv" for name in TABLES)]
GATHERING = [
    *("collect", "collect_rotations", "collect_ablation", "collect_sweep", "compare_networks", "draw_figures"),
    *("draw_pictures", "write_gallery", "sum_costs", "record_provenance", "write_report", "list_checksums"),
]


def many_networks(arms: int = 20, replicates: int = 5, levels: int = 20) -> dict:
    """A config of so many networks with long names, with baselines and all that gathers files."""
    names = [f"an_arm_with_a_name_that_says_a_lot_about_it_{number:02}" for number in range(arms - 1)]
    return {
        "experiment": "an-experiment-with-a-long-name-" * 3,
        "replicates": list(range(1, replicates + 1)),
        "pruning": {"levels": levels - 1},
        "arms": [
            {"name": "imp", "recipe": "imp"},
            *(
                {"name": name, "recipe": "reinit", "of": "imp", "seed": 1000 + 10 * number, "label": name}
                for number, name in enumerate(names)
            ),
            {"name": "labels_that_are_shuffled", "recipe": "shuffled_labels", "of": "imp"},
            {"name": "rotated", "recipe": "rotated", "of": "imp", "alphas": [1.0], "seeds": 3},
        ],
        "robustness": {"detector_ious": [0.02], "quantiles": [0.01]},
        "ablation": {"layers": "all"},
    }


@pytest.mark.slow
def test_commands_that_gather_the_files_of_2000_networks_are_not_too_long_for_a_shell(tmp_path):
    config = many_networks()
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    experiment = Experiment(complete_config(config) | {"gpus": 0})
    assert len(experiment.networks) == 2005
    made = [tmp_path / experiment.file(key, name) for key in experiment.networks for name in FILES]
    made += [tmp_path / f"{folder}.sha256" for folder in [*experiment.all_drawn(), f"{experiment.gallery}/concepts"]]
    made += [tmp_path / file for file in [experiment.concepts(experiment.first_design()), *experiment.checked()]]
    for file in made:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    words = ["--configfile", "config.yaml", "--cores", "2", "--dry-run", "--printshellcmds"]
    words += [f"{experiment.results}/checksums.sha256", "--allowed-rules", *GATHERING]
    command = [sys.executable, "-m", "snakemake", "--snakefile", ROOT / "Snakefile", *words]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-2000:]
    commands = re.findall(
        r"^Shell command: (python -m workflow_scripts\.[\w.]+\.(\w+) .*)$", run.stdout + run.stderr, re.MULTILINE
    )
    assert {rule: len(text.encode()) for text, rule in commands if len(text.encode()) > BEARABLE} == {}
    assert sorted(rule for _, rule in commands) == sorted(GATHERING)
