"""Images from directories, `.npz` files and loaders."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray

from cofactor.datasets import ImageSource, load_images

if TYPE_CHECKING:
    from conftest import Cifar100

Array = NDArray[Any]


def pictures(n: int, height: int = 6, width: int = 5, channels: int = 3) -> NDArray[np.uint8]:
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (n, height, width, channels), dtype=np.uint8)


def collected(source: ImageSource) -> tuple[Array, Array | None]:
    """Put the batches together."""
    batches = list(source)
    assert len(batches) == len(source)
    labels = [labels for _, labels in batches if labels is not None]
    return np.concatenate([b for b, _ in batches]), np.concatenate(labels) if labels else None


def write_npz(path: Path, **arrays: Any) -> Path:
    np.savez(path / "d.npz", **arrays)
    return path / "d.npz"


# .npz


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("layout", ["last", "first"])
def test_npz_is_read_channels_first(tmp_path: Path, channels: int, layout: str) -> None:
    images = pictures(7, channels=channels)
    expected = images.transpose(0, 3, 1, 2)
    path = write_npz(tmp_path, images=images if layout == "last" else expected)
    source = load_images(path, batch_size=3)
    first, _ = next(iter(source))
    assert first.dtype == np.uint8
    assert first.flags.c_contiguous
    got, labels = collected(source)
    np.testing.assert_array_equal(got, expected)
    assert labels is None
    assert source.n_examples == 7
    assert source.attributes == {}
    np.testing.assert_array_equal(collected(source)[0], expected)  # a second time


def test_npz_of_grey_images(tmp_path: Path) -> None:
    images = pictures(4)[..., 0]
    got, _ = collected(load_images(write_npz(tmp_path, images=images)))
    np.testing.assert_array_equal(got[:, 0], images)


def test_npz_labels_and_names(tmp_path: Path) -> None:
    labels = np.array([2, 0, 1, 1, 0], np.uint8)
    path = write_npz(
        tmp_path,
        images=pictures(5),
        labels=labels,
        class_names=np.array(["a", "b", "c"]),
        superclass_of_class=np.array([0, 1, 1]),
        superclass_names=np.array(["x", "y"]),
    )
    source = load_images(path, batch_size=2)
    got = collected(source)[1]
    assert got is not None
    assert got.dtype == np.int64
    np.testing.assert_array_equal(got, labels)
    assert source.attributes == {
        "class_names": ["a", "b", "c"],
        "superclass_of_class": [0, 1, 1],
        "superclass_names": ["x", "y"],
    }
    assert repr(source) == "<ImageSource: 5 images, 3 classes>"


def test_max_examples_are_spread_over_sorted_data(tmp_path: Path) -> None:
    labels = np.repeat(np.arange(5), 20)
    images = np.broadcast_to(labels[:, None, None].astype(np.uint8), (100, 2, 2))
    source = load_images(write_npz(tmp_path, images=images, labels=labels), max_examples=10)
    got, kept = collected(source)
    np.testing.assert_array_equal(kept, np.repeat(np.arange(5), 2))
    np.testing.assert_array_equal(got[:, 0, 0, 0], kept)
    more = load_images(write_npz(tmp_path, images=images), max_examples=1000)
    assert more.n_examples == 100


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"pictures": pictures(2)}, "has no array 'images', only pictures"),
        ({"images": pictures(2) / 255}, "must be uint8 .* got float64"),
        ({"images": pictures(2, channels=5)}, r"got \(2, 6, 5, 5\)$"),
        ({"images": pictures(2, 3, 5)}, "can be read in two ways"),
        ({"images": pictures(2)[0, 0]}, r"got \(5, 3\)"),
        ({"images": pictures(0)}, "is empty"),
        ({"images": pictures(2), "labels": np.zeros(3, int)}, "2 images and 3 labels"),
        ({"images": pictures(2), "labels": np.zeros(2)}, "class indices .* got float64"),
        ({"images": pictures(2), "labels": np.array([0, -1])}, "class indices"),
        (
            {"images": pictures(2), "labels": np.array([0, 3]), "class_names": ["a", "b"]},
            "labels in .* go up to 3, there are 2 classes",
        ),
        (
            {"images": pictures(2), "class_names": ["a"], "superclass_of_class": [0, 0]},
            "needs 2 class_names, there are 1",
        ),
        (
            {"images": pictures(2), "superclass_of_class": [0, 4], "superclass_names": ["a"]},
            "needs 5 superclass_names, there are 1",
        ),
        ({"images": np.array([None])}, "allow_pickle=False"),
    ],
)
def test_npz_of_another_form(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_images(write_npz(tmp_path, **arrays))


def test_npz_that_is_not_one(tmp_path: Path) -> None:
    (tmp_path / "d.npz").write_bytes(b"PK\x03\x04 and nothing")
    with pytest.raises(ValueError, match=r"d\.npz is not a readable \.npz file"):
        load_images(tmp_path / "d.npz")


def test_the_shared_images(cifar100: Cifar100) -> None:
    source = load_images(cifar100.npz, max_examples=8)
    images, labels = next(iter(source))
    assert images.shape == (8, 3, 32, 32)
    np.testing.assert_array_equal(labels, cifar100.labels[::1250])
    assert len(source.attributes["superclass_of_class"]) == 100


# Directories


def write_png(path: Path, image: Array) -> None:
    image_module = pytest.importorskip("PIL.Image", reason="images are read by Pillow")
    path.parent.mkdir(parents=True, exist_ok=True)
    image_module.fromarray(image).save(path)


def test_a_folder_for_every_class(tmp_path: Path) -> None:
    images = pictures(5)
    names = ["cat/1.png", "cat/deep/2.PNG", "dog/1.png", "dog/2.png", "dog/3.png"]
    for name, image in zip(names, images, strict=True):
        write_png(tmp_path / name, image)
    (tmp_path / "bird").mkdir()
    (tmp_path / "cat" / "notes.txt").write_text("not an image")
    (tmp_path / ".cache").mkdir()
    source = load_images(tmp_path, batch_size=2)
    got, labels = collected(source)
    np.testing.assert_array_equal(got, images.transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(labels, [1, 1, 2, 2, 2])
    assert source.attributes == {"class_names": ["bird", "cat", "dog"]}
    got, labels = collected(load_images(tmp_path, max_examples=2))
    np.testing.assert_array_equal(labels, [1, 2])


def test_images_alone_have_no_labels(tmp_path: Path) -> None:
    grey = pictures(3)[..., 0]
    for number, image in enumerate(grey):
        write_png(tmp_path / f"{number}.png", image)
    source = load_images(str(tmp_path))
    got, labels = collected(source)
    assert labels is None
    np.testing.assert_array_equal(got, np.stack([grey] * 3, axis=1))


def test_sizes_that_differ_need_image_size(tmp_path: Path) -> None:
    write_png(tmp_path / "a.png", pictures(1, 8, 8)[0])
    write_png(tmp_path / "b.png", pictures(1, 12, 20)[0])
    with pytest.raises(ValueError, match=r"b\.png is 20x12, .*a\.png is 8x8; give image_size"):
        list(load_images(tmp_path, batch_size=1))
    images, _ = collected(load_images(tmp_path, image_size=4))
    assert images.shape == (2, 3, 4, 4)


def test_image_size_cuts_the_middle(tmp_path: Path) -> None:
    images = np.zeros((1, 5, 15, 3), np.uint8)
    images[:, :, 5:10] = 200
    got, _ = collected(load_images(write_npz(tmp_path, images=images), image_size=5))
    assert (got == 200).all()
    grey, _ = collected(load_images(write_npz(tmp_path, images=images[..., 0]), image_size=2))
    assert grey.shape == (1, 1, 2, 2)


def test_a_file_that_is_no_image_is_named(tmp_path: Path) -> None:
    write_png(tmp_path / "a.png", pictures(1)[0])
    (tmp_path / "b.png").write_bytes(b"text")
    with pytest.raises(ValueError, match=r"b\.png cannot be read as an image"):
        list(load_images(tmp_path))
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes()[:60])
    with pytest.raises(ValueError, match=r"b\.png cannot be read as an image"):
        list(load_images(tmp_path))
    write_png(tmp_path / "b.png", np.zeros((6, 5), np.uint16))
    with pytest.raises(ValueError, match=r"b\.png has more than 8 bits"):
        list(load_images(tmp_path))


def test_directories_of_another_form(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no images"):
        load_images(tmp_path)
    write_png(tmp_path / "a.png", pictures(1)[0])
    (tmp_path / "cat").mkdir()
    with pytest.raises(ValueError, match=r"both images \(a\.png, \.\.\.\) and folders \(cat"):
        load_images(tmp_path)


# Loaders


@pytest.fixture
def loaders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Write a module with loaders into the current directory."""
    (tmp_path / "users_loaders.py").write_text(
        "import numpy as np\n"
        "class Data(list):\n"
        "    classes = ['a', 'b']\n"
        "class Loader:\n"
        "    dataset = Data(range(6))\n"
        "    def __len__(self): return 2\n"
        "    def __iter__(self):\n"
        "        for at in (0, 3):\n"
        "            yield [np.full((3, 1, 2, 2), at, np.uint8), np.arange(at, at + 3)]\n"
        "def bare(): return [np.zeros((2, 1, 2, 2), np.uint8)]\n"
        "def mappings(): return [{'image': np.zeros((2, 1, 2, 2), np.uint8)}] * 2\n"
        "ready = [np.ones((2, 1, 2, 2), np.uint8)]\n"
        "def once(): return iter([])\n"
        "def nothing(): return None\n"
        "number = 5\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "users_loaders", raising=False)
    return "users_loaders"


def test_a_loader_is_passed_on(loaders: str) -> None:
    source = load_images(f"{loaders}:Loader")
    images, labels = collected(source)
    assert images.shape == (6, 1, 2, 2)
    np.testing.assert_array_equal(labels, np.arange(6))
    assert source.n_examples == 6
    assert source.attributes == {"class_names": ["a", "b"]}
    assert [labels for _, labels in load_images(f"{loaders}:bare")] == [None]
    assert [images.sum() for images, _ in load_images(f"{loaders}:ready")] == [8]
    assert [list(batch) for batch in load_images(f"{loaders}:mappings")] == [["image"]] * 2


def test_the_first_examples_of_a_loader(loaders: str) -> None:
    source = load_images(f"{loaders}:Loader", max_examples=4)
    assert source.n_examples == 4
    assert len(source.dataset or ()) == 4
    batches = list(source)
    assert [len(images) for images, _ in batches] == [3, 1]
    assert [len(labels) for _, labels in batches] == [3, 1]
    cut = load_images(f"{loaders}:mappings", max_examples=3)
    assert cut.n_examples is None
    assert [len(batch["image"]) for batch in cut] == [2, 1]


@pytest.mark.parametrize(
    ("spec", "options", "error", "message"),
    [
        ("{}:once", {}, TypeError, "gives a list_iterator; a loader that can be iterated"),
        ("{}:nothing", {}, TypeError, "gives a NoneType"),
        ("{}:number", {}, TypeError, "gives a int; a loader"),
        ("{}:absent", {}, ValueError, "has no attribute 'absent'"),
        ("{}:Loader", {"image_size": 4}, ValueError, "image_size is for files"),
        ("{}:Loader", {"batch_size": 0}, ValueError, "batch_size must be at least 1"),
        ("no_such_folder", {}, FileNotFoundError, "no directory or .npz file no_such_folder"),
        ("{}.py", {}, ValueError, "neither a directory nor an .npz file"),
    ],
)
def test_specs_that_name_no_images(
    loaders: str, spec: str, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        load_images(spec.format(loaders), **options)
