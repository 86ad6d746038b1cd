"""Checks of what a benchmark is asked for."""

from __future__ import annotations


def check_positive(name: str, value: int) -> None:
    if value < 1:
        raise ValueError(f"{name} must be at least 1, got {value}")
