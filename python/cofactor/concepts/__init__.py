"""What the concepts of a fit are: clusters, classes, examples, neurons and images.

The functions work on plain arrays, W (examples x concepts) and H (concepts x neurons);
`Concepts` applies them to a fit and its store. An analysis is a function here and a table.
"""

from cofactor.concepts._classes import class_shares, classes_in, share_entropy, superclass_shares
from cofactor.concepts._clusters import (
    ClusteringScores,
    clustering_scores,
    hard_clusters,
    soft_memberships,
)
from cofactor.concepts._concepts import Concepts
from cofactor.concepts._examples import top_examples
from cofactor.concepts._neurons import channel_profile, concept_image, neurons, position_map
from cofactor.concepts._table import Table
from cofactor.concepts._weights import view_shares, weight_shares

__all__ = [
    "ClusteringScores",
    "Concepts",
    "Table",
    "channel_profile",
    "class_shares",
    "classes_in",
    "clustering_scores",
    "concept_image",
    "hard_clusters",
    "neurons",
    "position_map",
    "share_entropy",
    "soft_memberships",
    "superclass_shares",
    "top_examples",
    "view_shares",
    "weight_shares",
]
