"""What the concepts of a fit are: clusters, classes, examples, neurons and images.

The functions work on plain arrays, W (examples x concepts) and H (concepts x neurons);
`Concepts` applies them to a fit and its store. An analysis is a function here and a table.
"""

from cofactor.concepts._cka import linear_cka, reconstruction_coordinates
from cofactor.concepts._classes import (
    class_shares,
    classes_in,
    entropy_table,
    share_entropy,
    share_table,
    superclass_shares,
)
from cofactor.concepts._clusters import (
    cluster_sizes,
    cluster_table,
    hard_clusters,
    soft_memberships,
)
from cofactor.concepts._concepts import Concepts
from cofactor.concepts._distances import concept_distances
from cofactor.concepts._examples import top_examples
from cofactor.concepts._images import mask_examples, saliency_maps
from cofactor.concepts._impurity import accuracy_by_impurity, knn_impurity, nearest_examples
from cofactor.concepts._matching import match_concepts, stability
from cofactor.concepts._neurons import channel_profile, concept_image, neurons, position_map
from cofactor.concepts._scores import ClusteringScores, clustering_scores
from cofactor.concepts._shift import concept_shift
from cofactor.concepts._similarity import (
    concept_similarity,
    cosine_similarity,
    eigenvalue_profile,
    mutual_coherence,
)
from cofactor.concepts._table import Table
from cofactor.concepts._weights import view_shares, weight_shares

__all__ = [
    "ClusteringScores",
    "Concepts",
    "Table",
    "accuracy_by_impurity",
    "channel_profile",
    "class_shares",
    "classes_in",
    "cluster_sizes",
    "cluster_table",
    "clustering_scores",
    "concept_distances",
    "concept_image",
    "concept_shift",
    "concept_similarity",
    "cosine_similarity",
    "eigenvalue_profile",
    "entropy_table",
    "hard_clusters",
    "knn_impurity",
    "linear_cka",
    "mask_examples",
    "match_concepts",
    "mutual_coherence",
    "nearest_examples",
    "neurons",
    "position_map",
    "reconstruction_coordinates",
    "saliency_maps",
    "share_entropy",
    "share_table",
    "soft_memberships",
    "stability",
    "superclass_shares",
    "top_examples",
    "view_shares",
    "weight_shares",
]
