"""Leases of simulated GPUs: no card goes to two jobs, and none is lost."""

import os
import select
import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from workflow_scripts.shared import gpus as gpu
from workflow_scripts.shared.files import UserError

HOLD = """
import sys, time
from pathlib import Path
from workflow_scripts.shared import gpus as gpu
gpu.POLL_SECONDS = 0.05
cards = gpu.lease(sys.argv[3:], int(sys.argv[2]), Path(sys.argv[1]))
print(*(sys.argv[3:][card] for card in cards), flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def start(tmp_path):
    """Start jobs that lease cards, print their names, and hold them until their input is closed."""
    jobs = []

    def job(count, *cards):
        command = [sys.executable, "-c", HOLD, tmp_path / "leases", str(count), *cards]
        jobs.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        return jobs[-1]

    yield job
    for running in jobs:
        running.kill()
        running.wait()


def cards_of(job):
    return job.stdout.readline().split()


def test_each_card_has_one_holder_and_goes_on_when_it_ends(start):
    first, second = start(1, "a", "b"), start(1, "a", "b")
    held = [cards_of(first), cards_of(second)]
    assert sorted(held) == [["a"], ["b"]]
    third = start(1, "a", "b")
    assert not select.select([third.stdout], [], [], 0.5)[0]  # it waits
    second.send_signal(signal.SIGKILL)
    assert cards_of(third) == held[1]


def test_many_jobs_never_hold_the_same_card(start, tmp_path):
    # Each takes turns: who holds a card writes its name into a file that must not be there yet.
    code = HOLD.replace("sys.stdin.readline()", "") + (
        "marks = [Path(sys.argv[1]) / f'held_{card}' for card in cards]\n"
        "for mark in marks: open(mark, 'x').close()\n"
        "time.sleep(0.05)\n"
        "for mark in marks: mark.unlink()\n"
    )
    jobs = [
        subprocess.Popen([sys.executable, "-c", code, tmp_path, str(count), "a", "b", "c"], stdout=subprocess.DEVNULL)
        for count in (1, 2, 3, 1, 2, 3, 1, 2)
    ]
    assert [job.wait(timeout=60) for job in jobs] == [0] * len(jobs)


def test_all_are_taken_or_none_so_that_two_jobs_do_not_wait_for_each_other(start):
    one = start(1, "a", "b", "c")
    assert cards_of(one) == ["a"]
    three, two = start(3, "a", "b", "c"), start(2, "a", "b", "c")
    assert cards_of(two) == ["b", "c"]
    one.kill()
    two.kill()
    assert cards_of(three) == ["a", "b", "c"]


def test_cards_go_by_their_identity_whatever_their_number(monkeypatch, tmp_path):
    """Only the cards that CUDA_VISIBLE_DEVICES leaves visible are leased."""
    machine = ["uuid-0", "uuid-1", "uuid-2"]
    monkeypatch.setattr(gpu, "LEASES", tmp_path)
    monkeypatch.setattr(gpu, "_held", [])
    visible = lambda: [machine[int(card)] for card in os.environ["CUDA_VISIBLE_DEVICES"].split(",")]  # noqa: E731
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(visible()))
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda card: SimpleNamespace(uuid=visible()[card]))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,1")
    assert gpu.lease_gpus(1) == [0]  # the machine's card 2
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,2")
    assert gpu.lease_gpus(1) == [0]  # 1: card 2 is taken, under whatever number
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "1,2"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2")
    assert gpu.lease_gpus(1) == [0]
    with pytest.raises(UserError, match="3 GPUs, but 4 are wanted"):
        gpu.lease_gpus(4)
    for file in gpu._held:
        os.close(file)


def test_no_gpu_is_used_where_none_is_wanted(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    gpu.use_gpus(None)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "0"
    gpu.use_gpus(0)
    assert not gpu.has_gpu()
    with pytest.raises(UserError, match="set gpus to 0"):
        gpu.use_gpus(2)
