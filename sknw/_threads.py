"""Threads over blocks of rows, with one BLAS thread each."""

import threading
from contextlib import contextmanager
from functools import cache

from joblib import Parallel, delayed
from threadpoolctl import OpenBLASController, ThreadpoolController

_lock = threading.Lock()
_users = 0
_original_numbers = []


@cache
def _blas_libraries():
    return ThreadpoolController().select(user_api="blas").lib_controllers


def _set_threads(numbers):
    # since version 3.8, threadpoolctl ignores limits set by any thread other than the first one that set a limit
    clear = getattr(OpenBLASController, "clear_controlling_thread", None)
    if clear is not None:
        clear(force=True)
    for library, number in zip(_blas_libraries(), numbers, strict=True):
        library.set_num_threads(number)


@contextmanager
def single_threaded_blas():
    """Limit BLAS to one thread inside the context.

    The limit is global to the process. The first context that is entered sets it, and the last one that is left
    restores the original numbers of threads; if every context restored what it found, contexts of several threads
    could leave the limit in place.
    """
    global _users, _original_numbers
    with _lock:
        if _users == 0:
            _original_numbers = [library.get_num_threads() for library in _blas_libraries()]
            _set_threads([1] * len(_original_numbers))
        _users += 1
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0:
                _set_threads(_original_numbers)


def run_blocks(function, n_rows, block_rows, n_jobs):
    """Call `function(rows)` for consecutive slices of `block_rows` rows, on `n_jobs` threads, as defined by joblib.

    The blocks, and therefore the results, do not depend on `n_jobs`.
    """
    blocks = [slice(start, min(start + block_rows, n_rows)) for start in range(0, n_rows, block_rows)]
    with single_threaded_blas():
        if len(blocks) == 1:
            function(blocks[0])
        else:
            Parallel(n_jobs=n_jobs, require="sharedmem")(delayed(function)(rows) for rows in blocks)
