"""Capture: what is made of a layer's output before it is stored, and how it gets to the host."""

from __future__ import annotations

from collections import namedtuple
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from cofactor.capture import capture, describe_layers
from cofactor.store import ActivationStore
from small_network import Net, batches, expected, seeded

torch = pytest.importorskip("torch")
nn = torch.nn


@pytest.fixture
def model() -> Net:
    torch.manual_seed(0)
    return Net()


@pytest.fixture
def raw() -> Any:
    return torch.randint(0, 256, (10, 3, 8, 8), dtype=torch.uint8, generator=seeded())


def run(model: Any, loader: Any, layers: Any, out: Path, **options: Any) -> ActivationStore:
    return capture(model, loader, layers, out=out, progress=False, **options)


class TestPool:
    @pytest.mark.parametrize("pool", [(2, 3), {"conv1": (2, 3)}, {"conv1": [2, 3]}])
    def test_to_a_smaller_map(self, model: Net, raw: Any, tmp_path: Path, pool: Any) -> None:
        store = run(model, [raw], ["conv1", "fc"], tmp_path / "a", pool=pool, dtype="float32")
        assert store.views["conv1"].shape == (4, 2, 3)
        with torch.no_grad():
            maps = model.conv1(raw.float() / 255)
        areas = maps.reshape(10, 4, 2, 3, 3, 2).mean((3, 5)).flatten(1)
        np.testing.assert_allclose(store.read("conv1"), areas, rtol=1e-5, atol=1e-6)
        assert store.views["fc"].shape == (5,)

    @pytest.mark.parametrize("pool", ["avg", "max", (3, 3)])
    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
    def test_other_precisions(self, raw: Any, tmp_path: Path, pool: Any, dtype: Any) -> None:
        model = nn.Sequential(nn.ReLU()).to(dtype)
        images = (raw.float() / 255).to(dtype)
        store = run(model, [images], ["0"], tmp_path / "a", pool=pool, dtype="float64")
        reference = run(model, [images.double()], ["0"], tmp_path / "b", pool=pool, dtype="float64")
        tolerance = {torch.float16: 2**-10, torch.bfloat16: 2**-7, torch.float64: 0}[dtype]
        np.testing.assert_allclose(store.read("0"), reference.read("0"), rtol=tolerance)

    @pytest.mark.parametrize("pool", [(0, 2), (2,), (2, 2, 2), (True, 2), 2, "sum"])
    def test_wrong(self, model: Net, raw: Any, tmp_path: Path, pool: Any) -> None:
        with pytest.raises(ValueError, match="expected 'avg', 'max', None or \\(height, width\\)"):
            run(model, [raw], ["conv1"], tmp_path / "a", pool=pool)


class TestPositions:
    def test_every_position_is_an_example(self, model: Net, raw: Any, tmp_path: Path) -> None:
        store = run(model, batches(raw), ["conv1"], tmp_path / "a", positions=True, dtype="float32")
        assert (len(store), store.views["conv1"].shape) == (10 * 36, (4,))
        with torch.no_grad():
            maps = model.conv1(raw.float() / 255).numpy()
        np.testing.assert_allclose(
            store.read("conv1"), maps.transpose(0, 2, 3, 1).reshape(-1, 4), rtol=1e-5, atol=1e-6
        )
        columns = store.columns
        assert columns["example"].tolist() == np.repeat(np.arange(10), 36).tolist()
        assert columns["position"].tolist() == np.tile(np.arange(36), 10).tolist()
        assert columns["labels"].tolist() == columns["example"].tolist()
        predicted = expected(model, raw.float() / 255)["fc"].argmax(1)
        assert columns["predictions"].tolist() == np.repeat(predicted, 36).tolist()
        assert store.attributes["positions"] == [6, 6]

    def test_of_tokens(self, raw: Any, tmp_path: Path) -> None:
        class Tokens(nn.Module):
            def forward(self, x: Any) -> Any:
                return x.flatten(2).transpose(1, 2)

        store = run(Tokens(), [raw], ["output"], tmp_path / "a", positions=True, dtype="float32")
        assert (len(store), store.views["output"].shape) == (640, (3,))
        assert store.attributes["positions"] == [64]
        np.testing.assert_array_equal(
            store.read("output"), (raw.float() / 255).permute(0, 2, 3, 1).reshape(-1, 3)
        )

    def test_of_one_position(self, model: Net, raw: Any, tmp_path: Path) -> None:
        store = run(model, batches(raw), ["avgpool"], tmp_path / "a", positions=True)
        assert (len(store), store.views["avgpool"].shape) == (10, (4,))
        assert store.columns["position"].tolist() == [0] * 10

    @pytest.mark.parametrize(
        ("layers", "options", "message"),
        [
            (["conv1", "conv2"], {}, "positions=True with 2 layers, expected one layer alone"),
            (["conv1"], {"pixels": True}, "with 1 layers and pixels=True, expected one layer"),
            (["relu"], {}, "with the views relu, relu_1, all calls of one module; expected a m"),
            (["fc"], {}, "'fc' returns shape \\(10, 5\\), which positions=True cannot take apart"),
            (["conv1"], {"pool": "avg"}, "pool is 'avg' with positions=True, which leaves no"),
        ],
    )
    def test_wrong(
        self,
        model: Net,
        raw: Any,
        tmp_path: Path,
        layers: list[str],
        options: dict[str, Any],
        message: str,
    ) -> None:
        with pytest.raises(ValueError, match=message):
            run(model, [raw], layers, tmp_path / "a", positions=True, **options)

    def test_images_of_another_size(self, model: Net, raw: Any, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=r"maps of \(6, 5\) positions after such of \(6, 6\)"):
            run(model, [raw, raw[..., :7]], ["conv1"], tmp_path / "a", positions=True)


