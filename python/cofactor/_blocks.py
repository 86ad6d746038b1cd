"""Blocks of examples that an iterable makes on the fly, checked as they come."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ._device_arrays import are_on_device, one_device
from ._matrices import Matrix, to_matrix

__all__ = ["BlockReader"]


class BlockReader:
    """A re-iterable of mappings from view name to array, read once a pass.

    Parameters
    ----------
    blocks : iterable of mapping of str to array of shape (n_rows, n_columns)
        The data; ``iter(blocks)`` starts over.
    caller : str
        Name for error messages.
    device : {"auto", "cpu", "cuda"}
        Where to compute: see :func:`are_on_device`.

    Attributes
    ----------
    first : dict of str to Matrix
        The first block; its views, columns and dtypes are those of all blocks.
    n_examples : int
        Number of rows in all blocks; 0 until they were read once.
    told : int
        Number of entries of what the caller said of single examples; 0 if that was nothing.
    device : int or None
        Number of the CUDA device that the blocks are read on, where they are.

    Raises
    ------
    TypeError
        If the iterable is an iterator, which can be read only once, or a block is no mapping.
    ValueError
        If there is no block, or no view in it, or its views are not all in one place.
    """

    def __init__(self, blocks: Iterable[Any], caller: str, device: str) -> None:
        iterator = iter(blocks)
        if iterator is blocks:
            raise TypeError(
                f"{caller} got {type(blocks).__name__}, an iterator, which can be read only once, "
                "and a fit reads its data in every iteration; pass something whose iter() starts "
                "over, such as a list, a DataLoader or a class with __iter__, or give the blocks "
                "to partial_fit, one by one"
            )
        self._blocks = blocks
        self._caller = caller
        self._place = device
        self.n_examples = 0
        self.told = 0
        try:
            block = next(iterator)
        except StopIteration:
            raise ValueError(f"{caller} got no blocks; expected at least one") from None
        if not isinstance(block, Mapping):
            raise TypeError(
                f"{caller} got {type(blocks).__name__} of {type(block).__name__}; expected an "
                "ActivationStore, a mapping from view name to array, such as {'pixels': X}, or an "
                "iterable of such mappings"
            )
        self._on_device = are_on_device(block, device, caller)
        self.first = self._checked(block, 0)
        if not self.first:
            raise ValueError(f"{caller} got no views; expected at least one")
        views = self.first.values()
        self.device = next(view.values.device for view in views) if self._on_device else None
        # The pass that has begun with the first block goes on when it is asked for.
        self._begun: Iterator[Any] | None = iterator

    def start(self) -> Iterator[list[Any]]:
        """Read all blocks once.

        Yields
        ------
        list of ndarray or sparse matrix
            One for each view, with the same rows.

        Raises
        ------
        TypeError, ValueError
            If a block has other views, columns or dtypes than the first, or there are more or
            fewer examples than the last time, or than `told`.
        """
        iterator, self._begun = self._begun, None
        count = 0
        if iterator is None:
            iterator = iter(self._blocks)
        else:
            count = _rows(self.first)
            self._check_count(count, ended=False)
            if count:
                yield [matrix.values for matrix in self.first.values()]
        for number, block in enumerate(iterator, start=1 if count else 0):
            matrices = self._checked(block, number)
            rows = _rows(matrices)
            count += rows
            # Before they are given: what is kept for single examples has no place for more.
            self._check_count(count, ended=False)
            if rows:
                yield [matrices[name].values for name in self.first]
        self._check_count(count, ended=True)
        self.n_examples = count

    def _check_count(self, count: int, *, ended: bool) -> None:
        def differs(expected: int) -> bool:
            return bool(expected) and (count > expected or (ended and count != expected))

        so_far = "" if ended else "at least "
        if differs(self.n_examples):
            raise ValueError(
                f"{self._caller} got {so_far}{count} examples in one pass over the blocks and "
                f"{self.n_examples} in another; an iterable must give the same blocks every time"
            )
        if differs(self.told):
            raise ValueError(
                f"{self._caller} got {so_far}{count} examples in the blocks; mask, sample_weight "
                f"and groups are of {self.told}"
            )

    def _checked(self, block: Any, number: int) -> dict[str, Matrix]:
        if not isinstance(block, Mapping):
            raise TypeError(
                f"{self._caller}: block {number} has type {type(block).__name__}; expected a "
                "mapping from view name to array"
            )
        if are_on_device(block, self._place, self._caller) != self._on_device:
            places = "in the CPU's memory", "on a CUDA device"
            raise ValueError(
                f"{self._caller}: block {number} is {places[not self._on_device]} and the first is "
                f"{places[self._on_device]}; give all blocks in one place"
            )
        matrices = {
            name: to_matrix(name, array, on_device=self._on_device) for name, array in block.items()
        }
        if self._on_device:
            one_device({name: matrix.values for name, matrix in matrices.items()})
        lengths = {name: matrix.n_rows for name, matrix in matrices.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(
                f"{self._caller}: the views of block {number} differ in their numbers of "
                "examples: " + ", ".join(f"{name!r} has {n}" for name, n in lengths.items())
            )
        expected = getattr(self, "first", matrices)
        if set(matrices) != set(expected):
            raise ValueError(
                f"{self._caller}: block {number} has views {', '.join(map(repr, matrices))}; the "
                f"first has {', '.join(map(repr, expected))}"
            )
        for name, matrix in matrices.items():
            first = expected[name]
            if matrix.n_columns != first.n_columns or matrix.dtype != first.dtype:
                raise ValueError(
                    f"{self._caller}: view {name!r} of block {number} has {matrix.n_columns} "
                    f"features of {matrix.dtype}; that of the first has {first.n_columns} of "
                    f"{first.dtype}"
                )
        return matrices


def _rows(block: Mapping[str, Matrix]) -> int:
    return next(iter(block.values())).n_rows if block else 0
