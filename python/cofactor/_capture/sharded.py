"""One capture by all processes of a process group, each of its own examples."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import numpy.typing as npt
import torch

from .._errors import StoreError
from .._processes import Processes
from .._store.declare import check_columns
from .._store.joint import JointStore, PartWriter, Plan
from .._store.metadata import METADATA_FILE, Column
from .._store.metadata_reader import read_metadata
from .._store.records import Record
from ..store import ActivationStore
from .alone import run_alone
from .append_queue import AppendQueue, Batch
from .digests import row_digests
from .disk_space import disk_estimate
from .job import Job, Network, batches, count_examples
from .progress import Progress, progress_bar
from .ranks import Watch, together
from .skipping import skip_to

__all__ = ["run_sharded"]

_Images = tuple[int, torch.Tensor, "npt.NDArray[Any] | None"]


@dataclass(frozen=True)
class _Described:
    """What must be the same in all processes."""

    source: Mapping[str, str]
    options: Mapping[str, Any]
    views: Mapping[str, Mapping[str, Any]]
    columns: Mapping[str, Column]
    attributes: Mapping[str, Any]
    total: int
    first_images: bytes


def run_sharded(ranks: Processes, make_job: Callable[[], Job]) -> ActivationStore:
    """Capture in all processes, and return the store in each.

    Every process runs the first batch, to know the views, and then the batches of its own rows: the
    same batches that one process would run. Those that hold rows of two are run by both.
    """
    with ExitStack() as stack:
        job: Job | None = None

        def prepare(_: Watch) -> bool:
            nonlocal job
            job = make_job()
            return ranks.rank == 0 and job.resume and _is_complete(job)

        is_complete = together(ranks, prepare)[0]
        assert job is not None
        if is_complete:
            mine = job
            together(ranks, lambda _: run_alone(mine) if ranks.rank == 0 else None)
            return ActivationStore(job.out)
        show = stack.enter_context(progress_bar(job.progress and ranks.rank == 0))
        part = _Part(job, stack.enter_context(job.network()))
        described = together(ranks, lambda _: part.describe())
        _check_same(described)
        stores: list[JointStore] = []

        def begin(_: Watch) -> Plan | None:
            if ranks.rank:
                return None
            stores.append(stack.enter_context(part.begin(described[0], ranks.size, show)))
            return stores[0].plan

        plan = together(ranks, begin)[0]
        assert plan is not None
        finished = together(
            ranks, lambda watch: part.write(described[0], plan, ranks.rank, watch, show)
        )

        def complete(_: Watch) -> None:
            for store in stores:
                store.complete({i: record for found in finished for i, record in found.items()})

        together(ranks, complete)
        for store in stores:
            show(store.n_examples // part.rows_each, store.n_examples // part.rows_each)
    return ActivationStore(job.out)


class _Part:
    """What one process does."""

    def __init__(self, job: Job, network: Network) -> None:
        self._job = job
        self._network = network
        self._images = _numbered(0, batches(job.loader, job.max_examples))
        self._first: tuple[_Images, Batch] | None = None

    @property
    def rows_each(self) -> int:
        """Rows for each image, known after the first batch."""
        assert self._first is not None
        return self._first[1].rows_each

    def describe(self) -> _Described:
        """Run the first batch."""
        job = self._job
        found = next(self._images, None)
        if found is None:
            raise ValueError("the loader yields no images, expected at least one batch")
        _, images, labels = found
        batch = self._network.run(images, labels, row_digests(images, labels), 0)
        self._first = found, batch
        _, columns = check_columns(batch.host_columns(), None, len(images) * batch.rows_each)
        total = count_examples(job.loader, len(images), job.max_examples) or job.max_examples
        if total is None:
            raise ValueError(
                "the loader does not say how many examples it has, which several ranks need "
                "to share them out; give it a length, or pass max_examples="
            )
        return _Described(
            job.source,
            {"resume": job.resume, "overwrite": job.overwrite, "out": str(job.out)},
            self._network.views(batch),
            columns,
            {**self._network.attributes, **job.attributes},
            total,
            batch.inputs().tobytes(),
        )

    def begin(self, described: _Described, n_parts: int, show: Progress) -> JointStore:
        """Begin the store; one process does."""
        rows_each = self.rows_each
        show.say(disk_estimate(self._job.out, described.views, described.total, rows_each))
        store = JointStore(
            self._job.out,
            described.views,
            columns=described.columns,
            attributes=described.attributes,
            source=described.source,
            overwrite=self._job.overwrite,
            resume=self._job.resume,
            n_rows=described.total * rows_each,
            n_parts=n_parts,
        )
        there = sum(group.rows for group in store.plan.recorded.values())
        if there:
            show.say(f"{self._job.out}: {there // rows_each} examples are there")
        return store

    def write(
        self, described: _Described, plan: Plan, rank: int, watch: Watch, show: Progress
    ) -> dict[int, Record]:
        """Write this process's rows and return the groups that were not there before."""
        assert self._first is not None
        (_, first_images, _), first_batch = self._first
        rows_each = first_batch.rows_each
        with ExitStack() as stack:
            writer = stack.enter_context(
                PartWriter(self._job.out, described.views, described.columns, plan, rank)
            )
            queue = stack.enter_context(AppendQueue(writer.rows))
            n_done = 0
            first_row, stop_row = writer.first_row, writer.stop_row
            if first_row == stop_row:
                return {}
            if first_row >= len(first_images) * rows_each:
                # It is another's: what it gave need not be kept.
                first_batch = Batch(first_batch.inputs, rows_each)
                self._first = self._first[0], first_batch
            for number, images, labels in self._from(first_row // rows_each):
                here = range(number * rows_each, (number + len(images)) * rows_each)
                if stop_row is not None and here.start >= stop_row:
                    break
                watch.report(n_done)
                wanted = slice(
                    max(0, first_row - here.start),
                    None if stop_row is None else stop_row - here.start,
                )
                rows = here[wanted]
                if not rows:
                    continue
                inputs = row_digests(images, labels)
                if not writer.rows.needs(rows.start, rows.stop):
                    batch = Batch(inputs, rows_each)
                elif images is first_images:
                    batch = first_batch
                else:
                    batch = self._network.run(images, labels, inputs, number)
                queue.put(replace(batch, rows=wanted))
                n_done += len(rows) // rows_each
                show(watch.total_done, described.total)
        return writer.finished

    def _from(self, example: int) -> Iterator[_Images]:
        """Yield numbered batches from that of an example on."""
        assert self._first is not None
        first = self._first[0]
        skipped = None if example < len(first[1]) else skip_to(self._job.loader, example)
        if skipped is None:
            yield first
            yield from self._images
            return
        # What is left of the loader is not read: its workers end.
        del self._images
        n_before, later = skipped
        limit = self._job.max_examples
        yield from _numbered(
            n_before, batches(later, None if limit is None else max(limit - n_before, 0))
        )


def _numbered(
    first: int, found: Iterator[tuple[torch.Tensor, npt.NDArray[Any] | None]]
) -> Iterator[_Images]:
    """Yield batches with the number of their first image."""
    for images, labels in found:
        yield first, images, labels
        first += len(images)


def _is_complete(job: Job) -> bool:
    return (job.out / METADATA_FILE).exists() and read_metadata(job.out).complete


def _check_same(described: list[_Described]) -> None:
    """Raise the same error in all processes if they were not given the same."""
    expected = described[0]
    for rank, found in enumerate(described):
        if found.first_images != expected.first_images:
            raise StoreError(
                f"the first batch of rank {rank} is not that of rank 0; give every rank "
                "the whole loader in the same order, without shuffling or a distributed sampler: "
                "capture takes each one's part itself"
            )
        for what in ("options", "source", "views", "columns", "attributes", "total"):
            here, there = getattr(found, what), getattr(expected, what)
            if here == there:
                continue
            if isinstance(here, Mapping):
                what, here, there = next(
                    (f"{name} ({what})", here.get(name), there.get(name))
                    for name in (*here, *there)
                    if here.get(name) != there.get(name)
                )
            raise StoreError(
                f"ranks were given different captures: {what} is {here!r} in rank {rank}, "
                f"{there!r} in rank 0; start all with the same command and the same files"
            )
