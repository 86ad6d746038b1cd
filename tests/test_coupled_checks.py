"""scikit-learn's checks of estimators, as far as they apply to a mapping of views."""

from __future__ import annotations

import warnings
from typing import Any, Self

from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.estimator_checks import check_estimator
from sklearn.utils.validation import check_is_fitted, validate_data

import cofactor as cf


class OneView(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """CoupledNMF of a mapping with one view, for checks that pass a matrix.

    What a matrix has and a mapping has not (numbers and names of features) is kept here.
    """

    def __init__(self, n_components: int = 1, random_state: Any = None) -> None:
        self.n_components = n_components
        self.random_state = random_state

    def fit(self, X: Any, y: None = None) -> Self:
        X = validate_data(self, X, accept_sparse=True, ensure_all_finite=False, dtype=None)
        self.nmf_ = cf.CoupledNMF(self.n_components, random_state=self.random_state)
        self.nmf_.fit({"X": X})
        self.n_iter_ = self.nmf_.n_iter_
        return self

    def transform(self, X: Any) -> Any:
        check_is_fitted(self)
        X = validate_data(
            self, X, reset=False, accept_sparse=True, ensure_all_finite=False, dtype=None
        )
        return self.nmf_.transform({"X": X})

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.positive_only = True
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


# These pass no data, or only look at what an estimator does before it has been given any.
WITHOUT_DATA = {
    "check_do_not_raise_errors_in_init_or_set_params",
    "check_estimator_cloneable",
    "check_estimator_repr",
    "check_estimator_tags_renamed",
    "check_estimators_unfitted",
    "check_get_params_invariance",
    "check_mixin_order",
    "check_no_attributes_set_in_init",
    "check_parameters_default_constructible",
    "check_set_params",
    "check_transformers_unfitted",
    "check_valid_tag_types",
}


def results(estimator: Any) -> dict[str, tuple[str, BaseException | None]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        found = check_estimator(estimator, on_fail=None, on_skip=None)
    return {result["check_name"]: (result["status"], result["exception"]) for result in found}


def test_checks_of_one_view() -> None:
    found = results(OneView())
    failed = {name: error for name, (status, error) in found.items() if status == "failed"}
    assert not failed
    assert len(found) > 40


def test_checks_without_data() -> None:
    found = results(cf.CoupledNMF(1))
    failed = {name: found[name] for name in WITHOUT_DATA if found[name][0] != "passed"}
    assert not failed
