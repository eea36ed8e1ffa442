"""Leases of simulated GPUs: no card goes to two jobs, and none is lost."""

import os
import select
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from workflow_scripts.shared import gpus as gpu
from workflow_scripts.shared.files import UserError

ROOT = Path(__file__).resolve().parent.parent
HOLD = """
import os, sys, time
from pathlib import Path
from workflow_scripts.shared import gpus as gpu
gpu.POLL_SECONDS = 0.05
count, *names = sys.argv[1:]
cards = [names[card] for card in gpu.lease([f"{os.getppid()} {name}" for name in names], int(count))]
print(*cards, flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def start():
    """Start jobs that lease cards, print their names, and hold them until their input is closed."""
    jobs = []

    def job(count, *cards, code=HOLD, **environment):
        command = [sys.executable, "-c", code, str(count), *cards]
        jobs.append(
            subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | environment
            )
        )
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
        "marks = [Path(f'held_{card}') for card in cards]\n"
        "for mark in marks: open(mark, 'x').close()\n"
        "time.sleep(0.05)\n"
        "for mark in marks: mark.unlink()\n"
    )
    jobs = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(count), "a", "b", "c"],
            stdout=subprocess.DEVNULL,
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )
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


def test_a_process_that_never_ends_its_choice_is_told_of(monkeypatch, caplog):
    caplog.set_level("INFO")
    monkeypatch.setattr(gpu, "CHOOSING", f"choosing {os.getpid()}")
    monkeypatch.setattr(gpu, "LONG", 3)
    choosing = gpu.take(gpu.CHOOSING)
    threading.Timer(0.5, choosing.close).start()
    with gpu.choose():
        (line,) = caplog.messages
        assert "keeps choosing" in line


@pytest.mark.parametrize("first", [True, False])
def test_another_user_with_another_umask_and_temporary_folder_waits_too(start, tmp_path, first):
    other = HOLD.replace("gpu.POLL", "os.umask(0o077)\nif os.getuid() == 0: os.setuid(65534)\ngpu.POLL", 1)
    holds = start(1, "a", code=other if first else HOLD, TMPDIR=str(tmp_path))
    assert cards_of(holds) == ["a"]
    waits = start(1, "a", code=HOLD if first else other)
    assert not select.select([waits.stdout], [], [], 0.5)[0]
    holds.kill()
    assert cards_of(waits) == ["a"]
    assert not list(tmp_path.iterdir())


def test_cards_go_by_their_identity_whatever_their_number(monkeypatch):
    """Only the cards that CUDA_VISIBLE_DEVICES leaves visible are leased."""
    machine = [f"uuid-{os.getpid()}-{card}" for card in range(3)]
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
    for held in gpu._held:
        held.close()


def test_no_gpu_is_used_where_none_is_wanted(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    gpu.use_gpus(None)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "0"
    gpu.use_gpus(0)
    assert not gpu.has_gpu()
    with pytest.raises(UserError, match="set gpus to 0"):
        gpu.use_gpus(2)
