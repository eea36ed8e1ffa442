"""Progress lines in logs."""

import logging
import time

EVERY_SECONDS = 10


class Progress:
    """Logs, at most every ten seconds, how far a loop is, how fast, and how long it has still to go."""

    def __init__(self, what: str, total: float | None):
        """`what` is counted, in the plural: "pictures of data/train"; `total` is None if it is not known."""
        self.what, self.total = what, total
        self.started = self.last = time.monotonic()

    def log(self, done: float, note: str = "") -> None:
        """Say that `done` of the total are done, if the last line is long enough ago; `note` ends the line."""
        now = time.monotonic()
        if now - self.last > EVERY_SECONDS:
            self.last = now
            rate = done / (now - self.started)
            if self.total is None:
                logging.info("%d %s, %.0f a second%s", done, self.what, rate, note)
                return
            left = (self.total - done) / rate
            logging.info("%d of %d %s, %.0f a second, %.0f s left%s", done, self.total, self.what, rate, left, note)

    def finish(self, note: str = "") -> None:
        """Say how long all of it took."""
        seconds = time.monotonic() - self.started
        rate = self.total / max(seconds, 1e-3)
        logging.info("%d %s in %.1f s, %.0f a second%s", self.total, self.what, seconds, rate, note)
