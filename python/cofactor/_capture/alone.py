"""One capture by one process, from beginning to end."""

from __future__ import annotations

from contextlib import ExitStack

from ..store import ActivationStore, StoreWriter
from .append_queue import AppendQueue, Batch
from .digests import row_digests
from .disk_space import disk_estimate
from .job import Job, batches, count_examples
from .progress import progress_bar

__all__ = ["run_alone"]


def run_alone(job: Job) -> ActivationStore:
    """Capture in this process."""
    with ExitStack() as stack:
        show = stack.enter_context(progress_bar(job.progress))
        network = stack.enter_context(job.network())
        queue: AppendQueue[StoreWriter] | None = None
        total, n_done, rows_each = None, 0, 1
        for images, labels in batches(job.loader, job.max_examples):
            n_images = images.shape[0]
            inputs = row_digests(images, labels)
            if queue is not None and (n_done + n_images) * rows_each <= queue.writer.n_to_skip:
                queue.put(Batch(inputs, rows_each))
            else:
                batch = network.run(images, labels, inputs, n_done)
                if queue is None:
                    views = network.views(batch)
                    rows_each = batch.rows_each
                    total = count_examples(job.loader, n_images, job.max_examples)
                    show.say(disk_estimate(job.out, views, total, rows_each))
                    writer = ActivationStore.create(
                        job.out,
                        views,
                        attributes={**network.attributes, **job.attributes},
                        overwrite=job.overwrite,
                        resume=job.resume,
                        source=job.source,
                    )
                    queue = stack.enter_context(AppendQueue(stack.enter_context(writer)))
                    if writer.n_to_skip:
                        show.say(f"{job.out}: {writer.n_to_skip // rows_each} examples are there")
                queue.put(batch)
            n_done += n_images
            show(n_done, total)
            needed = queue.writer.n_to_compare
            if needed is not None and n_done * rows_each >= needed:
                break
        if queue is None:
            raise ValueError("the loader yields no images, expected at least one batch")
    return ActivationStore(job.out)
