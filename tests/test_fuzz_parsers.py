"""Every file of the corpus and some mutations are accepted or refused, and the fuzzer notices what it should."""

import mmap
import os
import signal
import time

import fuzz_parsers
import pytest
from fuzz_parsers import CORPUS, PARSERS, corpus, failures, mutated

from workflow_scripts.shared.files import UserError

SLOW = ("config",)
MUTATIONS, SLOW_MUTATIONS = 25, 1


@pytest.mark.parametrize("parser", PARSERS)
def test_the_corpus_and_its_mutations_are_accepted_or_refused(parser):
    count = len(corpus(parser)) + (SLOW_MUTATIONS if parser in SLOW else MUTATIONS)
    found = list(failures(parser, 0, count))
    assert not found, [(failure.what, failure.data[:300]) for failure in found]


def test_the_corpus_is_small_and_has_valid_files_of_each_parser(tmp_path):
    files = [path for path in CORPUS.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 10**6
    for parser, parse in PARSERS.items():
        accepted = 0
        for path in corpus(parser):
            copy = tmp_path / parser / path.name
            copy.parent.mkdir(exist_ok=True)
            copy.write_bytes(path.read_bytes())
            try:
                parse(copy)
                accepted += 1
            except UserError:
                pass
        assert accepted, parser


def test_a_seed_gives_the_same_mutations():
    first = [mutated("tables", 1, number) for number in range(100)]
    assert first == [mutated("tables", 1, number) for number in range(100)]
    assert first != [mutated("tables", 2, number) for number in range(100)]


def raises(path):
    raise ValueError("odd")


def waits(path):
    time.sleep(60)


def takes_memory(path):
    # A mapping is always new; bytes may lie in what an earlier test has freed.
    with mmap.mmap(-1, 10**8) as mapping:
        for _ in range(100):
            mapping.write(b"1" * 10**6)


FAULTS = {
    "error": (raises, "ValueError: odd"),
    "crash": (lambda path: os.kill(os.getpid(), signal.SIGSEGV), "signal 11"),
    "hang": (waits, "takes more than"),
    "memory": (takes_memory, "GB of memory"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_noticed_and_its_input_saved(tmp_path, monkeypatch, fault):
    parse, words = FAULTS[fault]
    (tmp_path / "lock").mkdir()
    for name in ("a.lock", "b.lock"):
        (tmp_path / "lock" / name).write_text(name)
    monkeypatch.setattr(fuzz_parsers, "CORPUS", tmp_path)
    monkeypatch.setattr(fuzz_parsers, "MOST_SECONDS", 1)
    monkeypatch.setattr(fuzz_parsers, "MOST_BYTES", 5 * 10**7)
    monkeypatch.setitem(PARSERS, "lock", lambda path: parse(path) if path.read_text() == "b.lock" else None)
    found = list(failures("lock", 0, 2))
    assert [failure.data for failure in found] == [b"b.lock"] and words in found[0].what
    assert found[0].save().read_bytes() == b"b.lock"
