"""Capture: the activations are those of the model, which is left as it was."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from cofactor._errors import MissingExtraError, require
from cofactor.capture import capture
from cofactor.store import StoreError
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


class TestLayers:
    @pytest.mark.parametrize("dtype", ["float16", "float32"])
    def test_activations(self, model: Net, raw: Any, tmp_path: Path, dtype: str) -> None:
        layers = ["avgpool", "relu", "conv1", "conv2"]
        store = capture(model, batches(raw), layers, dtype=dtype, out=tmp_path / "acts")
        assert list(store.views) == ["avgpool", "relu", "relu_1", "conv1", "conv2"]
        assert store.views["avgpool"].shape == (4, 1, 1)
        assert store.views["relu_1"].shape == (4, 4, 4)
        values = expected(model, raw.float() / 255)
        for name in store.views:
            np.testing.assert_allclose(store.read(name), values[name], atol=2e-3)
        assert store.views["conv1"].minimum is not None
        assert store.views["conv1"].minimum < 0
        assert store.columns["labels"].tolist() == list(range(10))
        np.testing.assert_array_equal(store.columns["predictions"], values["fc"].argmax(1))
        assert store.attributes == {"model": "Net", "layers": layers}

    @pytest.mark.parametrize(
        ("layers", "names"),
        [
            ("conv?", ["conv1", "conv2"]),
            (["fc", "conv*"], ["fc", "conv1", "conv2"]),
            (["conv2", "conv*"], ["conv2", "conv1"]),
            (lambda name, module: isinstance(module, nn.Linear), ["fc"]),
            ([lambda name, module: name.startswith("c"), "fc"], ["conv1", "conv2", "fc"]),
            ("output", ["output"]),
        ],
    )
    def test_ways_to_name(
        self, model: Net, raw: Any, tmp_path: Path, layers: Any, names: list[str]
    ) -> None:
        assert list(capture(model, [raw], layers, out=tmp_path / "acts").views) == names

    def test_modules(self, model: Net, raw: Any, tmp_path: Path) -> None:
        store = capture(model, [raw], [model.fc, model], out=tmp_path / "acts")
        assert list(store.views) == ["fc", "output"]
        np.testing.assert_array_equal(store.read("fc"), store.read("output"))

    @pytest.mark.parametrize(
        ("layers", "error", "message"),
        [
            (["conv1", "conv3"], ValueError, "'conv3' matches no module of Net; nearest: conv"),
            ("blocks.*", ValueError, "'blocks.\\*' matches no module of Net; nearest: "),
            (nn.ReLU(), ValueError, "a module ReLU was given as layer that is not in Net"),
            (lambda name, module: False, ValueError, "callable .* is true for no module of Net"),
            ([3], TypeError, "given as int, expected a name or pattern, a module, or a callable"),
            ([], ValueError, "layers is empty"),
            (["fc", "unused"], ValueError, "layers unused did not run in the model's forward"),
        ],
    )
    def test_wrong_layers(
        self,
        model: Net,
        raw: Any,
        tmp_path: Path,
        layers: Any,
        error: type[Exception],
        message: str,
    ) -> None:
        with pytest.raises(error, match=message):
            capture(model, [raw], layers, out=tmp_path / "acts")
        assert not (tmp_path / "acts").exists()

    def test_outputs_that_are_no_tensor(self, raw: Any, tmp_path: Path) -> None:
        class Apply(nn.Module):
            def __init__(self, function: Callable[[Any], Any]) -> None:
                super().__init__()
                self.function = function

            def forward(self, x: Any) -> Any:
                return self.function(x)

        model = nn.Sequential(Apply(lambda x: (x * 2, "aux")), Apply(lambda x: x[0].sum((2, 3))))
        store = capture(model, [raw], ["0"], out=tmp_path / "acts")
        np.testing.assert_allclose(store.read("0"), raw.flatten(1) * (2 / 255), rtol=1e-3)
        for function, error, message in (
            (
                lambda x: {"a": x},
                TypeError,
                "'0' \\(Apply\\) returns dict with the keys a, expected",
            ),
            (lambda x: x.to(torch.complex64), TypeError, "returns torch.complex64"),
            (lambda x: x.flatten(0, 1), ValueError, "shape \\(30, 8, 8\\) for a batch of 10"),
        ):
            with pytest.raises(error, match=message):
                capture(nn.Sequential(Apply(function)), [raw], ["0"], out=tmp_path / "no")

    def test_names_that_meet(self, raw: Any, tmp_path: Path) -> None:
        class Twice(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.a, self.a_1 = nn.ReLU(), nn.Sigmoid()

            def forward(self, x: Any) -> Any:
                return self.a_1(self.a(self.a(x)))

        with pytest.raises(ValueError, match="view 'a_1' would hold the outputs of two modules"):
            capture(Twice(), [raw], ["a", "a_1"], out=tmp_path / "acts")


class TestDtypes:
    def test_by_name(self, model: Net, raw: Any, tmp_path: Path) -> None:
        dtypes = {"conv1": "bfloat16", "relu_1": "float32"}
        store = capture(model, [raw], ["conv1", "relu"], dtype=dtypes, out=tmp_path / "acts")
        assert {view.name: view.dtype for view in store.views.values()} == {
            "conv1": "bfloat16",
            "relu": "float16",
            "relu_1": "float32",
        }
        with torch.no_grad():
            rounded = model.conv1(raw.float() / 255).bfloat16().float().flatten(1)
        np.testing.assert_array_equal(store.read("conv1"), rounded)

    @pytest.mark.parametrize("damage", [None, np.nan, np.inf])
    def test_overflow(self, model: Net, raw: Any, tmp_path: Path, damage: float | None) -> None:
        scaled = nn.Sequential(nn.Flatten(), nn.Linear(192, 2))
        with torch.no_grad():
            scaled[1].weight.fill_(0)
            scaled[1].bias.copy_(torch.tensor([-70000.0, 1.0 if damage is None else damage]))
        with pytest.raises(StoreError, match=r"'1': a value of magnitude 70000 .* as bfloat16"):
            capture(scaled, [raw], ["1"], out=tmp_path / "acts")
        store = capture(scaled, [raw], ["1"], dtype="bfloat16", out=tmp_path / "acts")
        assert store.views["1"].n_nonfinite == (0 if damage is None else 10)
        assert store.views["1"].minimum == pytest.approx(-70000, rel=2**-8)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"dtype": "uint8"}, "dtype is 'uint8', expected one of float16, bfloat16"),
            ({"dtype": {"fc": "int8"}}, "dtype of 'fc' is 'int8', expected one of float16"),
            ({"dtype": {"fd": "float32"}}, "dtype names the view 'fd', which .* nearest: fc"),
            ({"pool": {"fd": "avg"}}, "pool names the view 'fd'"),
            ({"pool": "sum"}, "pool is 'sum', expected 'avg', 'max', None or \\(height, width\\)"),
            ({"pool": {"fc": "max"}}, "'fc' returns shape \\(10, 5\\), which pool='max' cannot"),
        ],
    )
    def test_wrong_options(
        self, model: Net, raw: Any, tmp_path: Path, options: Any, message: str
    ) -> None:
        with pytest.raises(ValueError, match=message):
            capture(model, [raw], ["fc"], out=tmp_path / "acts", **options)

    def test_pool(self, model: Net, raw: Any, tmp_path: Path) -> None:
        layers = ["conv1", "fc"]
        full = capture(model, [raw], layers, dtype="float32", out=tmp_path / "full")
        maps = full.read("conv1").reshape(10, 4, 36)
        for pool in ("avg", {"conv1": "avg"}, {"conv1": "max"}):
            store = capture(
                model, [raw], layers, dtype="float32", pool=pool, overwrite=True, out=tmp_path / "p"
            )
            assert store.views["conv1"].shape == (4,)
            pooled = maps.max(2) if pool == {"conv1": "max"} else maps.mean(2)
            np.testing.assert_allclose(store.read("conv1"), pooled, rtol=1e-5, atol=1e-6)
            assert store.views["fc"].shape == (5,)

    def test_channels_last_is_stored_by_channel(self, model: Net, raw: Any, tmp_path: Path) -> None:
        model = model.to(memory_format=torch.channels_last)
        images = (raw.float() / 255).contiguous(memory_format=torch.channels_last)
        store = capture(model, [images], ["conv1"], out=tmp_path / "acts")
        values = expected(model, images)["conv1"]
        np.testing.assert_allclose(store.read("conv1"), values, atol=2e-3)

    def test_half_precision_model(self, model: Net, raw: Any, tmp_path: Path) -> None:
        store = capture(model.bfloat16(), [raw], ["relu"], dtype="bfloat16", out=tmp_path / "acts")
        with torch.no_grad():
            values = model.conv1((raw.float() / 255).bfloat16()).relu().float().flatten(1)
        np.testing.assert_allclose(store.read("relu"), values, rtol=1e-2, atol=1e-2)


class TestModel:
    def test_is_left_as_it_was(self, model: Net, raw: Any, tmp_path: Path) -> None:
        model.train()
        model.conv2.eval()
        before = {name: module.training for name, module in model.named_modules()}
        seen: list[Any] = []
        model.fc.register_forward_hook(lambda *_: seen.append(model.training))

        def broken() -> Iterator[Any]:
            yield raw
            raise RuntimeError("no more")

        capture(model, [raw], ["fc"], out=tmp_path / "a")
        with pytest.raises(RuntimeError, match="no more"):
            capture(model, broken(), ["fc"], out=tmp_path / "b")
        assert {name: module.training for name, module in model.named_modules()} == before
        assert seen == [False, False]
        assert len(model.fc._forward_hooks) == 1
        assert not model.conv1._forward_hooks

    def test_can_train_with_what_the_loader_yielded(
        self, model: Net, raw: Any, tmp_path: Path
    ) -> None:
        kept: list[Any] = []

        def loader() -> Iterator[Any]:
            kept.append(raw.float() / 255)
            yield kept[0]

        capture(model, loader(), ["fc"], out=tmp_path / "acts")
        model(kept[0]).sum().backward()
        assert model.conv1.weight.grad is not None

    def test_stops_after_the_last_layer(self, model: Net, raw: Any, tmp_path: Path) -> None:
        store = capture(
            model, batches(raw, 2), ["relu", "conv1"], predictions=False, out=tmp_path / "acts"
        )
        assert model.head_runs == 1
        assert list(store.columns) == ["labels"]
        values = expected(model, raw.float() / 255)
        np.testing.assert_allclose(store.read("relu_1"), values["relu_1"], atol=2e-3)

    def test_pixels_alone_need_one_forward(self, model: Net, raw: Any, tmp_path: Path) -> None:
        options = {"pixels": True, "predictions": False}
        capture(model, batches(raw, 2), [], out=tmp_path / "acts", **options)
        assert model.head_runs == 1

    def test_device(self, model: Net, raw: Any, tmp_path: Path) -> None:
        store = capture(model, [raw], ["fc"], device="cpu", out=tmp_path / "acts")
        assert len(store) == 10
        assert model.fc.weight.device.type == "cpu"


class TestOutput:
    def test_same_capture_same_bytes(self, model: Net, raw: Any, tmp_path: Path) -> None:
        first, second = (
            capture(model, batches(raw), ["conv1"], out=tmp_path / name) for name in "ab"
        )
        assert first.fingerprint == second.fingerprint

    def test_source_fingerprint(self, model: Net, raw: Any, tmp_path: Path) -> None:
        def source(**options: Any) -> str | None:
            options = {"layers": ["conv1"], "overwrite": True} | options
            return capture(model, [raw], out=tmp_path / "acts", **options).source_fingerprint

        first = source()
        assert first is not None
        assert source() == first
        others = [source(layers=["fc"]), source(pool="max"), source(pixels=True)]
        with torch.no_grad():
            model.fc.bias[0] += 1
        others.append(source())
        assert len({first, *others}) == 5

    def test_attributes(self, model: Net, raw: Any, tmp_path: Path) -> None:
        attributes = {"class_names": ["a", "b"], "model": "mine"}
        store = capture(model, [raw], ["fc"], attributes=attributes, out=tmp_path / "acts")
        assert store.attributes == {"class_names": ["a", "b"], "model": "mine", "layers": ["fc"]}

    def test_taken_path_is_found_before_the_network_runs(
        self, model: Net, raw: Any, tmp_path: Path
    ) -> None:
        capture(model, [raw], ["fc"], out=tmp_path / "acts")
        with pytest.raises(StoreError, match="a store of 10 examples is here already"):
            capture(model, [raw], ["fc"], out=tmp_path / "acts")
        assert model.head_runs == 1
        capture(model, batches(raw), ["fc"], out=tmp_path / "acts", overwrite=True)

    def test_full_disk(
        self, model: Net, raw: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=100))
        message = "12 examples of 1 views need 120 bytes, but 100 bytes are free; choose another"
        with pytest.raises(StoreError, match=message):
            capture(model, batches(raw), ["fc"], out=tmp_path / "deep" / "acts")
        assert not (tmp_path / "deep").exists()
        capture(model, iter(batches(raw)), ["fc"], out=tmp_path / "unknown")

    def test_progress(
        self,
        model: Net,
        raw: Any,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        pytest.importorskip("rich")
        capture(model, batches(raw), ["fc"], out=tmp_path / "a")
        assert "/a: 12 examples of 1 views need about 120 bytes; " in capsys.readouterr().err
        capture(model, iter(batches(raw)), ["fc"], out=tmp_path / "u")
        assert "/u: 10 bytes for each example of a loader that does" in capsys.readouterr().err
        monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
        monkeypatch.setenv("TERM", "xterm")
        capture(model, batches(raw), ["fc"], out=tmp_path / "b")
        shown = capsys.readouterr()
        assert "need about 120 bytes" in shown.err
        assert "images/s" in shown.err
        assert shown.out == ""
        capture(model, batches(raw), ["fc"], progress=False, out=tmp_path / "c")
        assert capsys.readouterr().err == ""


class TestExtra:
    def test_missing(self) -> None:
        message = (
            "capture needs no_torch, which is not installed; "
            r"install it with: pip install 'cofactor\[capture\]'"
        )
        with pytest.raises(MissingExtraError, match=message):
            require("no_torch", "capture", "capture")

    def test_broken(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "broken_extra.py").write_text("import no_such_dependency\n")
        monkeypatch.syspath_prepend(tmp_path)
        with pytest.raises(ModuleNotFoundError, match="no_such_dependency") as caught:
            require("broken_extra", "capture", "capture")
        assert not isinstance(caught.value, MissingExtraError)

    def test_capture_without_torch(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "torch", None)
        with pytest.raises(MissingExtraError, match="capture needs torch, which is not installed"):
            capture(None, [], [], out=tmp_path)
