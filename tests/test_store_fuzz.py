"""Whatever the bytes of a store are, opening and reading it gives numbers or one clear error."""

from __future__ import annotations

import resource
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import cofactor as cf
import hostile_stores
from cofactor.store import ActivationStore, StoreError
from store_samples import content

SECONDS = 5.0
BYTES = 256 << 20

few = settings(
    max_examples=100,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
many = settings(few, max_examples=10_000)


class Arena:
    """One directory with a store, whose files are changed and put back."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.files = hostile_stores.write(path)
        self.kinds = {"refused": 0, "read": 0}

    def survives(self, changed: dict[str, bytes | None]) -> None:
        """Change files, do all that can be done with the store, and put them back."""
        for name, new in changed.items():
            file = self.path / name
            file.unlink()
            if new is not None:
                file.write_bytes(new)
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        began = time.process_time()
        try:
            self._use()
            self.kinds["read"] += 1
        except StoreError as error:
            self.kinds["refused"] += 1
            message = str(error)
            assert str(self.path) in message, message
            assert "\n" not in message
            assert len(message) < 3000
        finally:
            for name in changed:
                (self.path / name).write_bytes(self.files[name])
        assert time.process_time() - began < SECONDS
        assert 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory) < BYTES

    def _use(self) -> None:
        store = ActivationStore(self.path)
        repr(store).encode()
        assert len(store.fingerprint) == 64
        for column in store.columns.values():
            repr(column.tolist()).encode()
        for name, view in store.views.items():
            values = store.read(name)
            assert values.shape == (len(store), view.n_columns)
            assert sum(len(chunk) for chunk in store.chunks(name)) == len(store)
            some = store.select(rows=[-1, 0, 0], views=name)
            np.testing.assert_array_equal(some.read(name), values[[-1, 0, 0]])
            some.statistics(name)
        try:
            cf.CoupledNMF(1, init="random", max_iter=1, tol=0).fit(store)
        except StoreError:
            raise
        except ValueError as error:
            refusal = str(error)
        else:
            refusal = repr(next(iter(store.views)))
        # Values that cannot be factorized: the view is named. Of values whose statistics are wrong,
        # which `verify` below finds, the fit knows only that something is.
        named = any(repr(name) in refusal for name in store.views)
        assert named or "the loss is not finite" in refusal, refusal
        store.verify()


@pytest.fixture(scope="module")
def arena(tmp_path_factory: pytest.TempPathFactory) -> Arena:
    return Arena(tmp_path_factory.mktemp("fuzz") / "acts")


def check(arena: Arena, changes: st.DataObject, knowing: bool) -> None:
    make = hostile_stores.knowing if knowing else hostile_stores.random_bytes
    arena.survives(changes.draw(make(arena.files)))


@pytest.mark.parametrize("knowing", [False, True], ids=["random bytes", "knowing the format"])
@few
@given(changes=st.data())
def test_changed_stores(arena: Arena, knowing: bool, changes: st.DataObject) -> None:
    check(arena, changes, knowing)


@pytest.mark.slow
@pytest.mark.parametrize("knowing", [False, True], ids=["random bytes", "knowing the format"])
@many
@given(changes=st.data())
def test_many_changed_stores(arena: Arena, knowing: bool, changes: st.DataObject) -> None:
    check(arena, changes, knowing)


def test_the_arena_is_put_back(arena: Arena) -> None:
    arena.survives({})
    assert content(arena.path) == arena.files
    assert arena.kinds["read"] > 0
