"""Groups of examples that do without a component."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["clear_small_groups"]

# The solver majorises the penalty at norms of at least 1e-6 of the root mean square, so that groups
# can come back, and where the penalty wins norms end below that.
_GONE = 2e-6


def clear_small_groups(
    W: npt.NDArray[Any], group: npt.NDArray[np.int32], norms: npt.NDArray[np.float64]
) -> None:
    """Set W to 0 where the penalty on groups has made a norm as small as the solver makes it.

    Parameters
    ----------
    W : ndarray of shape (n_examples, n_components)
        Example factor, changed in place.
    group : ndarray of shape (n_examples,)
        Number of every example's group.
    norms : ndarray of shape (n_groups, n_components)
        ``||W[g, r]||_2``.
    """
    gone = norms <= _GONE * np.sqrt(np.mean(norms**2))
    for r in np.flatnonzero(gone.any(axis=0)):
        W[gone[group, r], r] = 0
