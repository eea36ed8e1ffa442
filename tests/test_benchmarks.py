"""The benchmarks run, at a size that says nothing about speed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

SMALL = {
    "dissection": "--images 8 --stream 256",
    "dump_to_names": "--folder {folder} --pictures 8 --rounds 1 --passes float32_plain bfloat16_fused",
    "forward": "--networks default --pictures 8 --rounds 1 --executions plain fused",
    "full_size": "--folder {folder} --images 60",
    "concept_sets": "--folder {folder} --pictures 600 --threads 1",
    "load": "--folder {folder} --pictures 150 200 --units 16",
    "planning": "--arms 2 --replicates 1 --levels 1 --finished",
    "tables": "--folder {folder} --arms 2 --replicates 1 --levels 1",
    "input_pipeline": "--pictures 4 --runs 1",
}


@pytest.mark.rare
@pytest.mark.parametrize("name", SMALL)
def test_a_benchmark_ends_with_its_record(tmp_path, name):
    command = [sys.executable, "-m", f"benchmarks.{name}", *SMALL[name].format(folder=tmp_path / "files").split()]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    record = json.loads(run.stdout.splitlines()[-1])
    assert all(value for key, value in record.items() if key.endswith(("exact", "identical"))), record
