"""Capture: what loaders may yield, and the pixels that are kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cofactor.capture import capture
from cofactor.store import ActivationStore, StoreError
from small_network import MEAN, STD, Net, batches, expected, normalised, seeded

torch = pytest.importorskip("torch")
nn = torch.nn


@pytest.fixture
def model() -> Net:
    torch.manual_seed(0)
    return Net()


@pytest.fixture
def raw() -> Any:
    return torch.randint(0, 256, (10, 3, 8, 8), dtype=torch.uint8, generator=seeded())


class TestLoader:
    @pytest.mark.parametrize("key", ["images", "image", "pixel_values", "x", "input"])
    @pytest.mark.parametrize("label", ["labels", "label", "y", "target"])
    def test_mappings(self, model: Net, raw: Any, tmp_path: Path, key: str, label: str) -> None:
        batch = {key: raw, label: list("abcdefghij")}
        store = capture(model, [batch], ["fc"], out=tmp_path / "acts")
        assert "".join(store.columns["labels"].tolist()) == "abcdefghij"

    def test_data_loader(self, model: Net, raw: Any, tmp_path: Path) -> None:
        data = torch.utils.data.TensorDataset(raw, torch.arange(10), torch.arange(10))
        loader = torch.utils.data.DataLoader(data, batch_size=3)
        store = capture(model, loader, ["fc"], out=tmp_path / "acts")
        assert store.columns["labels"].tolist() == list(range(10))

    def test_arrays_without_labels(self, model: Net, raw: Any, tmp_path: Path) -> None:
        store = capture(model, [raw.numpy(), (raw,)], ["fc"], out=tmp_path / "acts")
        assert list(store.columns) == ["predictions"]
        assert len(store) == 20

    def test_loader_that_reuses_its_memory(self, model: Net, tmp_path: Path) -> None:
        def loader() -> Iterator[tuple[Any, Any]]:
            images = torch.empty(600, 1, 2, 2, dtype=torch.uint8)
            labels = torch.empty(600, dtype=torch.int64)
            for i in range(4):
                images.fill_(i)
                labels.fill_(i)
                yield images, labels

        network = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
        store = capture(network, loader(), ["1"], pixels=True, out=tmp_path / "acts")
        labels = store.columns["labels"]
        assert labels.tolist() == np.repeat(range(4), 600).tolist()
        np.testing.assert_array_equal(np.vstack(store.chunks("input.0"))[:, 0], labels)

    def test_max_examples(self, model: Net, raw: Any, tmp_path: Path) -> None:
        store = capture(model, iter(batches(raw)), ["fc"], max_examples=6, out=tmp_path / "acts")
        assert store.columns["labels"].tolist() == list(range(6))
        with pytest.raises(ValueError, match="max_examples is 0, expected a positive number"):
            capture(model, [raw], ["fc"], max_examples=0, out=tmp_path / "no")

    @pytest.mark.parametrize(
        ("batch", "error", "message"),
        [
            ({"picture": 1}, TypeError, "keys \\['picture'\\], expected one of images, image, pix"),
            ("text", TypeError, "images of type str, expected a tensor"),
            ((torch.zeros(2, 3, 8, 8), [1]), ValueError, "2 images with 1 labels; expected one"),
            ((torch.zeros(2, 3, 8, 8), {"a": 1}), TypeError, "labels of type dict, expected an"),
            ((torch.zeros(2, 3, 8, 8), [[1], [1, 2]]), TypeError, "labels of type list"),
        ],
    )
    def test_wrong_batches(
        self, model: Net, tmp_path: Path, batch: Any, error: type[Exception], message: str
    ) -> None:
        with pytest.raises(error, match=message):
            capture(model, [batch], ["fc"], out=tmp_path / "acts")

    def test_no_batches(self, model: Net, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="the loader yields no images"):
            capture(model, [], ["fc"], out=tmp_path / "acts")

    def test_images_of_another_size(self, model: Net, raw: Any, tmp_path: Path) -> None:
        with pytest.raises(StoreError, match=r"'conv1': block has shape \(10, 4, 5, 6\), expected"):
            capture(model, [raw, raw[..., :7, :]], ["conv1"], out=tmp_path / "acts")
        with pytest.raises(StoreError, match="the store is incomplete"):
            ActivationStore(tmp_path / "acts")


class TestPixels:
    def check_exact(self, store: ActivationStore, raw: Any) -> None:
        for channel in range(3):
            view = store.views[f"input.{channel}"]
            assert (view.shape, view.dtype, view.scale) == ((8, 8), "uint8", 1 / 255)
            codes = np.vstack(store.chunks(view.name))
            np.testing.assert_array_equal(codes, raw[:, channel].flatten(1))

    def test_uint8_is_normalised_for_the_model(self, model: Net, raw: Any, tmp_path: Path) -> None:
        options = {"pixels": True, "normalize": (MEAN, STD)}
        store = capture(model, batches(raw), ["fc"], out=tmp_path / "acts", **options)
        assert list(store.views) == ["input.0", "input.1", "input.2", "fc"]
        self.check_exact(store, raw)
        values = expected(model, normalised(raw))
        np.testing.assert_allclose(store.read("fc"), values["fc"], atol=2e-3)

    def test_normalised_floats_are_undone(self, model: Net, raw: Any, tmp_path: Path) -> None:
        options = {"pixels": True, "normalize": (MEAN, STD)}
        images = normalised(raw)
        store = capture(model, batches(images), ["fc"], out=tmp_path / "acts", **options)
        self.check_exact(store, raw)
        values = expected(model, images)
        np.testing.assert_allclose(store.read("fc"), values["fc"], atol=2e-3)

    def test_floats_that_were_bytes(self, model: Net, raw: Any, tmp_path: Path) -> None:
        store = capture(model, [raw.double() / 255], [], pixels=True, out=tmp_path / "acts")
        self.check_exact(store, raw)

    def test_floats_between_bytes(self, model: Net, tmp_path: Path) -> None:
        images = torch.rand(10, 3, 8, 8, generator=seeded())
        store = capture(
            model, [images], ["fc"], pixels=True, dtype={"input.2": "float32"}, out=tmp_path / "a"
        )
        assert [view.dtype for view in store.views.values()] == [
            "float16",
            "float16",
            "float32",
            "float16",
        ]
        np.testing.assert_array_equal(store.read("input.2"), images[:, 2].flatten(1))
        with pytest.raises(StoreError, match=r"'input.0': value .* is not k \* 0.0039.*as float16"):
            capture(
                model, [(images * 255).round() / 255, images], [], pixels=True, out=tmp_path / "b"
            )

    def test_normalised_half_precision(self, model: Net, raw: Any, tmp_path: Path) -> None:
        images = normalised(raw).half()
        options = {"pixels": True, "normalize": (MEAN, STD)}
        store = capture(model, [images], [], out=tmp_path / "acts", **options)
        pixels = raw[:, 0].flatten(1).numpy() / 255
        np.testing.assert_allclose(store.read("input.0"), pixels, atol=2e-3)
        assert store.views["input.0"].minimum is not None
        assert store.views["input.0"].minimum >= 0

    def test_uint8_in_another_dtype(self, model: Net, raw: Any, tmp_path: Path) -> None:
        store = capture(
            model, [raw], [], pixels=True, dtype={"input.0": "float32"}, out=tmp_path / "acts"
        )
        np.testing.assert_allclose(store.read("input.0"), raw[:, 0].flatten(1) / 255, rtol=1e-6)

    @pytest.mark.parametrize(
        ("change", "normalize", "message"),
        [
            (
                lambda raw: raw.float(),
                None,
                "uint8 images, or floats in \\[0, 1\\].* floats from 0",
            ),
            (lambda raw: raw / 255 - 0.5, None, "the images are floats from -0.5 to 0.5"),
            (lambda raw: raw / 255 * torch.nan, None, "floats from nan to nan"),
            (lambda raw: 2 * normalised(raw), (MEAN, STD), "are, with normalize undone, floats f"),
            (lambda raw: raw / 255, (MEAN, STD), "images are k / 255 as if nothing was normalized"),
            (lambda raw: normalised(raw), (MEAN[:2], STD), "normalize has 2 numbers for images of"),
            (lambda raw: raw.long(), None, "dtype torch.int64; expected \\(examples, channels"),
            (lambda raw: raw[:, 0], None, "shape \\(10, 8, 8\\) and dtype torch.uint8; expected"),
            (lambda raw: raw, ((0.5,), (0.0,)), "expected finite means and positive std"),
            (lambda raw: raw, 0.5, "normalize is 0.5, expected \\(mean, std\\)"),
            (lambda raw: raw, (MEAN, "x"), "expected \\(mean, std\\), each a number"),
        ],
    )
    def test_wrong_images(
        self,
        model: Net,
        raw: Any,
        tmp_path: Path,
        change: Callable[[Any], Any],
        normalize: Any,
        message: str,
    ) -> None:
        images = change(raw)
        with pytest.raises(ValueError, match=message):
            capture(model, [images], [], pixels=True, normalize=normalize, out=tmp_path / "acts")

    def test_names_that_meet(self, raw: Any, tmp_path: Path) -> None:
        model = nn.ModuleDict({"input": nn.Sequential(nn.Flatten())})
        model.forward = model["input"].forward
        with pytest.raises(ValueError, match=r"the views input.0 are layers and, by pixels=True"):
            capture(model, [raw], ["input.0"], pixels=True, out=tmp_path / "acts")
