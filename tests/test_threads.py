"""Threads beside those of others."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

import cofactor as cf
from cofactor import _core

X = {"a": np.random.default_rng(0).random((2000, 300), dtype=np.float32)}


def fit() -> cf.CoupledNMF:
    return cf.CoupledNMF(4, random_state=0, tol=0, max_iter=2, init="random").fit(X)


def test_threadpoolctl_sees_and_limits_the_threads() -> None:
    fit()
    before = _core.default_threads()
    (entry,) = [entry for entry in threadpool_info() if entry["user_api"] == "cofactor"]
    assert entry["num_threads"] == before
    assert entry["version"] == cf.__version__
    with threadpool_limits(limits=3, user_api="cofactor"):
        assert _core.default_threads() == 3
        limited = fit()
    assert _core.default_threads() == before
    assert np.array_equal(limited.W_, fit().W_)


def test_a_limit_on_everything_is_one_on_fits() -> None:
    fit()
    with threadpool_limits(limits=1):
        assert _core.default_threads() == 1


THREADS_OF_A_FIT = """
import os, numpy as np, cofactor as cf
X = {"a": np.random.default_rng(0).random((2000, 300), dtype=np.float32)}
count = lambda: len(os.listdir("/proc/self/task"))
def during(event):
    seen.append(count())
cf.CoupledNMF  # its import starts the threads of BLAS
seen, before = [], count()
cf.CoupledNMF(4, tol=0, max_iter=3, init="random", n_threads=3, random_state=0,
              callback=during).fit(X)
print(max(seen) - before, count() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="counts threads in /proc")
def test_a_fit_starts_what_it_was_given_and_leaves_nothing() -> None:
    done = subprocess.run(
        [sys.executable, "-c", THREADS_OF_A_FIT],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    during, after = map(int, done.stdout.split())
    # The caller is the first of the three; the engine's pool ends with the fit.
    assert during == 2
    assert after == 0


FORKED = """
import multiprocessing, numpy as np, cofactor as cf
X = {"a": np.random.default_rng(0).random((2000, 300), dtype=np.float32)}
def fit(_):
    return cf.CoupledNMF(4, tol=0, max_iter=2, random_state=0, n_threads=2).fit(X).W_
if __name__ == "__main__":
    here = fit(0)
    with multiprocessing.get_context("fork").Pool(2) as pool:
        print(all((W == here).all() for W in pool.map(fit, range(2))))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="forks")
def test_a_forked_child_fits_as_its_parent_did() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORKED], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.split() == ["True"]
