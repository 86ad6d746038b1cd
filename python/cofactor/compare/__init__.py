"""Fits beside each other: views, networks, ranks, seeds, classes, penalties and attacks.

Each function returns tables by name; `cofactor compare` writes them as CSV.
"""

from cofactor.compare._attacks import attack_tables, compare_attack
from cofactor.compare._fits import compare_fits
from cofactor.compare._folder import write_comparison
from cofactor.compare._runs import compare_classes, compare_grid, compare_seeds, compare_views
from cofactor.compare._summary import Tables, spread, summary

__all__ = [
    "Tables",
    "attack_tables",
    "compare_attack",
    "compare_classes",
    "compare_fits",
    "compare_grid",
    "compare_seeds",
    "compare_views",
    "spread",
    "summary",
    "write_comparison",
]
