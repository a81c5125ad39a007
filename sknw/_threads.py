"""Blocks of rows on threads, with one BLAS thread each."""

import threading
from contextlib import contextmanager
from functools import cache

from joblib import Parallel, delayed
from threadpoolctl import OpenBLASController, ThreadpoolController

_lock = threading.Lock()
_users = 0
_before = []


@cache
def _blas_libraries():
    return ThreadpoolController().select(user_api="blas").lib_controllers


def _set_threads(numbers):
    # since version 3.8 threadpoolctl ignores every thread but the one that set a limit first
    clear = getattr(OpenBLASController, "clear_controlling_thread", None)
    if clear is not None:
        clear(force=True)
    for library, number in zip(_blas_libraries(), numbers, strict=True):
        library.set_num_threads(number)


@contextmanager
def single_threaded_blas():
    """Keep BLAS to one thread while anyone is inside: the first in sets the limit, the last out restores it.

    The limit is global to the process: a set and a restore for each caller would leave it set for good when two
    callers interleave.
    """
    global _users, _before
    with _lock:
        if _users == 0:
            _before = [library.get_num_threads() for library in _blas_libraries()]
            _set_threads([1] * len(_before))
        _users += 1
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0:
                _set_threads(_before)


def run_blocks(function, n_rows, block_rows, n_jobs):
    """Call `function(rows)` for consecutive slices of `block_rows` rows, on `n_jobs` threads (joblib's meaning).

    The blocks do not depend on `n_jobs`, so neither do results.
    """
    blocks = [slice(start, min(start + block_rows, n_rows)) for start in range(0, n_rows, block_rows)]
    with single_threaded_blas():
        if len(blocks) == 1:
            function(blocks[0])
        else:
            Parallel(n_jobs=n_jobs, require="sharedmem")(delayed(function)(rows) for rows in blocks)
