"""One latent space for a network's inputs, its examples and its neurons.

`capture` streams a network's activations to an `ActivationStore`, `CoupledNMF` factorizes all of
its views together, `Concepts` reads the result and `report` shows it.
"""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from ._errors import MissingExtraError, StoreError
from .capture import capture
from .report import report
from .store import ActivationStore

if TYPE_CHECKING:
    from ._cuda import cuda_info
    from ._sklearn_function import non_negative_factorization
    from ._sklearn_nmf import NMF
    from .concepts import Concepts
    from .many import ManyFits, fit_many
    from .nmf import CoupledNMF, FitEvent, load

__version__ = version("cofactor")

__all__ = [
    "NMF",
    "ActivationStore",
    "Concepts",
    "CoupledNMF",
    "FitEvent",
    "ManyFits",
    "MissingExtraError",
    "StoreError",
    "__version__",
    "capture",
    "cuda_info",
    "fit_many",
    "load",
    "non_negative_factorization",
    "report",
]

# What needs scikit-learn is imported when it is first asked for: `cofactor --help` stays quick.
_LAZY = {
    "Concepts": "concepts",
    "CoupledNMF": "nmf",
    "FitEvent": "nmf",
    "ManyFits": "many",
    "NMF": "_sklearn_nmf",
    "cuda_info": "_cuda",
    "fit_many": "many",
    "load": "nmf",
    "non_negative_factorization": "_sklearn_function",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        value = getattr(import_module(f".{_LAZY[name]}", __name__), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
