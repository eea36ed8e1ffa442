"""Progress lines: few, however long a loop takes, and right about rate and time left."""

import logging
import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflow_scripts.shared import progress
from workflow_scripts.shared.progress import SECONDS, SHARE, Progress, clock, pace


class FakeClock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def time(monkeypatch):
    fake = FakeClock()
    monkeypatch.setattr(progress, "time", fake)
    return fake


def run(time: FakeClock, seconds: float, steps: int, what: Progress) -> list[float]:
    """Take so many equal steps in so many seconds; the times after the start at which there was a line."""
    start = time.now
    when: list[float] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            when.append(time.now - start)

    handler = Handler()
    logging.getLogger().addHandler(handler)
    try:
        for done in range(1, steps + 1):
            time.now = start + seconds * done / steps
            what.log(done)
    finally:
        logging.getLogger().removeHandler(handler)
    return when


def test_lines_become_rarer_and_their_number_is_bounded(time, caplog):
    caplog.set_level(logging.INFO)
    for days, bound in ((1, 310), (28, 480)):
        when = run(time, days * 86400, 400_000, Progress("pictures", 400_000))
        assert 0.9 * bound < len(when) <= bound
        turn = SECONDS / SHARE
        assert len(when) <= turn / SECONDS + math.log(days * 86400 / turn) / math.log(1 + SHARE) + 1
        gaps = [later - earlier for earlier, later in zip([0, *when], when, strict=False)]
        assert min(gaps) > SECONDS
        step = days * 86400 / 400_000
        assert all(gap <= max(SECONDS, SHARE * end) + step + 1e-3 for gap, end in zip(gaps, when, strict=True))


def test_rate_and_time_left_are_those_of_this_attempt(time, caplog):
    caplog.set_level(logging.INFO)
    progress = Progress("pictures", 1000, done=400)
    time.now += 20
    progress.log(440, ", epoch 1 of 2")  # 40 in 20 seconds: 560 more take 280
    assert caplog.messages == ["440 of 1000 pictures, 120 a minute, 0:04:40 left, epoch 1 of 2"]
    time.now += 5
    progress.log(450)
    assert len(caplog.messages) == 1
    time.now += 275
    progress.finish("; so")
    assert caplog.messages[1] == "1000 pictures in 300.0 s, 120 a minute; so"


def test_a_loop_of_unknown_length_has_a_rate_only(time, caplog):
    caplog.set_level(logging.INFO)
    progress = Progress("files", None)
    time.now += 11
    progress.log(220)
    assert caplog.messages == ["220 files, 20 a second"]


def test_no_progress_yet_is_not_an_error(time, caplog):
    caplog.set_level(logging.INFO)
    progress = Progress("files", 10)
    time.now += 11
    progress.log(0)
    assert caplog.messages == ["0 of 10 files, 0 an hour, unknown time left"]


def test_an_attempt_that_finds_everything_done_is_not_an_error(time):
    assert Progress("files", 10, done=10).left(10) == "unknown time"


@pytest.mark.parametrize(
    ("rate", "words"), [(1234.4, "1234 a second"), (9.6, "576 a minute"), (0.1, "360 an hour"), (1e-4, "0 an hour")]
)
def test_a_pace_is_in_the_unit_that_reads_best(rate, words):
    assert pace(rate) == words


@given(st.integers(0, 2 * 86400 - 1))
def test_a_clock_can_be_read_back(seconds):
    hours, minutes, rest = map(int, re.fullmatch(r"(\d+):([0-5]\d):([0-5]\d)", clock(seconds)).groups())
    assert 3600 * hours + 60 * minutes + rest == seconds


def test_long_times_are_in_days():
    assert clock(2.88 * 86400) == "2.9 days"
