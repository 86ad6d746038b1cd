"""What views say of the examples, beside each other, as captured and as the fit has them."""

from __future__ import annotations

from math import prod

from cofactor.concepts import Concepts, Table

# Enough for two digits; the cost grows with their square.
N_EXAMPLES = 1000
# Numbers of all views that are in memory at once: half a gigabyte.
_LARGEST = 2**27


def cka_tables(concepts: Concepts) -> dict[str, Table]:
    """Return the table `cka`, or nothing without activations or with fewer than four examples."""
    store = concepts.store
    captured = [view for view in concepts.views if store is not None and view in store.views]
    n_columns = sum(prod(concepts.shape(view)) for view in captured)
    n_examples = min(N_EXAMPLES, concepts.n_examples, _LARGEST // max(n_columns, 1))
    if not captured or n_examples < 4:
        return {}
    return {"cka": concepts.cka(max_examples=n_examples)}
