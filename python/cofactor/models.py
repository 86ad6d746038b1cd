"""Networks by name: the project's own ResNet-18, and whatever a model spec points at.

torch is imported when a function here is called, not before.
"""

from __future__ import annotations

import importlib.util
import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cofactor._errors import require
from cofactor._importing import import_object

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn

__all__ = ["build_model", "load_model", "load_weights", "resnet18"]

PRETRAINED = "pretrained"
_NAMED_AT_MOST = 4


def resnet18(num_classes: int = 100, width: int = 64, in_channels: int = 3) -> nn.Module:
    """Build a ResNet-18 of the CIFAR form, with random weights.

    A 3x3 stem of stride 1 without max pooling, then four stages of two basic blocks each, of
    `width`, 2, 4 and 8 times `width` channels and strides 1, 2, 2, 2 (He et al.,
    arXiv:1512.03385, with the stem that is usual for 32x32 images). For 32x32 images at the
    default width, `layer3` gives 256 x 8 x 8, `layer4` 512 x 4 x 4 and `avgpool` 512 x 1 x 1.

    Parameters
    ----------
    num_classes : int
        Number of outputs of `fc`.
    width : int
        Channels of the first stage.
    in_channels : int
        Channels of the images.

    Returns
    -------
    torch.nn.Module
        Maps float images (n, in_channels, h, w) to logits (n, num_classes).

    Raises
    ------
    ValueError
        If an argument is not positive.
    MissingExtraError
        If torch is absent.

    Examples
    --------
    >>> import torch
    >>> model = resnet18(num_classes=10, width=8, in_channels=1).eval()
    >>> tuple(model(torch.zeros(2, 1, 32, 32)).shape)
    (2, 10)
    """
    for name, value in [
        ("num_classes", num_classes),
        ("width", width),
        ("in_channels", in_channels),
    ]:
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    require("torch", "capture", "cofactor.models")
    from cofactor._resnet import ResNet18

    return ResNet18(num_classes, width, in_channels)


