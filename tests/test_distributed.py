"""What processes tell each other, and how they end together."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from cofactor import distributed
from cofactor._meeting import meet
from process_pool import Pool

pytest.importorskip("torch")


def tell() -> dict[str, Any]:
    own = distributed.processes()
    rows = np.arange(own.rank * 10, own.rank * 11, dtype=np.float32).reshape(-1, 1)
    sums = np.full(3, 2.0**own.rank)
    own.all_reduce(sums)
    target = np.full((6, 1), np.nan, np.float32) if own.rank == 0 else None
    with own.call("test"):
        found = {
            "rank": distributed.rank(),
            "size": distributed.size(),
            "here": own.here,
            "sums": sums.tolist(),
            "gathered": distributed.gather({"rank": own.rank, "text": "x" * own.rank}),
            "bytes": own.gather_bytes(b"ab" * own.rank),
            "shared": own.share([own.rank, 0.1]),
            "array": own.share_array(np.full((2, 2), own.rank, np.float16)).tolist(),
            "rows": own.concatenate(rows).ravel().tolist(),
        }
        own.collect(rows, target)
    return {**found, "reduced": own.n_reduced, "collected": target}


def test_processes_tell_each_other(pool: Pool) -> None:
    found = pool.run(4, tell)
    rows = [10.0, 20.0, 21.0, 30.0, 31.0, 32.0]
    for rank, got in enumerate(found):
        assert (got["rank"], got["size"], got["here"]) == (rank, 4, 4)
        assert got["sums"] == [15.0] * 3
        assert got["gathered"] == [{"rank": r, "text": "x" * r} for r in range(4)]
        assert got["bytes"] == [b"ab" * r for r in range(4)]
        assert got["shared"] == [0, 0.1]
        assert got["array"] == [[0.0, 0.0], [0.0, 0.0]]
        assert got["rows"] == rows
        assert got["reduced"] == 1
    assert found[0]["collected"].ravel().tolist() == rows


def fail_on(rank: int, error: BaseException) -> None:
    own = distributed.processes()
    with own.call("test"):
        own.barrier()
        if own.rank == rank:
            raise error
        own.barrier()


@pytest.mark.parametrize(
    ("error", "what"),
    [(OSError("no such disk"), "OSError: no such disk"), (KeyboardInterrupt(), "an interrupt")],
)
def test_a_failure_ends_all(pool: Pool, error: BaseException, what: str) -> None:
    ended = pool.try_run(3, fail_on, 1, error)
    assert [end.error for end in ended] == [
        "DistributedError",
        type(error).__name__,
        "DistributedError",
    ]
    for end in (ended[0], ended[2]):
        assert end.message == f"rank 1 ended test with {what}"


def fail_then_work() -> int:
    with pytest.raises((ValueError, distributed.DistributedError)):
        fail_on(0, ValueError("first"))
    with distributed.processes().call("again"):
        return len(distributed.gather(None))


def test_after_a_failure_the_group_works(pool: Pool) -> None:
    assert pool.run(2, fail_then_work) == [2, 2]


def differ(name: str) -> None:
    own = distributed.processes()
    with own.call(name if own.rank else "fit"):
        own.check_same("fit", {"n": 3, "seed": own.rank, "views": ["a" * 100]})


def test_differences_are_named_on_all(pool: Pool) -> None:
    for end in pool.try_run(3, differ, "fit"):
        assert end.error == "ValueError"
        assert end.message == (
            "the ranks of fit differ: seed is 0 on rank 0 and 1 on rank 1; seed is 0 on rank 0 and "
            "2 on rank 2; start every rank with the same"
        )
    for end in pool.try_run(2, differ, "transform"):
        assert end.error == "ValueError"
        assert "call is 'fit' on rank 0 and 'transform' on rank 1" in end.message


def stay_away() -> None:
    own = distributed.processes()
    if own.rank == 1:
        return
    with own.call("CoupledNMF.fit"):
        pass


class Board:
    """A store in memory, as far as a meeting needs one."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}

    def set(self, key: str, value: str) -> None:
        self.values[key] = value

    def get(self, key: str) -> bytes:
        return self.values[key].encode()

    def check(self, keys: list[str]) -> bool:
        return all(key in self.values for key in keys)


def test_ranks_do_not_meet_those_of_an_earlier_start() -> None:
    board, words = Board(), []
    for start in range(3):
        # In another order each time, so that some find what is left of the start before.
        with ThreadPoolExecutor(3) as threads:
            met = []
            for rank in np.roll([0, 1, 2], start).tolist():
                met.append(threads.submit(meet, board, rank, 3, 60.0, "test"))
                time.sleep(0.05)
            (word,) = {future.result() for future in met}
        words.append(word)
    assert len(set(words)) == 3
    # One whose number is the old one does not answer.
    with pytest.raises(distributed.DistributedError, match=r"rank\(s\) 1 did not come to test"):
        meet(board, 0, 2, 0.1, "test")


def be_late() -> None:
    own = distributed.processes()
    with own.call("test"):
        if own.rank == 1:
            time.sleep(3)
        own.barrier()


def test_waiting_ends(pool: Pool) -> None:
    absent = pool.try_run(2, stay_away, timeout=1.0)
    assert absent[0].error == "DistributedError"
    assert "rank(s) 1 did not come to CoupledNMF.fit within 1 s" in absent[0].message
    late = pool.try_run(2, be_late, timeout=1.0)
    assert [end.error for end in late] == ["DistributedError"] * 2
    assert "test waited 1 s for the other ranks" in late[0].message
    assert "rank 0 ended test with DistributedError" in late[1].message


def test_torch_is_imported_for_several_processes_only() -> None:
    code = (
        "import sys, numpy as np, cofactor as cf, cofactor.distributed as d\n"
        "X = {'a': np.random.default_rng(0).random((40, 6))}\n"
        "cf.CoupledNMF(2, random_state=0, tol=0.1).fit(X)\n"
        "assert d.size() == 1 and not d.init_process_group()\n"
        "sys.exit('torch' in sys.modules)"
    )
    environment = {**os.environ, "WORLD_SIZE": "1", "RANK": "0"}
    assert (
        subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0
    )


def test_alone() -> None:
    with distributed.alone():
        assert distributed.size() == 1
    with pytest.raises(ValueError, match="timeout=0 must be a positive number"):
        distributed.init_process_group(0)
