"""Precisions: what `auto` means on this machine and on others."""

import pytest
import torch

from workflow_scripts.networks import precisions
from workflow_scripts.networks.precisions import FORWARD, autocast, computes_bfloat16, cpu_flags, resolved

X86 = "processor\t: 0\nflags\t\t: fpu sse2 avx2 avx512f {}\nbugs\t\t: bf16\n"
ARM = "processor\t: 0\nFeatures\t: fp asimd {}\nCPU part\t: 0xd40\n"


@pytest.mark.parametrize(
    ("listed", "found"),
    [
        (X86.format("avx512_bf16"), True),
        (X86.format("amx_bf16 amx_tile"), True),
        (X86.format("avx512_vnni"), False),  # what else a line has does not count
        (ARM.format("bf16"), True),
        (ARM.format("sve"), False),
        (None, False),  # another system
    ],
)
def test_auto_is_bfloat16_where_the_cpu_computes_in_it(monkeypatch, tmp_path, listed, found):
    if listed is not None:
        (tmp_path / "cpuinfo").write_text(listed)
    flags = cpu_flags(tmp_path / "cpuinfo")
    monkeypatch.setattr(precisions, "cpu_flags", lambda path: flags)
    assert resolved("auto", torch.device("cpu")) == ("bfloat16" if found else "float32")


@pytest.mark.parametrize("found", [False, True])
def test_auto_is_bfloat16_where_the_gpu_computes_in_it(monkeypatch, found):
    asked = {}

    def supported(**options):
        asked.update(options)
        return found

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    assert computes_bfloat16("cuda") == found
    assert asked == {"including_emulation": False}


@pytest.mark.parametrize("precision", FORWARD)
def test_a_given_precision_is_used(monkeypatch, precision):
    monkeypatch.setattr(precisions, "computes_bfloat16", None)
    cpu = torch.device("cpu")
    with autocast(cpu, resolved(precision, cpu)):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == getattr(torch, precision)
