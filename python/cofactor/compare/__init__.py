"""Fits beside each other: views, networks, ranks, seeds, classes, penalties and attacks.

Each function returns tables by name; `cofactor compare` writes them as CSV.
"""

from cofactor.compare._attacks import compare_attack
from cofactor.compare._fits import compare_fits
from cofactor.compare._folder import write_comparison
from cofactor.compare._runs import compare_classes, compare_grid, compare_seeds, compare_views
from cofactor.compare._summary import Tables, summary

__all__ = [
    "Tables",
    "compare_attack",
    "compare_classes",
    "compare_fits",
    "compare_grid",
    "compare_seeds",
    "compare_views",
    "summary",
    "write_comparison",
]
