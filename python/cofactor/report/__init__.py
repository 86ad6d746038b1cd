"""A page about the concepts of a fit, opened from disk, with its tables as CSV."""

from cofactor.report._report import report

__all__ = ["report"]
