"""Networks by name and their weights."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="models need torch")

from safetensors.torch import save_file  # noqa: E402

from cofactor.models import load_model, load_weights, resnet18  # noqa: E402

if TYPE_CHECKING:
    from conftest import Cifar100


def small(**kwargs: Any) -> Any:
    return resnet18(**{"num_classes": 10, "width": 4, **kwargs})


def test_the_trained_weights_reach_their_accuracy(cifar100: Cifar100) -> None:
    model = load_model("cofactor:resnet18", cifar100.weights).eval()
    assert next(model.parameters()).dtype == torch.float32
    images = torch.from_numpy(cifar100.images[:1000]).permute(0, 3, 1, 2).float() / 255
    mean = torch.tensor([0.5071, 0.4865, 0.4409]).view(3, 1, 1)
    std = torch.tensor([0.2673, 0.2564, 0.2762]).view(3, 1, 1)
    with torch.inference_mode():
        logits = torch.cat([model(batch) for batch in ((images - mean) / std).split(250)])
    accuracy = (logits.argmax(1).numpy() == cifar100.labels[:1000]).mean()
    assert 0.67 < accuracy < 0.73


def test_shapes_of_the_stages() -> None:
    shapes = {}
    model = resnet18(width=8).eval()
    for name in ("layer1", "layer2", "layer3", "layer4", "avgpool"):
        model.get_submodule(name).register_forward_hook(
            lambda module, args, output, name=name: shapes.update({name: tuple(output.shape[1:])})
        )
    assert model(torch.zeros(1, 3, 32, 32)).shape == (1, 100)
    assert shapes == {
        "layer1": (8, 32, 32),
        "layer2": (16, 16, 16),
        "layer3": (32, 8, 8),
        "layer4": (64, 4, 4),
        "avgpool": (64, 1, 1),
    }


def test_the_model_can_be_copied_and_pickled() -> None:
    model = small()
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(twin.fc.weight, model.fc.weight)


@pytest.mark.parametrize("name", ["num_classes", "width", "in_channels"])
def test_sizes_must_be_positive(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        small(**{name: 0})


def test_weights_are_cast_and_counters_may_be_missing(tmp_path: Path) -> None:
    trained = small()
    state = {
        name: value.half()
        for name, value in trained.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    save_file(state, tmp_path / "w.safetensors")
    model: Any = load_weights(small().double(), tmp_path / "w.safetensors")
    assert model.fc.weight.dtype == torch.float64
    assert torch.equal(model.fc.weight, trained.fc.weight.half().double())


@pytest.mark.parametrize("wrap", [None, "state_dict", "model_state_dict", "model"])
def test_checkpoints_of_torch_save(tmp_path: Path, wrap: str | None) -> None:
    trained = small()
    state: dict[str, Any] = trained.state_dict()
    if wrap:
        state = {wrap: {f"module.{name}": value for name, value in state.items()}, "epoch": 3}
    torch.save(state, tmp_path / "w.pt")
    model: Any = load_weights(small(), tmp_path / "w.pt")
    assert torch.equal(model.fc.weight, trained.fc.weight)


def test_names_and_shapes_that_differ_are_listed(tmp_path: Path) -> None:
    state = small(num_classes=7).state_dict()
    del state["layer1.0.conv1.weight"]
    state["head.weight"] = torch.zeros(1)
    torch.save(state, tmp_path / "w.pt")
    with pytest.raises(ValueError, match="do not fit ResNet18") as caught:
        load_weights(small(), tmp_path / "w.pt")
    message = str(caught.value)
    assert "1 missing: layer1.0.conv1.weight" in message
    assert "1 unexpected: head.weight" in message
    assert "2 of another shape: fc.weight (file (7, 32), model (10, 32))" in message


def test_a_long_list_of_names_is_cut(tmp_path: Path) -> None:
    save_file({}, tmp_path / "w.safetensors")
    with pytest.raises(ValueError, match=r"102 missing: conv1.weight, .*, \.\.\.$") as caught:
        load_weights(small(), tmp_path / "w.safetensors")
    assert len(str(caught.value)) < 300


class NotPlain:
    """An object that a safe reader must not build."""


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("w.safetensors", b"no header", "not a readable safetensors file"),
        ("w.pt", b"no pickle", "no plain tensors"),
        ("w.pt", b"", "no plain tensors"),
        ("w.pt", NotPlain(), "no plain tensors"),
        ("w.pt", [1, 2], "no state dict"),
        ("w.pt", {"epoch": 3}, "no state dict"),
    ],
)
def test_files_that_are_not_weights(
    tmp_path: Path, name: str, content: object, message: str
) -> None:
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    with pytest.raises(ValueError, match=message):
        load_weights(small(), path)


def test_a_missing_file() -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no weights file nowhere\.pt"):
        load_weights(small(), "nowhere.pt")


@pytest.fixture
def user_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Write a module of the user's own into the current directory."""
    (tmp_path / "users_own.py").write_text(
        "from torch import nn\n"
        "def build(size=2): return nn.Linear(size, 3)\n"
        "ready = nn.Identity()\n"
        "def wrong(): return 5\n"
        "number = 5\n"
    )
    (tmp_path / "users_broken.py").write_text("import users_missing_dependency\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "users_own", raising=False)
    return "users_own"


def test_a_callable_or_model_from_the_current_directory(user_module: str) -> None:
    assert load_model(f"{user_module}:build", size=5).in_features == 5
    assert isinstance(load_model(f"{user_module}:ready"), torch.nn.Identity)


@pytest.mark.parametrize(
    ("spec", "kwargs", "error", "message"),
    [
        ("{}:wrong", {}, TypeError, "returned a int, not a torch.nn.Module"),
        ("{}:number", {}, TypeError, "is of type int, neither model nor callable"),
        ("{}:ready", {"size": 1}, TypeError, "takes no arguments"),
        ("{}:absent", {}, ValueError, "has no attribute 'absent'"),
        ("no_such_package.models:build", {}, ValueError, "there is no module 'no_such_package"),
        ("users_broken:build", {}, ImportError, "users_missing_dependency"),
        (":build", {}, ValueError, "does not have the form"),
        ("{}:build", {"weights": "pretrained"}, ValueError, "torchvision or timm"),
        ("no_such_network", {"weights": "pretrained"}, ValueError, "tried torchvision.*timm"),
    ],
)
def test_specs_that_name_no_model(
    user_module: str, spec: str, kwargs: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        load_model(spec.format(user_module), **kwargs)


def test_a_library_model_needs_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name == "timm")
    monkeypatch.setattr("cofactor.models._has_model", lambda library, name: True)
    with pytest.raises(ValueError, match="'resnet50' of timm would have random weights"):
        load_model("resnet50")


def test_importing_models_needs_no_torch() -> None:
    check = "import sys, cofactor.models; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0


def test_outputs_do_not_depend_on_the_batch() -> None:
    model = small().eval()
    images = torch.from_numpy(np.random.default_rng(0).random((3, 3, 32, 32), dtype=np.float32))
    torch.testing.assert_close(model(images)[1:2], model(images[1:2]))
