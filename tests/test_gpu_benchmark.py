"""The GPU benchmark: its runner with simulated sections, and its own sections, small and on the CPU."""

import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.autograd import DeviceType

from benchmarks.concept_files import odd_images, write_odd
from benchmarks.gpu import chain, exact
from benchmarks.gpu.__main__ import main
from benchmarks.gpu.bench import Bench
from benchmarks.gpu.both_ways import Comparison
from benchmarks.gpu.runner import read_record
from benchmarks.gpu.table import COLUMNS, LINES, table
from benchmarks.gpu.timing import covered, is_kernel, time_runs
from workflow_scripts.dissect import tensor_tallies
from workflow_scripts.dissect.concept_data import ConceptData
from workflow_scripts.networks.checkpoints import save_tensors
from workflow_scripts.plan.protocols import Protocol

ROOT = Path(__file__).resolve().parent.parent
GOOD = """
def run(bench):
    bench.row("speed", 1234.5, "pictures/s", "1,200 to 1,300")
    bench.check("same bytes", True)
    bench.skip("on another machine", "there is none")
"""
RAISES = """
def run(bench):
    bench.row("before", 1, "s")
    raise ValueError("broken")
"""
DIES = """
import os, signal
def run(bench):
    bench.row("before", 2, "s")
    os.kill(os.getpid(), signal.SIGKILL)
"""
SLEEPS = """
import subprocess, sys, time
def run(bench):
    child = subprocess.Popen(["sleep", "60"])
    bench.row("child", child.pid, "process")
    time.sleep(60)
"""
WRONG = """
def run(bench):
    bench.part("a part that fails", 0, divide, bench)
    bench.part("a part without time", 1000, divide, bench)
    bench.check("equal", False, "3 pixels differ")
    bench.row("after", 3, "s")
def divide(bench):
    bench.row("quotient", 1 / 0, "s")
"""


@pytest.fixture
def run_pretended(tmp_path, monkeypatch, capsys):
    """Run simulated sections, given as sources by name; return exit status, reports by name, and the output."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    def run(seconds=60, **sources):
        for name, source in sources.items():
            (tmp_path / f"pretended_{name}.py").write_text(source)
        sections = {name: f"pretended_{name}" for name in sources}
        words = ["--device", "cpu", "--small", "--minutes", str(seconds / 60), "--out", str(tmp_path / "out")]
        status = main(words, sections)
        report = json.loads((tmp_path / "out" / "gpu.json").read_text())
        assert [section["section"] for section in report["sections"]] == list(sources)
        return status, {section["section"]: section for section in report["sections"]}, capsys.readouterr().out

    return run


def test_sections_that_fail_keep_their_rows_and_the_next_ones_run(run_pretended):
    status, reports, printed = run_pretended(raises=RAISES, dies=DIES, good=GOOD)
    assert status == 1
    assert [reports[name]["status"] for name in ("raises", "dies", "good")] == ["failed", "failed", "passed"]
    assert reports["raises"]["rows"] == [{"name": "before", "variant": "", "value": 1.0, "unit": "s", "note": ""}]
    assert reports["raises"]["error"].splitlines()[-1] == "ValueError: broken"
    assert [row["value"] for row in reports["dies"]["rows"]] == [2]
    assert reports["dies"]["error"].splitlines()[-1] == "ended by SIGKILL"
    assert reports["good"]["checks"] == [{"name": "same bytes", "ok": True, "note": ""}]
    assert reports["good"]["skipped"] == [{"name": "on another machine", "why": "there is none"}]
    assert reports["good"]["error"] == ""
    for text in ("FAILED in", "ValueError: broken", "1,234  pictures/s", "not measured: on another machine"):
        assert text in printed


def test_a_section_out_of_time_ends_with_all_its_processes(run_pretended):
    status, reports, printed = run_pretended(seconds=30, sleeps=SLEEPS, good=GOOD)  # a busy machine starts in seconds
    assert status == 1
    sleeps = reports["sleeps"]
    assert (sleeps["status"], reports["good"]["status"]) == ("timed out", "passed")
    assert 15 <= sleeps["seconds"] < 25  # half of the time, plus the time to end it
    [child] = [int(row["value"]) for row in sleeps["rows"]]
    until = time.monotonic() + 5
    while is_running(child) and time.monotonic() < until:
        time.sleep(0.05)
    assert not is_running(child)
    assert "in run" in sleeps["error"]  # the traceback says where
    assert "TIMED OUT" in printed and "not finished after" in printed


def is_running(process):
    """Whether a process exists and is not a zombie."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except OSError:
        return False


def test_a_section_that_ends_early_leaves_its_time_to_the_next(run_pretended):
    tells = "def run(bench):\n    bench.row('left', bench.seconds_left(), 's')"
    status, reports, _ = run_pretended(seconds=600, first=tells, second=tells)
    assert status == 0
    first, second = (reports[name]["rows"][0]["value"] for name in ("first", "second"))
    assert 200 < first <= 270 and 400 < second <= 540  # nine tenths of half, and of nearly all


