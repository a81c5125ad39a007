import threading

import numpy as np
import pytest
from joblib import parallel_config

from sknw import NadarayaWatsonRegressor
from sknw._threads import _controller, run_blocks, single_threaded_blas


def blas_threads():
    return {pool["num_threads"] for pool in _controller().info() if pool["user_api"] == "blas"}


def test_interleaved_limits_leave_the_threads_as_they_were():
    before = blas_threads()
    entered, leave = threading.Event(), threading.Event()

    def first_in_first_out():
        with single_threaded_blas():
            entered.set()
            leave.wait(10)

    thread = threading.Thread(target=first_in_first_out)
    thread.start()
    entered.wait(10)
    with single_threaded_blas():
        assert blas_threads() == {1}
        leave.set()
        thread.join(10)
    assert blas_threads() == before


def test_limits_are_restored_after_an_error():
    before = blas_threads()
    with pytest.raises(ZeroDivisionError):
        run_blocks(lambda rows: 1 / 0, 10, 3, None)
    assert blas_threads() == before


def test_blocks_cover_all_rows_once():
    seen = np.zeros(100, dtype=int)

    def visit(rows):
        seen[rows] += 1

    run_blocks(visit, 100, 7, 2)
    np.testing.assert_array_equal(seen, 1)


@pytest.mark.parametrize("backend", ["loky", "threading", "multiprocessing"])
def test_every_joblib_backend_gives_the_same(backend):
    rng = np.random.default_rng(0)
    X, queries = rng.normal(size=(50, 1)), rng.normal(size=(3000, 1))
    model = NadarayaWatsonRegressor().fit(X, X[:, 0])
    expected = model.predict(queries)
    with parallel_config(backend=backend, n_jobs=2):
        np.testing.assert_array_equal(model.predict(queries), expected)
