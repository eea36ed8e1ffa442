"""Progress lines in logs."""

import logging
import time

# Two lines are at least this many seconds apart, and at least this share of the time that the loop has taken: 50 lines
# in the first 500 seconds, then at most 51 until the time has grown by a factor of e. That is 310 lines in a day and
# 480 in four weeks.
SECONDS, SHARE = 10, 0.02


class Progress:
    """Logs at intervals how far a loop is, how fast it runs, and how long the rest will take."""

    def __init__(self, what: str, total: float | None, done: float = 0):
        """`what` names what is counted, in the plural: "pictures of data/train"; `total` is None if unknown.

        An earlier attempt that was interrupted has done the first `done` of them.
        """
        self.what, self.total, self.before = what, total, done
        self.started = self.last = time.monotonic()

    def log(self, done: float, note: str = "") -> None:
        """Log that `done` of the total are done, unless the last line was logged recently; `note` ends the line."""
        now = time.monotonic()
        if now - self.last > max(SECONDS, SHARE * (now - self.started)):
            self.last = now
            of = "" if self.total is None else f" of {self.total:.0f}"
            left = "" if self.total is None else f", {self.left(done)} left"
            logging.info("%.0f%s %s, %s%s%s", done, of, self.what, pace(self.rate(done)), left, note)

    def finish(self, note: str = "") -> None:
        """Log how long the whole loop took."""
        assert self.total is not None, "the total must be known"
        seconds, rate = time.monotonic() - self.started, self.rate(self.total)
        logging.info("%.0f %s in %.1f s, %s%s", self.total, self.what, seconds, pace(rate), note)

    def rate(self, done: float) -> float:
        """Return how many are done per second."""
        return (done - self.before) / max(time.monotonic() - self.started, 1e-3)

    def left(self, done: float) -> str:
        """Return how long the rest takes at the rate so far; "unknown time" if nothing is done yet."""
        if self.total is None or done <= self.before:
            return "unknown time"
        return clock((self.total - done) / self.rate(done))


def pace(rate: float) -> str:
    """Return a rate per second, minute or hour, in the unit that reads best."""
    for unit, seconds in (("a second", 1), ("a minute", 60)):
        if rate * seconds >= 10:
            return f"{rate * seconds:.0f} {unit}"
    return f"{rate * 3600:.0f} an hour"


def clock(seconds: float) -> str:
    """Return a time as h:mm:ss, or in days if it is two days or more: "0:01:20", "3.2 days"."""
    if seconds >= 2 * 86400:
        return f"{seconds / 86400:.1f} days"
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"
