"""How well clusters agree with labels, beside what shuffled labels would have scored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cofactor.concepts._checks import as_labels, check_count


@dataclass(frozen=True)
class ClusteringScores:
    """How well clusters agree with labels, and what shuffled labels would have scored.

    Attributes
    ----------
    nmi, ari, purity : float
        Normalized mutual information, adjusted Rand index, purity; 1 is a perfect match.
    nmi_shuffled, ari_shuffled, purity_shuffled : float
        The means of the same over shuffled labels.
    n_scored, n_left_out : int
        Items that were scored, and items of cluster -1, which were not.
    """

    nmi: float
    nmi_shuffled: float
    ari: float
    ari_shuffled: float
    purity: float
    purity_shuffled: float
    n_scored: int
    n_left_out: int


def clustering_scores(
    clusters: ArrayLike,
    labels: ArrayLike,
    *,
    n_shuffles: int = 10,
    random_state: int | np.random.RandomState | None = 0,
) -> ClusteringScores:
    """Compare clusters with labels by NMI, ARI and purity, beside a shuffled baseline.

    NMI is ``I(cluster; label) / mean(H(cluster), H(label))``, ARI the pairs of items on which
    both agree, corrected for chance, purity ``sum_c max_y n_cy / n``. NMI and purity of
    unrelated clusters are above 0 and grow with the number of clusters, hence the baseline.

    Parameters
    ----------
    clusters : array-like of int, shape (n_items,)
        Cluster numbers; items at -1 are counted and left out.
    labels : array-like of int, shape (n_items,)
        Class numbers from 0.
    n_shuffles : int
        Number of random permutations of the labels that the baseline averages.
    random_state : int, RandomState or None
        Seed of the permutations.

    Returns
    -------
    ClusteringScores
        All scores are 0 where no item is left to score.

    Raises
    ------
    ValueError
        If lengths differ, labels are not integers from 0, or `n_shuffles` is below 1.

    References
    ----------
    `sklearn.metrics.normalized_mutual_info_score` and `adjusted_rand_score`; purity as in
    Manning, Raghavan and Schütze, Introduction to Information Retrieval (2008), section 16.3.

    Examples
    --------
    >>> scores = clustering_scores([0, 0, 1, 1, -1], [3, 3, 5, 5, 5])
    >>> scores.nmi, scores.ari, scores.purity, scores.n_left_out
    (1.0, 1.0, 1.0, 1)
    """
    # scikit-learn takes a second to import, and `import cofactor` comes this way.
    from sklearn.utils import check_random_state

    check_count(n_shuffles, "n_shuffles")
    found = np.asarray(clusters)
    known = as_labels(labels, len(found))
    kept = found >= 0
    n_left_out = int(len(found) - kept.sum())
    found, known = found[kept], known[kept]
    if not len(found):
        return ClusteringScores(0, 0, 0, 0, 0, 0, n_scored=0, n_left_out=n_left_out)
    random = check_random_state(random_state)
    nmi, ari, purity = _scores(found, known)
    shuffled = [_scores(found, random.permutation(known)) for _ in range(n_shuffles)]
    nmi_shuffled, ari_shuffled, purity_shuffled = np.mean(shuffled, axis=0).tolist()
    return ClusteringScores(
        nmi=nmi,
        nmi_shuffled=nmi_shuffled,
        ari=ari,
        ari_shuffled=ari_shuffled,
        purity=purity,
        purity_shuffled=purity_shuffled,
        n_scored=len(found),
        n_left_out=n_left_out,
    )


def _scores(found: NDArray[Any], known: NDArray[np.intp]) -> tuple[float, float, float]:
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

    counts = np.zeros((int(found.max()) + 1, int(known.max()) + 1), np.int64)
    np.add.at(counts, (found, known), 1)
    return (
        float(normalized_mutual_info_score(known, found)),
        float(adjusted_rand_score(known, found)),
        float(counts.max(axis=1).sum() / len(found)),
    )