def load_weights(model: nn.Module, path: str | Path) -> nn.Module:
    """Read weights from a file into `model`, cast to the dtype that the model has.

    Parameters
    ----------
    model : torch.nn.Module
        Changed in place.
    path : str or Path
        A safetensors file (``.safetensors``), or a state dict written by ``torch.save``, read
        with ``weights_only=True``. A checkpoint that holds the state dict under ``state_dict``,
        ``model_state_dict`` or ``model`` is opened, and the ``module.`` that data-parallel
        training puts before every name is removed.

    Returns
    -------
    torch.nn.Module
        `model` itself.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file cannot be read as weights, or its names or shapes are not the model's.
        Only ``num_batches_tracked``, which evaluation never reads, may be missing.

    Examples
    --------
    >>> import tempfile, torch
    >>> trained = resnet18(num_classes=10, width=8)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     torch.save(trained.state_dict(), f"{folder}/weights.pt")
    ...     model = load_weights(resnet18(num_classes=10, width=8), f"{folder}/weights.pt")
    >>> bool((model.fc.weight == trained.fc.weight).all())
    True
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no weights file {path}")
    require("torch", "capture", "loading weights")
    state = _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)
    differences = _differences(model.state_dict(), state)
    if differences:
        raise ValueError(
            f"the weights in {path} do not fit {type(model).__name__}: {'; '.join(differences)}"
        )
    model.load_state_dict(state, strict=False)
    return model


def load_model(spec: str, weights: str | Path | None = None, **kwargs: Any) -> nn.Module:
    """Build the model that `spec` names and load its weights.

    Parameters
    ----------
    spec : str
        ``module:callable``, imported from the current directory or the Python path and called
        with `kwargs` (a ``module:model`` that already is a model is taken as it is);
        ``cofactor:resnet18``, short for ``cofactor.models:resnet18``; or the name of a model in
        torchvision, else in timm, where they are installed.
    weights : str, Path or None
        A file for `load_weights`. ``"pretrained"`` asks torchvision or timm for the weights that
        they publish. None keeps the weights that the callable gives; a torchvision or timm name
        needs one of the other two, since it would be random otherwise.
    **kwargs
        Handed to what builds the model.

    Returns
    -------
    torch.nn.Module
        On the CPU, in the mode that its builder left it in.

    Raises
    ------
    ValueError
        If `spec` names nothing that is found (the message says what was tried), or the weights
        do not fit.
    TypeError
        If `spec` names something that is not a model and does not return one.
    FileNotFoundError
        If `weights` is not a file.
    MissingExtraError
        If torch is absent.

    Examples
    --------
    >>> model = load_model("cofactor:resnet18", num_classes=10, width=8)
    >>> model.fc.out_features
    10
    """
    require("torch", "capture", "loading a model")
    if ":" not in spec:
        library = _library_of(spec)
        if weights is None:
            raise ValueError(
                f"{spec!r} of {library} would have random weights: give a weights file, or "
                f"{PRETRAINED!r} for the weights that {library} publishes"
            )
        model = _library_model(library, spec, weights == PRETRAINED, kwargs)
        return model if weights == PRETRAINED else load_weights(model, weights)
    if weights == PRETRAINED:
        raise ValueError(
            f"weights={PRETRAINED!r} needs the name of a torchvision or timm model; "
            f"{spec!r} is a Python object: give a weights file or let it load its own"
        )
    model = build_model(spec, **kwargs)
    return model if weights is None else load_weights(model, weights)


def build_model(spec: str, **kwargs: Any) -> nn.Module:
    """Build the model that `spec` names, with the weights that building gives it.

    Parameters
    ----------
    spec : str
        As for `load_model`; a model of torchvision or timm has random weights.
    **kwargs
        Handed to what builds the model.

    Returns
    -------
    torch.nn.Module
        On the CPU, in the mode that its builder left it in.

    Raises
    ------
    ValueError, TypeError, MissingExtraError
        As `load_model` does.

    Examples
    --------
    >>> build_model("cofactor:resnet18", num_classes=10, width=8).fc.out_features
    10
    """
    require("torch", "capture", "building a model")
    if ":" not in spec:
        return _library_model(_library_of(spec), spec, False, kwargs)
    package, _, name = spec.partition(":")
    return _built_model(f"cofactor.models:{name}" if package == "cofactor" else spec, kwargs)


def _built_model(spec: str, kwargs: Mapping[str, Any]) -> nn.Module:
    from torch import nn

    built = import_object(spec)
    if isinstance(built, nn.Module):
        if kwargs:
            raise TypeError(f"{spec!r} is a model already and takes no arguments: {dict(kwargs)}")
        return built
    if not callable(built):
        raise TypeError(f"{spec!r} is of type {type(built).__name__}, neither model nor callable")
    model = built(**kwargs)
    if not isinstance(model, nn.Module):
        raise TypeError(f"{spec!r} returned a {type(model).__name__}, not a torch.nn.Module")
    return model


def _library_of(name: str) -> str:
    """Return which library has a model."""
    installed = [lib for lib in ("torchvision", "timm") if importlib.util.find_spec(lib)]
    library = next((lib for lib in installed if _has_model(lib, name)), None)
    if library is None:
        tried = " and ".join(
            f"{lib} ({'no such model' if lib in installed else 'not installed'})"
            for lib in ("torchvision", "timm")
        )
        raise ValueError(
            f"there is no model {name!r}: tried {tried}; "
            "a Python object is named as module:callable, ours as cofactor:resnet18"
        )
    return library


def _library_model(
    library: str, name: str, pretrained: bool, kwargs: Mapping[str, Any]
) -> nn.Module:
    """Build a torchvision or timm model."""
    if library == "torchvision":
        from torchvision.models import get_model

        model: nn.Module = get_model(name, weights="DEFAULT" if pretrained else None, **kwargs)
        return model
    from timm import create_model

    made: nn.Module = create_model(name, pretrained=pretrained, **kwargs)
    return made


def _has_model(library: str, name: str) -> bool:
    if library == "torchvision":
        from torchvision.models import list_models

        return name in list_models()
    from timm import is_model

    return bool(is_model(name))


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        state: dict[str, Tensor] = load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path} is not a readable safetensors file: {error}") from error
    return state


def _read_torch(path: Path) -> dict[str, Tensor]:
    import torch

    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise ValueError(
            f"{path} holds no plain tensors: save model.state_dict(), as a safetensors file or "
            "with torch.save"
        ) from error
    for key in ("state_dict", "model_state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
            break
    if not isinstance(content, dict) or not all(
        isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in content.items()
    ):
        raise ValueError(f"{path} holds no state dict (parameter name -> tensor)")
    if content and all(name.startswith("module.") for name in content):
        content = {name.removeprefix("module."): value for name, value in content.items()}
    return content


def _differences(expected: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> list[str]:
    """Say how the names and shapes of `given` differ from those of the model."""
    missing = [
        name
        for name in expected
        if name not in given and name.split(".")[-1] != "num_batches_tracked"
    ]
    unexpected = [name for name in given if name not in expected]
    mismatched = [
        f"{name} (file {tuple(given[name].shape)}, model {tuple(value.shape)})"
        for name, value in expected.items()
        if name in given and given[name].shape != value.shape
    ]
    parts = [("missing", missing), ("unexpected", unexpected), ("of another shape", mismatched)]
    return [f"{len(names)} {what}: {_some(names)}" for what, names in parts if names]


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:_NAMED_AT_MOST])
    return shown if len(names) <= _NAMED_AT_MOST else f"{shown}, ..."