Result = namedtuple("Result", "hidden attention")


class TestElement:
    @pytest.mark.parametrize(
        ("make", "element", "factor"),
        [
            (lambda x: (x, 2 * x), None, 1),
            (lambda x: (x, 2 * x), 1, 2),
            (lambda x: [x, "text", 3 * x], -1, 3),
            (lambda x: Result(x, 4 * x), 1, 4),
            (lambda x: {"a": x, "b": 5 * x}, "b", 5),
        ],
    )
    def test_of_outputs_that_are_several(
        self, raw: Any, tmp_path: Path, make: Any, element: Any, factor: int
    ) -> None:
        class Block(nn.Module):
            def forward(self, x: Any) -> Any:
                return make(x)

        class Model(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.block = Block()

            def forward(self, x: Any) -> Any:
                self.block(x)
                return x

        options = {} if element is None else {"element": {"block": element}}
        store = run(Model(), [raw], ["block"], tmp_path / "a", dtype="float32", **options)
        values = factor * (raw.float() / 255).flatten(1)
        np.testing.assert_array_equal(store.read("block"), values)

    @pytest.mark.parametrize(
        ("element", "error", "message"),
        [
            (
                {"output": 2},
                ValueError,
                "element of 'output' is 2, but Two returns tuple of Tensor",
            ),
            ({"output": "b"}, ValueError, "element of 'output' is 'b', but Two returns tuple of T"),
            (
                {"output": 1},
                TypeError,
                "returns tuple of Tensor, str, expected .* with element={'o",
            ),
            ({"block": 1}, ValueError, "element names the view 'block', which is not captured"),
            ({"output": 1.5}, ValueError, "element of 'output' is 1.5, expected an index or a key"),
            (1, ValueError, "element is 1, expected a mapping from view"),
        ],
    )
    def test_wrong(
        self, raw: Any, tmp_path: Path, element: Any, error: type[Exception], message: str
    ) -> None:
        class Two(nn.Module):
            def forward(self, x: Any) -> Any:
                return x, "text"

        with pytest.raises(error, match=message):
            run(Two(), [raw], ["output"], tmp_path / "a", element=element)


class TestNegative:
    def test_is_kept_with_the_view(self, model: Net, raw: Any, tmp_path: Path) -> None:
        negative = {"conv1": "split", "fc": "shift"}
        options = {"pixels": True, "dtype": "float32"}
        layers = ["conv1", "relu", "fc"]
        store = run(model, [raw], layers, tmp_path / "a", negative=negative, **options)
        assert [view.negative for view in store.views.values()] == [
            *[None] * 3,
            "split",
            None,
            None,
            "shift",
        ]
        assert store.views["conv1"].shape == (8, 6, 6)
        plain = run(model, [raw], layers, tmp_path / "b", **options)
        signed = plain.read("conv1")
        split = np.hstack([np.maximum(signed, 0), np.maximum(-signed, 0)])
        np.testing.assert_array_equal(store.read("conv1"), split)

    def test_one_for_all_leaves_pixels_alone(self, model: Net, raw: Any, tmp_path: Path) -> None:
        store = run(model, [raw], ["conv1", "fc"], tmp_path / "a", pixels=True, negative="relu")
        assert {name for name, view in store.views.items() if view.negative} == {"conv1", "fc"}

    def test_wrong(self, model: Net, raw: Any, tmp_path: Path) -> None:
        for negative, message in (
            ("abs", "negative is 'abs', expected None or one of relu, shift, split"),
            ({"fd": "relu"}, "negative names the view 'fd', which is not captured; nearest: fc"),
        ):
            with pytest.raises(ValueError, match=message):
                run(model, [raw], ["fc"], tmp_path / "a", negative=negative)


class FakeStream:
    """A stream whose copies are made when somebody waits for them."""

    def __init__(self, log: list[str]) -> None:
        self.log = log

    def wait_stream(self, other: Any) -> None:
        self.log.append("wait")

    def record_event(self) -> Any:
        self.log.append("event")
        return SimpleNamespace(synchronize=lambda: self.log.append("synchronize"))


class FakeGpuTensor:
    """A tensor that says it is on a GPU."""

    device = torch.device("cuda", 0)

    def __init__(self, tensor: Any, log: list[str]) -> None:
        self.tensor, self.log = tensor, log
        self.nbytes, self.dtype, self.shape = tensor.nbytes, tensor.dtype, tensor.shape

    def detach(self) -> FakeGpuTensor:
        return self

    def record_stream(self, stream: Any) -> None:
        self.log.append("keep")


class TestTransfer:
    def test_from_a_gpu(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The order of the calls, since there may be no GPU here."""
        from cofactor._capture.transfer import HostCopies

        log: list[str] = []

        @contextmanager
        def on_stream(stream: Any) -> Any:
            log.append("copy")
            yield

        class Pinned:
            """Memory that takes the place of what torch would pin."""

            made = 0

            def __new__(cls, size: int, dtype: Any, pin_memory: bool) -> Any:
                assert pin_memory
                cls.made += 1
                return empty(size, dtype=dtype)

        empty = torch.empty
        monkeypatch.setattr(torch.cuda, "Stream", lambda device: FakeStream(log))
        monkeypatch.setattr(torch.cuda, "current_stream", lambda device: "the network's")
        monkeypatch.setattr(torch.cuda, "stream", on_stream)
        monkeypatch.setattr(torch, "empty", Pinned)
        monkeypatch.setattr(
            torch.Tensor,
            "copy_",
            lambda self, source, non_blocking: self.untyped_storage().copy_(
                source.tensor.contiguous().untyped_storage()
            ),
        )
        copies = HostCopies()
        first = copies.start(FakeGpuTensor(torch.arange(6.0).reshape(2, 3), log))
        assert log == ["wait", "copy", "event", "keep"]
        assert (first.shape, first.nbytes) == ((2, 3), 24)
        np.testing.assert_array_equal(first.wait(), np.arange(6.0).reshape(2, 3))
        assert log[4:] == ["synchronize"]
        second = copies.start(FakeGpuTensor(torch.ones(6), log))
        assert Pinned.made == 2, "what nobody has released must not be written over"
        np.testing.assert_array_equal(first.wait(), np.arange(6.0).reshape(2, 3))
        first.release()
        first.release()
        third = copies.start(FakeGpuTensor(torch.zeros(6), log))
        assert Pinned.made == 2
        np.testing.assert_array_equal(second.wait(), np.ones(6))
        np.testing.assert_array_equal(third.wait(), np.zeros(6))

    def test_from_the_host(self) -> None:
        from cofactor._capture.transfer import HostCopies

        copy = HostCopies().start(torch.tensor([[1.0, -2.0]], dtype=torch.bfloat16))
        assert copy.wait().tolist() == [[0x3F80, 0xC000]]


class TestDescription:
    def test_layers(self, model: Net, raw: Any) -> None:
        model.train()
        found = {layer.name: layer for layer in describe_layers(model, (raw, None))}
        assert list(found)[:4] == ["output", "conv1", "conv2", "relu"]
        assert found["relu_1"].shape == (4, 4, 4)
        assert found["relu_1"].is_nonnegative
        assert not found["conv1"].is_nonnegative
        assert found["conv1"].n_values == 144
        unused = found["unused"]
        assert (unused.returns, unused.shape, unused.is_nonnegative) == ("does not run", None, None)
        assert model.training
        assert not model.conv1._forward_hooks

    def test_outputs_that_are_no_tensor(self, raw: Any) -> None:
        class Two(nn.Module):
            def forward(self, x: Any) -> Any:
                return (x, x) if self.several else {"a": x}

        model = Two()
        for several, returns, shape in (
            (True, "3 x 8 x 8, first of 2", (3, 8, 8)),
            (False, "dict with the keys a", None),
        ):
            model.several = several
            (layer,) = describe_layers(model, raw)
            assert (layer.returns, layer.shape) == (returns, shape)
