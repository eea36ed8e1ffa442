"""A small campaign of faults; `python -m tests.fault_campaign` runs large ones."""

import signal

import pytest
from fault_campaign import RESULTS, Campaign

pytestmark = pytest.mark.slow


def test_five_kills_lose_nothing(tmp_path):
    target = f"{RESULTS}/imp/replicate_1/level_1/units.csv"
    campaign = Campaign(tmp_path, seed=1, targets=(target,), latest=12)
    campaign.signals(5, (signal.SIGKILL,))
    assert campaign.counts.total() == 5 and campaign.hits and target in campaign.expected


def test_a_closed_terminal_and_ctrl_c_once_or_twice_lose_nothing(tmp_path):
    campaign = Campaign(tmp_path, seed=1, targets=(f"{RESULTS}/imp/replicate_1/level_1/network.pt",), latest=4)
    campaign.terminals(3)
    assert campaign.counts == {f"terminal: {how}": 1 for how in ("closed", "Ctrl-C", "Ctrl-C twice")}
