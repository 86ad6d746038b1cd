"""Non-negative matrix factorization of one matrix, as scikit-learn's estimator."""

from __future__ import annotations

import warnings
from numbers import Integral, Real
from typing import Any, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import assert_all_finite, check_array
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted, check_non_negative, validate_data

from ._arrays import like, to_host
from ._views import Views, view_of_matrix
from .distributed import alone
from .init import Init
from .nmf import CoupledNMF, FitEvent, with_components

__all__ = ["NMF"]

Factor = Any
"""An array of the kind that was given: ndarray, torch tensor, CuPy array."""

_VIEW = "X"


class NMF(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Non-negative matrix factorization, in place of :class:`sklearn.decomposition.NMF`.

    Minimises, over W >= 0 and H >= 0,

    .. code-block:: text

        1/2 ||X - W H||_F^2
          + n_features alpha_W (l1_ratio ||W||_1 + (1 - l1_ratio)/2 ||W||_F^2)
          + n_samples alpha_H (l1_ratio ||H||_1 + (1 - l1_ratio)/2 ||H||_F^2)

    which is scikit-learn's objective and scaling, by exact alternating non-negative least squares
    with extrapolation, one read of X an iteration. It is :class:`cofactor.CoupledNMF` of one view.

    Parameters
    ----------
    n_components : int, "auto" or None, default="auto"
        Number of components k. None is the number of features; "auto" is that of W and H if they
        are given, and the number of features otherwise.
    init : {None, "random", "nndsvd", "nndsvda", "nndsvdar", "compressed", "sample", "custom"}, \
default=None
        How a fit starts. None is "nndsvda" if n_components <= min(n_samples, n_features), and
        "random" otherwise. "compressed" and "sample" are those of :class:`cofactor.CoupledNMF`:
        they reach a low objective in the fewest reads of X. "custom" takes W and H from
        :meth:`fit_transform`; as a first exact solve for W follows from H alone, W is checked and
        changes nothing.
    solver : {"cd"}, default="cd"
        For scikit-learn's signature. Its other solver, "mu", is refused.
    beta_loss : {"frobenius", 2}, default="frobenius"
        For scikit-learn's signature. Other losses are refused.
    tol : float, default=1e-4
        Stop when a pass lowers the objective by at most the fraction `tol` / 100 of it; 0 never
        stops early. scikit-learn measures the gradient instead; with the same `tol`, this one ends
        at about its objective or below.
    max_iter : int, default=200
        Most passes over X.
    random_state : int, RandomState instance or None, default=None
        Seed of the start.
    alpha_W : float, default=0.0
        Penalty on W.
    alpha_H : float or "same", default="same"
        Penalty on H; "same" is `alpha_W`.
    l1_ratio : float, default=0.0
        Share of the L1 part in both penalties, from 0 to 1.
    verbose : int, default=0
        Whether to print the relative loss of every pass.
    shuffle : bool, default=False
        For scikit-learn's signature: an exact solve has no order of coordinates to shuffle.
    device : {"auto", "cpu", "cuda"}, default="auto"
        Where to compute.
    compute : {"float32", "bfloat16", "auto", "float64"}, default="float32"
        What products are computed in; see :class:`cofactor.CoupledNMF`. X of float64, or of
        integers of more than 16 bits, is computed in float64.
    n_threads : int or None, default=None
        Threads to use; None is as many as the process may.
    forget_factor : float or "auto", default="auto"
        What the rows before a call of :meth:`partial_fit` count after it, between 0 and 1; see
        :class:`cofactor.CoupledNMF`.

    Attributes
    ----------
    components_ : ndarray of shape (n_components, n_features)
        H; float64 if computed in float64, else float32.
    n_components_ : int
        Number of components.
    reconstruction_err_ : float
        ``||X - W H||_F`` of the training data.
    n_iter_ : int
        Passes of the loop.
    loss_history_ : list of float
        ``||X - W H||_F^2 / ||X||_F^2`` after every accepted pass.
    n_features_in_ : int
        Number of features seen during fit.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, where X has them and all are strings.

    Notes
    -----
    Rows of X may be contiguous or not, of either byte order, read-only, or sparse (CSR): no copy of
    X is made, and results are the same in every bit. The array that a method returns is of the kind
    that it was given: NumPy, torch or CuPy.

    Examples
    --------
    >>> import numpy as np
    >>> import cofactor as cf
    >>> X = np.array([[1, 1], [2, 1], [3, 1.2], [4, 1], [5, 0.8], [6, 1]])
    >>> model = cf.NMF(n_components=2, init="random", random_state=0)
    >>> W = model.fit_transform(X)
    >>> W.shape, model.components_.shape
    ((6, 2), (2, 2))
    >>> bool(model.reconstruction_err_ < 1e-2)
    True
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_components": [
            Interval(Integral, 1, None, closed="left"),
            None,
            StrOptions({"auto"}),
        ],
        "init": [
            StrOptions(
                {"random", "nndsvd", "nndsvda", "nndsvdar", "compressed", "sample", "custom"}
            ),
            None,
        ],
        "solver": [StrOptions({"mu", "cd"})],
        "beta_loss": [StrOptions({"frobenius", "kullback-leibler", "itakura-saito"}), Real],
        "tol": [Interval(Real, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
        "alpha_W": [Interval(Real, 0, None, closed="left")],
        "alpha_H": [Interval(Real, 0, None, closed="left"), StrOptions({"same"})],
        "l1_ratio": [Interval(Real, 0, 1, closed="both")],
        "verbose": ["verbose"],
        "shuffle": ["boolean"],
        "device": [StrOptions({"auto", "cpu", "cuda"})],
        "compute": [StrOptions({"float32", "bfloat16", "auto", "float64"})],
        "n_threads": [Interval(Integral, 1, None, closed="left"), None],
        "forget_factor": [Interval(Real, 0, 1, closed="both"), StrOptions({"auto"})],
    }

    _online: CoupledNMF | None

    def __init__(
        self,
        n_components: int | Literal["auto"] | None = "auto",
        *,
        init: Init | Literal["custom"] | None = None,
        solver: Literal["cd"] = "cd",
        beta_loss: Literal["frobenius"] | float = "frobenius",
        tol: float = 1e-4,
        max_iter: int = 200,
        random_state: int | np.random.RandomState | None = None,
        alpha_W: float = 0.0,
        alpha_H: float | Literal["same"] = "same",
        l1_ratio: float = 0.0,
        verbose: int = 0,
        shuffle: bool = False,
        device: Literal["auto", "cpu", "cuda"] = "auto",
        compute: Literal["float32", "bfloat16", "auto", "float64"] = "float32",
        n_threads: int | None = None,
        forget_factor: float | Literal["auto"] = "auto",
    ) -> None:
        self.n_components = n_components
        self.init = init
        self.solver = solver
        self.beta_loss = beta_loss
        self.tol = tol
        self.max_iter = max_iter
        self.random_state = random_state
        self.alpha_W = alpha_W
        self.alpha_H = alpha_H
        self.l1_ratio = l1_ratio
        self.verbose = verbose
        self.shuffle = shuffle
        self.device = device
        self.compute = compute
        self.n_threads = n_threads
        self.forget_factor = forget_factor

    def fit(self, X: Any, y: None = None, **params: Any) -> Self:
        """Fit X.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Non-negative values.
        y : None
            Ignored.
        **params
            W and H, as for :meth:`fit_transform`.

        Returns
        -------
        NMF
            This estimator.
        """
        self._fit(X, **params)
        return self

    def fit_transform(self, X: Any, y: None = None, W: Any = None, H: Any = None) -> Factor:
        """Fit X and return W.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Non-negative values.
        y : None
            Ignored.
        W : array-like of shape (n_samples, n_components), optional
            With ``init="custom"``, checked; see the class.
        H : array-like of shape (n_components, n_features), optional
            With ``init="custom"``, where the fit starts.

        Returns
        -------
        array of shape (n_samples, n_components)
            W for the fitted H, equal to ``fit(X).transform(X)``.

        Raises
        ------
        ValueError
            For negative, infinite or missing values, a wrong shape, or a parameter out of range.
        TypeError
            If X has no real numbers.
        """
        return like(self._fit(X, W, H), X)

    def partial_fit(self, X: Any, y: None = None, W: Any = None, H: Any = None) -> Self:
        """Learn from rows that never come back.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            New rows.
        y : None
            Ignored.
        W, H
            As for :meth:`fit_transform`, in the first call. After :meth:`fit`, learning goes on
            from what that found.

        Returns
        -------
        NMF
            This estimator. `reconstruction_err_` is of all rows so far, each with the W that it was
            last solved with.

        Examples
        --------
        >>> import numpy as np, cofactor as cf
        >>> rng = np.random.default_rng(0)
        >>> H = rng.random((3, 20))
        >>> nmf = cf.NMF(n_components=3, random_state=0)
        >>> for _ in range(20):
        ...     nmf = nmf.partial_fit(rng.random((50, 3)) @ H)
        >>> bool(nmf.loss_history_[-1] < 1e-2)
        True
        """
        begun = hasattr(self, "components_")
        self._check_parameters()
        views: Any = self._views(X, reset=not begun)
        online = getattr(self, "_online", None)
        start = None if begun else self._start(views, W, H)
        if online is None and begun:
            online = with_components(
                self._coupled(len(self.components_), None), {_VIEW: self.components_}, {_VIEW: 1.0}
            )
            online.n_iter_, online.n_passes_ = 0, 0.0
        elif online is None:
            online = self._coupled(self._n_components, self._init_for(views))
        online.set_params(forget_factor=self.forget_factor, n_threads=self.n_threads)
        with alone():
            online.partial_fit(views, H=None if start is None else {_VIEW: start})
        self._online = online
        self._learn(online)
        return self

    def transform(self, X: Any) -> Factor:
        """Solve W for X, with H fixed.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Non-negative values.

        Returns
        -------
        array of shape (n_samples, n_components)
            The exact minimiser of the objective over W.
        """
        check_is_fitted(self)
        self._check_parameters()
        return like(self._encode(self._views(X, reset=False), self.components_), X)

    def inverse_transform(self, X: Any) -> Factor:
        """Give back data for W.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_components)
            W.

        Returns
        -------
        array of shape (n_samples, n_features)
            ``X @ components_``.
        """
        check_is_fitted(self)
        W = check_array(to_host(X).values, accept_sparse=("csr", "csc"), input_name="X")
        if W.shape[1] != len(self.components_):
            raise ValueError(
                f"X has {W.shape[1]} features, but NMF.inverse_transform is expecting "
                f"{len(self.components_)} features as input, one a component"
            )
        return like(W @ self.components_, X)

    @property
    def _n_features_out(self) -> int:
        return int(self.components_.shape[0])

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.positive_only = True
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def _check_parameters(self) -> None:
        self._validate_params()
        if self.solver != "cd":
            raise ValueError(
                f"solver={self.solver!r} is scikit-learn's multiplicative update, which cofactor "
                "does not have: use solver='cd', which is solved exactly here, or sklearn's NMF"
            )
        if self.beta_loss not in ("frobenius", 2):
            raise ValueError(
                f"Invalid beta_loss parameter: solver {self.solver!r} does not handle beta_loss = "
                f"{self.beta_loss!r}; use 'frobenius', or sklearn's NMF with solver='mu'"
            )

    def _fit(self, X: Any, W: Any = None, H: Any = None) -> npt.NDArray[Any]:
        self._check_parameters()
        views = self._views(X, reset=True)
        coupled = self._fit_coupled(views, self._start(views, W, H))
        self._online = None
        self._learn(coupled)
        return coupled.W_

    def _learn(self, coupled: CoupledNMF) -> None:
        self.components_ = coupled.components_[_VIEW]
        self.n_components_ = len(self.components_)
        self.reconstruction_err_ = coupled.reconstruction_err_
        self.n_iter_ = coupled.n_iter_
        self.loss_history_ = coupled.loss_history_

    def _views(self, X: Any, *, reset: bool) -> Views:
        """Check X and know its statistics."""
        host = to_host(X)
        # Values are checked while the statistics are found, which takes one read of X and no more.
        values = validate_data(
            self, host.values, reset=reset, accept_sparse="csr", dtype="numeric",
            ensure_all_finite=False,
        )  # fmt: skip
        views = view_of_matrix(_VIEW, values, host.dtype, self.n_threads)
        views = views.with_statistics(self.n_threads)
        _, minimum, n_nonfinite = views.statistics(_VIEW)
        if n_nonfinite:
            assert_all_finite(values, input_name="X", estimator_name="NMF")
            raise ValueError(f"Input X contains NaN or infinity ({n_nonfinite} values).")
        if minimum < 0:
            raise ValueError(
                f"Negative values in data passed to NMF (input X): the minimum is {minimum:.6g}; "
                "non-negative factorization needs values of at least 0"
            )
        return views

    def _start(self, views: Views, W: Any, H: Any) -> npt.NDArray[Any] | None:
        """Resolve `n_components`, and give the H that the caller starts with, if any."""
        n, d = views.n_examples, views.n_columns[_VIEW]
        self._n_components = d
        if isinstance(self.n_components, Integral):
            self._n_components = int(self.n_components)
        if self.init != "custom":
            if W is not None or H is not None:
                warnings.warn(
                    "When init!='custom', provided W or H are ignored. Set init='custom' to use "
                    "them as initialization.",
                    RuntimeWarning,
                    stacklevel=4,
                )
            return None
        if self.n_components == "auto" and np.ndim(to_host(H).values) == 2:
            self._n_components = len(H)
        start = _check_factor(H, (self._n_components, d), "NMF (input H)")
        _check_factor(W, (n, self._n_components), "NMF (input W)")
        return start

    def _coupled(self, n_components: int, init: Init | None) -> CoupledNMF:
        return CoupledNMF(
            n_components,
            init=init,
            max_iter=self.max_iter,
            tol=self.tol / 100,
            random_state=self.random_state,
            device=self.device,
            compute=self.compute,
            alpha_W=self.alpha_W,
            alpha_H=self.alpha_H,
            l1_ratio=self.l1_ratio,
            n_threads=self.n_threads,
            callback=_print_event if self.verbose else None,
        )

    def _init_for(self, views: Views) -> Init:
        if self.init is not None and self.init != "custom":
            return self.init
        fits = self._n_components <= min(views.n_examples, views.n_columns[_VIEW])
        return "nndsvda" if fits else "random"

    def _fit_coupled(self, views: Any, start: npt.NDArray[Any] | None) -> CoupledNMF:
        coupled = self._coupled(self._n_components, self._init_for(views))
        with warnings.catch_warnings(), alone():
            # Said below, where the caller's line is known.
            warnings.simplefilter("ignore", ConvergenceWarning)
            coupled.fit(views, H=None if start is None else {_VIEW: start})
        if coupled.stop_reason_ == "max_iter" and self.tol > 0:
            warnings.warn(
                f"Maximum number of iterations {self.max_iter} reached. Increase it to improve "
                "convergence.",
                ConvergenceWarning,
                stacklevel=4,
            )
        return coupled

    def _encode(self, views: Any, H: npt.NDArray[Any]) -> npt.NDArray[Any]:
        coupled = with_components(self._coupled(len(H), None), {_VIEW: H}, {_VIEW: 1.0})
        with alone():
            W: npt.NDArray[Any] = coupled.transform(views)
        return W

    def _encode_with(self, X: Any, H: Any) -> Factor:
        """Check X and the H of a caller, and solve W for it."""
        self._check_parameters()
        views = self._views(X, reset=True)
        n_features = views.n_columns[_VIEW]
        rank = "auto" if self.n_components == "auto" else self.n_components or n_features
        fixed = _check_factor(H, (rank, n_features), "NMF (input H)")
        return like(self._encode(views, fixed), X)


def _check_factor(factor: Any, shape: tuple[int | str, int | str], whom: str) -> npt.NDArray[Any]:
    """Check a factor that a caller gives, in the words of scikit-learn."""
    if factor is None:
        raise ValueError(f"Array passed to {whom} is missing; expected one of shape {shape}.")
    A = check_array(to_host(factor, whom).values, input_name=whom)
    for axis, name in enumerate(("first", "second")):
        if shape[axis] not in ("auto", A.shape[axis]):
            raise ValueError(
                f"Array with wrong {name} dimension passed to {whom}. Expected {shape[axis]}, "
                f"but got {A.shape[axis]}."
            )
    check_non_negative(A, whom)
    if np.max(A) == 0:
        raise ValueError(f"Array passed to {whom} is full of zeros.")
    return np.asarray(A, dtype=np.float32 if A.dtype == np.float32 else np.float64)


def _print_event(event: FitEvent) -> None:
    taken_back = "" if event.accepted else ", taken back"
    print(f"pass {event.iteration}: relative loss {event.loss:.6g}{taken_back}")
