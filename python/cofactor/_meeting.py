"""How ranks find each other in a store that may hold words of ranks that are gone.

torchrun keeps its store when it starts ranks again, and counts restarts on every machine for
itself, so that neither tells the ranks of one start from those of another.
"""

from __future__ import annotations

import json
import time
import uuid
from typing import Any, Protocol

from ._errors import DistributedError

__all__ = ["meet"]

_SHORTEST_NAP, _LONGEST_NAP = 0.002, 0.1


class Store(Protocol):
    """What is needed of a store of torch.distributed."""

    def set(self, key: str, value: str) -> object:
        """Keep a value."""

    def get(self, key: str) -> bytes:
        """Return a value that is there."""

    def check(self, keys: list[str]) -> bool:
        """Whether all keys are there."""


def meet(store: Store, rank: int, size: int, timeout: float, name: str) -> str:
    """Wait until all ranks are here, and agree on a word that none before them has used.

    Every rank shows a number of its own. Rank 0 calls a word for all numbers that it sees, and
    again when one of them changes; a rank answers a call that has its number, which no rank of an
    earlier start can.

    Parameters
    ----------
    store : Store
        Where ranks leave word for each other.
    rank, size : int
        Number of this rank, and of all.
    timeout : float
        Seconds to wait.
    name : str
        What the ranks meet for, for the error message.

    Returns
    -------
    str
        The word, the same on all ranks.

    Raises
    ------
    DistributedError
        If not all have come in time.
    """
    deadline = time.monotonic() + timeout
    own = uuid.uuid4().hex
    store.set(f"number/{rank}", own)
    call: dict[str, Any] = {"word": None, "numbers": []}
    nap = _SHORTEST_NAP
    while True:
        if rank == 0:
            numbers = [_get(store, f"number/{r}") for r in range(size)]
            if None not in numbers and numbers != call["numbers"]:
                call = {"word": uuid.uuid4().hex, "numbers": numbers}
                store.set("call", json.dumps(call))
        else:
            call = json.loads(_get(store, "call") or json.dumps(call))
        word = call["word"]
        called = word is not None and call["numbers"][rank] == own
        if called:
            store.set(f"{word}/{rank}", "here")
            if rank == 0 and store.check([f"{word}/{r}" for r in range(size)]):
                store.set(f"{word}/go", "on")
            if store.check([f"{word}/go"]):
                return str(word)
        if time.monotonic() > deadline:
            # Before a call only those are known to be missing that never were here.
            signs = [f"{word}/{r}" if called else f"number/{r}" for r in range(size)]
            missing = [str(r) for r, sign in enumerate(signs) if not store.check([sign])] or ["0"]
            raise DistributedError(
                f"rank(s) {', '.join(missing)} did not come to {name} within {timeout:g} s; every "
                "rank of the process group takes part, or use cofactor.distributed.alone()"
            )
        time.sleep(nap)
        nap = min(2 * nap, _LONGEST_NAP)


def _get(store: Store, key: str) -> str | None:
    return store.get(key).decode() if store.check([key]) else None