def test_parts_and_checks_that_fail_are_named_first(run_pretended):
    status, reports, printed = run_pretended(good=GOOD, wrong=WRONG)
    assert status == 1
    assert reports["wrong"]["status"] == "failed"
    assert [row["name"] for row in reports["wrong"]["rows"]] == ["after"]
    assert [skip["name"] for skip in reports["wrong"]["skipped"]] == ["a part without time"]
    lines = printed.splitlines()
    begin = next(number for number, line in enumerate(lines) if line.startswith("section"))
    assert "FAILED: a part that fails: ZeroDivisionError" in lines[begin + 1]
    assert "FAILED: equal: 3 pixels differ" in lines[begin + 2]


def test_a_section_without_a_module_fails_like_others(tmp_path, capsys):
    assert main(["--device", "cpu", "--out", str(tmp_path)], {"absent": "benchmarks.gpu.absent"}) == 1
    assert "No module named 'benchmarks.gpu.absent'" in capsys.readouterr().out


def test_without_a_gpu_sections_say_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert main(["--only", "dump", "--out", str(tmp_path)]) == 1
    assert "no GPU is visible" in capsys.readouterr().out


def test_a_table_with_many_checks_counts_those_that_passed(tmp_path):
    record = tmp_path / "record"
    bench = Bench("cpu", True, 60, tmp_path, record)
    for number in range(60):
        bench.check(f"case {number}", number != 30, "a note " * 30)
    checks = [json.loads(line) for line in record.read_text().splitlines()]
    section = {"section": "exact", "status": "failed", "seconds": 1, "error": "", "rows": [], "skipped": []}
    machine = {"card": "X", "cpu": "Y", "cpus": 2, "torch": "2", "date": "today", "small": False}
    lines = table(machine | {"sections": [section | {"checks": checks}]}).splitlines()
    assert len(lines) <= LINES and max(map(len, lines)) <= COLUMNS
    assert "FAILED: case 30" in lines[3]
    assert "59 checks passed" in lines[4]


def test_a_table_without_room_puts_variants_of_a_row_on_one_line(tmp_path):
    record = tmp_path / "record"
    bench = Bench("cpu", True, 60, tmp_path, record)
    for precision, rate in (("float32", 1234.5), ("bfloat16", 12.3456)):
        bench.row("forward", rate, "pictures/s", "a note", variant=precision)
    bench.row("forward", 0.12345, "ratio", variant="of both")
    bench.row("alone", 1, "s", "its note")
    for number in range(LINES):
        bench.skip(f"part {number}", "small")
    found = read_record(record)
    machine = {"card": "X", "cpu": "Y", "cpus": 2, "torch": "2", "date": "today", "small": False}
    section = {"section": "dump", "status": "passed", "seconds": 1, "error": ""} | found
    lines = table(machine | {"sections": [section]}).splitlines()
    assert (
        lines[4].split("dump", 1)[1].strip() == "forward: float32 1,234 pictures/s, bfloat16 12.3, of both 0.123 ratio"
    )
    assert lines[5].split() == ["dump", "alone", "1", "s", "its", "note"]
    assert lines[6].startswith("dump      not measured: part 0: small; part 1: small") and len(lines) == 7
    section["skipped"] = []
    lines = table(machine | {"sections": [section]}).splitlines()
    assert lines[5].split() == ["dump", "forward,", "bfloat16", "12.35", "pictures/s", "a", "note"]


def test_the_first_difference_is_named():
    found = Comparison()
    found.add("maximum", np.array([1, 2]), np.array([1, 2]))
    assert (found.first, found.note) == ("", "2 numbers")
    found.add("tally", np.array([[1, 2], [5, 4]]), np.array([[1, 2], [3, 3]]))
    found.add("later", np.array([1]), np.array([2]))
    assert found.note == "tally at (1, 0): 5 on the device, 3 by the kernels; 2 of 4 differ"
    found = Comparison()
    found.add("unit", np.array([1]), np.array([1, 2]))
    assert "(1,) on the device, (2,) by the kernels" in found.first


def test_counts_that_are_wrong_on_a_device_are_found(tmp_path, monkeypatch):
    fetch = tensor_tallies.TensorTally.fetch

    def wrong(self):
        tally = fetch(self)
        tally.unit_area[0, 3, 1] += 1
        return tally

    found = Comparison()
    monkeypatch.setattr(tensor_tallies.TensorTally, "fetch", wrong)
    maps = exact.odd_maps(2, (3, 3), np.float16)
    exact.compare_case(found, "a case", tmp_path / "files", "cpu", maps, (5, 7), Protocol(quantile=0.1))
    assert found.first.startswith("a case, all: unit_area at (0, 3, 1): ")


