import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from joblib import parallel_config
from threadpoolctl import ThreadpoolController

from sknw import NadarayaWatsonRegressor
from sknw._threads import run_blocks, single_threaded_blas


def blas_threads():
    return {pool["num_threads"] for pool in ThreadpoolController().info() if pool["user_api"] == "blas"}


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
@pytest.mark.parametrize(("d", "algorithm"), [(1, "sorted"), (2, "grid"), (2, "blocks"), (2, "dense")])
def test_every_joblib_backend_gives_the_same(backend, d, algorithm):
    rng = np.random.default_rng(0)
    X, queries = rng.normal(size=(2500, d)), rng.normal(size=(40_000, d))
    model = NadarayaWatsonRegressor(algorithm=algorithm).fit(X, X[:, 0])
    expected = model.predict(queries)
    with parallel_config(backend=backend, n_jobs=2):
        np.testing.assert_array_equal(model.predict(queries), expected)


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_an_interrupt_gets_out(n_jobs):
    before = blas_threads()

    def interrupt(rows):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_blocks(interrupt, 10, 3, n_jobs)
    assert blas_threads() == before


@pytest.mark.skipif(sys.platform == "win32", reason="signals differ")
@pytest.mark.parametrize("n_jobs", [1, 2])
def test_control_c_stops_a_long_prediction(n_jobs):
    program = f"""
import numpy as np
from sknw import NadarayaWatsonRegressor
X = np.random.default_rng(0).normal(size=(300_000, 10))
model = NadarayaWatsonRegressor(algorithm="dense", n_jobs={n_jobs}).fit(X, X[:, 0])
print("ready", flush=True)
model.predict(X)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode != 0
    assert "KeyboardInterrupt" in errors
