"""Results that are computed when they are first needed."""

import threading


class Memo:
    """Results by name, each computed by one thread, and kept for the last settings that it was asked for with."""

    def __init__(self):
        self._lock, self._results = threading.RLock(), {}

    def __reduce__(self):
        return Memo, ()  # copies are empty

    def get(self, name, settings, compute):
        """The result of `compute()`, which depends on the settings alone."""
        with self._lock:
            if name not in self._results or self._results[name][0] != settings:
                self._results[name] = settings, compute()
            return self._results[name][1]