def test_the_first_script_whose_output_differs_is_named(tmp_path):
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        for script, output in chain.OUTPUTS.items():
            save_tensors(tmp_path / name / output, {"model": {"weight": torch.tensor([1.0])}, "script": script})
    assert chain.first_difference(tmp_path / "one", tmp_path / "other") == ""
    (tmp_path / "one" / "units.csv").write_text("another")
    assert chain.first_difference(tmp_path / "one", tmp_path / "other") == "name_units: units.csv differs"
    save_tensors(tmp_path / "one" / "level.pt", {"model": {"weight": torch.tensor([1.5])}})
    named = "train_level: weight differs by 5.00e-01"
    assert chain.first_difference(tmp_path / "one", tmp_path / "other") == named


def test_label_areas_of_a_written_set_are_those_of_its_masks(tmp_path):
    drawn = odd_images(np.random.default_rng(1), 5, (9, 70))
    write_odd(tmp_path / "c.h5", drawn, (9, 70))
    with ConceptData(tmp_path / "c.h5") as labels:
        for each_plane, expected in ((False, labels.label_area), (True, labels.plane_area)):
            block = labels.block(np.arange(5), True, each_plane)
            area = np.zeros(len(labels.label_number), np.int64)
            bits = np.unpackbits(block.masks.view(np.uint8), axis=1).sum(1)
            np.add.at(area, block.mask_label, bits)
            np.add.at(area, block.whole_label, 9 * 70)
            assert area.any() and expected.tolist() == area.tolist()
        assert (labels.plane_area > labels.label_area).any()


def test_overlapping_times_count_once():
    assert covered([(5, 6), (0, 2), (1, 3), (1, 2)]) == 4
    assert covered([]) == 0


class Clock:
    """A stand-in for torch.cuda.Event with the test's own clock, which advances three seconds at each look."""

    now = 0

    def __init__(self, enable_timing):
        assert enable_timing

    def record(self):
        Clock.now += 3
        self.time = Clock.now

    def synchronize(self):
        assert self.time == Clock.now

    def elapsed_time(self, end):
        return 1000 * (end.time - self.time)


def test_a_gpu_is_timed_by_its_own_clock(monkeypatch):
    runs, peaks = [], iter([100, 300, 200])
    monkeypatch.setattr(torch.cuda, "Event", Clock)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda: None)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: next(peaks))
    timing = time_runs(lambda: runs.append(1), "cuda", runs=3)
    assert (len(runs), timing.seconds, timing.peak, timing.rate(6)) == (4, (3, 3, 3), 300, 2)


def test_copies_and_annotations_are_no_kernels():
    event = {"device_type": DeviceType.CUDA, "is_user_annotation": False, "name": "void gemm"}
    changes = {"name": "Memcpy HtoD"}, {"name": "Memset"}, {"is_user_annotation": True}, {"device_type": DeviceType.CPU}
    assert is_kernel(SimpleNamespace(**event))
    assert not any(is_kernel(SimpleNamespace(**event | change)) for change in changes)


@pytest.mark.rare
def test_its_sections_run_small_on_the_cpu(tmp_path):
    names = ["exact", "dissect", "dump", "train", "lease"]
    words = ["--small", "--device", "cpu", "--out", tmp_path]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu", *map(str, words)],
        cwd=ROOT,
        env=os.environ | {"TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert lines[-1] == str(tmp_path / "gpu.json")
    begin = next(number for number, line in enumerate(lines) if line.startswith("section"))
    assert len(lines) - begin <= 40 and max(map(len, lines)) <= COLUMNS
    report = json.loads((tmp_path / "gpu.json").read_text())
    assert report["device"] == "cpu" and report["small"]
    assert {
        "card",
        "memory",
        "driver",
        "cuda",
        "python",
        "torch",
        "numpy",
        "h5py",
        "numba",
        "cpus",
        "cpu",
        "date",
    } <= set(report)
    assert [section["section"] for section in report["sections"]] == names
    for section in report["sections"]:
        assert section["status"] == "passed" and section["rows"]
        assert all(math.isfinite(row["value"]) for row in section["rows"])
        assert f"{section['section']:8}  passed in" in done.stdout
    rows = {(row["name"], row["variant"]) for section in report["sections"] for row in section["rows"]}
    assert {
        ("forward, channels last", "bfloat16"),
        ("dump, candidates", "forward float32"),
        ("dump, candidates, compiled", "forward bfloat16"),
        ("dump, candidates, fused", "forward float32"),
        ("ResNet-50", "with / without masks"),
        ("ResNet-50 from JPEG files", ""),
        ("all maps: tally", "device"),
        ("candidates, parts", "decoding"),
        ("extrapolated to 63,305 images", "all"),
        ("measured rates", "host to device"),
        ("floors", "drawing masks"),
    } <= rows
    checks = {check["name"] for section in report["sections"] for check in section["checks"]}
    assert {"a second job waits for the card", "a killed training run ends with the same bytes", chain.NAME} <= checks
    assert {"borders of zeros and knots anywhere", "candidates: the device's numbers equal the kernels'"} <= checks
    skipped = {skip["name"]: skip["why"] for section in report["sections"] for skip in section["skipped"]}
    assert skipped["the default experiment, from start to figures"] == "small"
    assert not list(tmp_path.glob("gpu_benchmark_*"))
