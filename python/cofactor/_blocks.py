"""Blocks of examples that an iterable makes on the fly, checked as they come."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy.typing as npt

__all__ = ["BlockReader"]

Array = npt.NDArray[Any]


class BlockReader:
    """A re-iterable of mappings from view name to array, read once a pass.

    Parameters
    ----------
    blocks : iterable of mapping of str to array of shape (n_rows, n_columns)
        The data; ``iter(blocks)`` starts over.
    to_array : callable
        Brings a view's name and array into a form that the core reads, or raises.
    caller : str
        Name for error messages.

    Attributes
    ----------
    first : dict of str to ndarray
        The first block; its views, columns and dtypes are those of all blocks.
    n_examples : int
        Number of rows in all blocks; 0 until they were read once.
    told : int
        Number of entries of what the caller said of single examples; 0 if that was nothing.

    Raises
    ------
    TypeError
        If the iterable is an iterator, which can be read only once, or a block is no mapping.
    ValueError
        If there is no block, or no view in it.
    """

    def __init__(
        self, blocks: Iterable[Any], to_array: Callable[[Any, Any], Array], caller: str
    ) -> None:
        iterator = iter(blocks)
        if iterator is blocks:
            raise TypeError(
                f"{caller} got {type(blocks).__name__}, an iterator, which can be read only once, "
                "and a fit reads its data in every iteration; pass something whose iter() starts "
                "over, such as a list, a DataLoader or a class with __iter__, or give the blocks "
                "to partial_fit, one by one"
            )
        self._blocks = blocks
        self._to_array = to_array
        self._caller = caller
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
        self.first = self._checked(block, 0)
        if not self.first:
            raise ValueError(f"{caller} got no views; expected at least one")
        # The pass that has begun with the first block goes on when it is asked for.
        self._begun: Iterator[Any] | None = iterator

    def start(self) -> Iterator[list[Array]]:
        """Read all blocks once.

        Yields
        ------
        list of ndarray
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
                yield list(self.first.values())
        for number, block in enumerate(iterator, start=1 if count else 0):
            arrays = self._checked(block, number)
            rows = _rows(arrays)
            count += rows
            # Before they are given: what is kept for single examples has no place for more.
            self._check_count(count, ended=False)
            if rows:
                yield [arrays[name] for name in self.first]
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

    def _checked(self, block: Any, number: int) -> dict[str, Array]:
        if not isinstance(block, Mapping):
            raise TypeError(
                f"{self._caller}: block {number} has type {type(block).__name__}; expected a "
                "mapping from view name to array"
            )
        arrays = {name: self._to_array(name, array) for name, array in block.items()}
        lengths = {name: len(array) for name, array in arrays.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(
                f"{self._caller}: the views of block {number} differ in their numbers of "
                "examples: " + ", ".join(f"{name!r} has {n}" for name, n in lengths.items())
            )
        expected = getattr(self, "first", arrays)
        if set(arrays) != set(expected):
            raise ValueError(
                f"{self._caller}: block {number} has views {', '.join(map(repr, arrays))}; the "
                f"first has {', '.join(map(repr, expected))}"
            )
        for name, array in arrays.items():
            first = expected[name]
            if array.shape[1] != first.shape[1] or array.dtype != first.dtype:
                raise ValueError(
                    f"{self._caller}: view {name!r} of block {number} has {array.shape[1]} "
                    f"features of {array.dtype}; that of the first has {first.shape[1]} of "
                    f"{first.dtype}"
                )
        return arrays


def _rows(block: Mapping[str, Array]) -> int:
    return len(next(iter(block.values()))) if block else 0
