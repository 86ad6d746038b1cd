"""The concepts of one fit, with everything that can be said about them."""

from __future__ import annotations

from cofactor.concepts._html import overview_html
from cofactor.concepts._of_classes import ClassAnalyses
from cofactor.concepts._of_examples import ExampleAnalyses
from cofactor.concepts._of_fits import FitAnalyses
from cofactor.concepts._of_views import ViewAnalyses


class Concepts(ClassAnalyses, ExampleAnalyses, ViewAnalyses, FitAnalyses):
    """The concepts of a fit: clusters, classes, examples, neurons, images and scores.

    W is `W` where given; else that of the fit if it was made on this store, or if there is no
    store; else ``nmf.transform(store)``, which reads the store once.

    Parameters
    ----------
    nmf : CoupledNMF
        A fitted estimator.
    store : ActivationStore, optional
        The examples to look at: shapes of the layers, labels, predictions and names of classes
        are taken from it, and images are rebuilt from its pixel views.
    W : array-like of shape (n, k), optional
        Example factor.
    labels, predictions : array-like of int, shape (n,), optional
        Class of every example, true and predicted; the store's if not given.
    class_names : sequence of str, optional
        Name of each class; the store's if not given, else the class numbers.
    superclass_of_class : sequence of int, optional
        Superclass of each class; the store's if not given.
    superclass_names : sequence of str, optional
        Name of each superclass; the store's if not given, else the superclass numbers.
    shapes : mapping of str to tuple of int, optional
        Shape of one example by view, for a fit without a store; a view that is not in it counts
        as a vector.

    Attributes
    ----------
    nmf, store
        As given.
    W : ndarray of shape (n, k)
        Example factor.
    labels, predictions : ndarray of shape (n,), intp, or None
        Classes of the examples.
    class_names, superclass_names : list of str
        Empty where nothing is known of them.
    superclass_of_class : ndarray of shape (n_classes,), intp, or None
        Superclass of each class.

    Raises
    ------
    ValueError
        If there is neither a store nor a W, or W, labels, names or shapes do not fit together.

    Examples
    --------
    >>> import numpy as np
    >>> from types import SimpleNamespace
    >>> nmf = SimpleNamespace(
    ...     W_=np.array([[2.0, 0.0], [1.0, 0.0], [0.0, 3.0]]),
    ...     components_={"fc": np.array([[1.0, 0.0], [0.5, 2.0]])},
    ... )
    >>> concepts = Concepts(nmf, labels=[0, 0, 1], class_names=["cat", "tree"])
    >>> concepts
    Concepts(2 concepts, 3 examples, layers: fc; 2 classes)
    >>> concepts.clusters()
    array([0, 0, 1])
    >>> concepts.top_examples(0, n=1)
    rank  example  weight   share  cumulative_share  label  class
       1        0       2  0.6667            0.6667      0    cat
    """

    def __repr__(self) -> str:
        """Return the numbers of concepts, examples and classes, and the layers."""
        parts = f"{self.n_concepts} concepts, {self.n_examples:,} examples"
        parts += f", layers: {', '.join(self.layers) or 'none'}"
        if self.pixel_views:
            parts += "; with pixels"
        if self.class_names:
            parts += f"; {len(self.class_names)} classes"
        return f"Concepts({parts})"

    def _repr_html_(self) -> str:
        """Return the heaviest concepts as a table with pictures, for notebooks."""
        return overview_html(self)
