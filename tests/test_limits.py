"""The config's limits reach every process, and scripts that run by themselves have the same."""

import pytest

from workflow_scripts.plan.load import read_default
from workflow_scripts.shared.limits import LIMITS, SHIPPED, limit, raise_limit, set_limits


def test_the_shipped_limits_are_those_of_the_config():
    assert read_default()["limits"] == SHIPPED


def test_limits_pass_to_processes_in_the_environment(monkeypatch):
    monkeypatch.delenv(LIMITS, raising=False)
    assert limit("file_gb") == SHIPPED["file_gb"]
    monkeypatch.setenv(LIMITS, "")  # lets monkeypatch restore it
    set_limits(SHIPPED | {"file_gb": 2.5})
    assert limit("file_gb") == 2.5 and limit("weights_gb") == SHIPPED["weights_gb"]
    assert raise_limit("file_gb") == "raise limits.file_gb in the config (now 2.5) if that is right"
    with pytest.raises(KeyError):
        limit("no_such")
