"""Budgets of memory: how they are written, and how they are divided."""

from __future__ import annotations

import numpy as np
import pytest

import cofactor as cf
from cofactor._memory import available_memory, format_memory, parse_memory, plan_reading

MB = 10**6


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("2GB", 2 * 10**9),
        ("2 gb", 2 * 10**9),
        ("1.5GiB", 3 * 2**29),
        ("500M", 500 * MB),
        ("64KiB", 2**16),
        ("1000", 1000),
        ("17B", 17),
        (np.int64(5), 5),
        (None, None),
    ],
)
def test_amounts(given: object, expected: int | None) -> None:
    assert parse_memory(given) == expected


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ("a lot", ValueError, "expected one like '2GB'"),
        ("-1GB", ValueError, "is no amount of memory"),
        ("2PB", ValueError, "is no amount of memory"),
        ("", ValueError, "is no amount of memory"),
        ("0GB", ValueError, "at least one byte"),
        (0, ValueError, "at least one byte"),
        (1.5, TypeError, "has type float"),
        (True, TypeError, "has type bool"),
    ],
)
def test_what_is_no_amount(given: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        parse_memory(given)
    with pytest.raises(error, match=message):
        cf.CoupledNMF(2, max_memory=given).fit({"a": np.ones((4, 3))})  # type: ignore[arg-type]


def test_amounts_are_written_as_they_are_read() -> None:
    for size in (1, 999, 10**6, 1_234_567, 10**9, 123_456_789_012):
        assert size <= (parse_memory(format_memory(size)) or 0) <= 1.01 * size + 1000


def test_a_plan_stays_within_its_budget() -> None:
    for budget in (20 * MB, 300 * MB, 2000 * MB, 64_000 * MB):
        for row_bytes in (2, 50_000):
            reading = plan_reading(budget, row_bytes=row_bytes, needed=10 * MB, what="factors")
            assert 3 * reading.block_bytes + reading.kept_bytes + 10 * MB <= budget
            assert reading.block_rows(row_bytes) * row_bytes <= reading.block_bytes
            assert reading.block_rows(row_bytes) >= 64


def test_a_budget_that_is_too_small_says_what_is_needed() -> None:
    with pytest.raises(
        ValueError, match=r"is too small: factors need 10000KB, .* give at least 19600KB"
    ):
        plan_reading("15MB", row_bytes=50_000, needed=10 * MB, what="factors")
    enough = plan_reading("19600KB", row_bytes=50_000, needed=10 * MB, what="factors")
    assert enough.block_rows(50_000) == 64
    with pytest.raises(ValueError, match=r"W \(W_path keeps it on disk\) need"):
        cf.CoupledNMF(2, max_memory="1KB").fit({"a": np.ones((40, 3))})


def test_without_a_budget_there_is_always_a_plan() -> None:
    assert available_memory() > 0
    reading = plan_reading(None, row_bytes=1000, needed=2 * available_memory(), what="factors")
    assert reading.block_rows(1000) == 64
