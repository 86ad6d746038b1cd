"""Images for the command line: a directory, an `.npz` file, or a loader of the user's own."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sized
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cofactor._errors import require
from cofactor._images import ArrayBatches, FileBatches, FirstExamples
from cofactor._importing import import_object

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

__all__ = ["ImageSource", "load_images"]

_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
_CHANNELS = (1, 3, 4)


class ImageSource:
    """Batches of images and labels that can be iterated any number of times.

    Iterating gives pairs (images, labels). From files, images is a uint8 array (n, channels,
    height, width) and labels an int64 array (n,), or None where there are none. From a loader of
    the user's own, both are what it gives, and batches that are mappings stay so. `len` is the
    number of batches, as of a torch `DataLoader`.

    Parameters
    ----------
    batches : iterable
        Gives pairs (images, labels), images alone, or mappings.
    n_examples : int, optional
        Number of images, where it is known.
    attributes : mapping, optional
        What is known of the classes: lists `class_names`, `superclass_of_class` (an index into
        the next, one per class) and `superclass_names`.

    Attributes
    ----------
    n_examples : int or None
        As given.
    attributes : dict
        As given.
    dataset : range or None
        Its length is `n_examples`, as that of a `DataLoader`'s data set is.

    Examples
    --------
    >>> source = ImageSource([(np.zeros((2, 3, 8, 8), np.uint8), None)], n_examples=2)
    >>> len(source), [images.shape for images, labels in source]
    (1, [(2, 3, 8, 8)])
    """

    def __init__(
        self,
        batches: Iterable[Any],
        *,
        n_examples: int | None = None,
        attributes: Mapping[str, list[Any]] | None = None,
    ) -> None:
        self._batches = batches
        self.n_examples = n_examples
        self.attributes = dict(attributes or {})
        self.dataset = None if n_examples is None else range(n_examples)

    @property
    def wrapped(self) -> Iterable[Any]:
        """What gives the batches."""
        return self._batches

    def skip_to(self, example: int) -> tuple[int, ImageSource] | None:
        """Return the source of the batches from that of an example on, and how many are before it.

        None for a loader of the user's own, which has to be read from its beginning.
        """
        if not isinstance(self._batches, (ArrayBatches, FileBatches)):
            return None
        first, batches = self._batches.skip_to(example)
        return first, ImageSource(batches)

    def __len__(self) -> int:
        """Return the number of batches; a TypeError where the loader has no length."""
        return len(self._batches)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[Any]:
        """Yield (images, labels)."""
        for batch in self._batches:
            if isinstance(batch, (tuple, list)):
                yield batch[0], batch[1] if len(batch) > 1 else None
            elif isinstance(batch, Mapping):
                yield batch
            else:
                yield batch, None

    def __repr__(self) -> str:
        """Return the number of images and of classes."""
        count = "an unknown number of" if self.n_examples is None else f"{self.n_examples:,}"
        classes = len(self.attributes.get("class_names", []))
        return f"<ImageSource: {count} images" + (f", {classes} classes>" if classes else ">")


def load_images(
    spec: str | Path,
    *,
    batch_size: int = 256,
    max_examples: int | None = None,
    image_size: int | None = None,
) -> ImageSource:
    """Open the images that `spec` names; files are read while iterating.

    Parameters
    ----------
    spec : str or Path
        - A directory. Every folder in it is a class, named so and numbered in sorted order, and
          holds images at any depth; or it holds images alone, without labels. Files are read by
          Pillow as RGB.
        - An ``.npz`` file with `images`, uint8 (n, h, w, c), (n, c, h, w) or (n, h, w), and
          optionally `labels` (n,), `class_names`, `superclass_of_class` and `superclass_names`.
        - ``module:callable``, imported from the current directory or the Python path and called
          without arguments; it returns a loader, such as a torch `DataLoader`.
    batch_size : int
        Images in a batch; a loader has its own.
    max_examples : int, optional
        At most so many images: spread evenly over the files or rows, which are often sorted by
        class; the first ones of a loader.
    image_size : int, optional
        Resize the shorter side to this and cut the centre square; without it, images must have
        one size. Not for a loader.

    Returns
    -------
    ImageSource
        Batches and what is known of the classes.

    Raises
    ------
    FileNotFoundError
        If `spec` is neither a file, nor a directory, nor of the form ``module:callable``.
    ValueError
        If there are no images, or arrays have another shape or dtype than said. A file that
        cannot be read, or is of another size than the first, raises it while iterating.
    TypeError
        If a loader is no iterable, or can be iterated once alone.
    MissingExtraError
        If Pillow is needed and absent.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.savez(Path(folder, "d.npz"), images=np.zeros((5, 8, 8, 3), np.uint8))
    ...     [images.shape for images, _ in load_images(f"{folder}/d.npz", batch_size=4)]
    [(4, 3, 8, 8), (1, 3, 8, 8)]
    """
    for name, value in [
        ("batch_size", batch_size),
        ("max_examples", max_examples),
        ("image_size", image_size),
    ]:
        if value is not None and value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    path = Path(spec)
    if path.is_dir():
        return _open_directory(path, batch_size, max_examples, image_size)
    if path.suffix == ".npz" and path.is_file():
        return _open_npz(path, batch_size, max_examples, image_size)
    if path.exists():
        raise ValueError(f"{path} is neither a directory nor an .npz file")
    if ":" not in str(spec):
        raise FileNotFoundError(
            f"there is no directory or .npz file {spec} (a loader is named as module:callable)"
        )
    if image_size is not None:
        raise ValueError(f"image_size is for files; {spec} is a loader with a size of its own")
    return _open_loader(str(spec), max_examples)


def _open_directory(
    path: Path, batch_size: int, max_examples: int | None, image_size: int | None
) -> ImageSource:
    require("PIL", "capture", "reading images from a directory")
    entries = sorted(entry for entry in path.iterdir() if not entry.name.startswith("."))
    folders = [entry for entry in entries if entry.is_dir()]
    files = [entry for entry in entries if _is_image(entry)]
    if files and folders:
        raise ValueError(
            f"{path} holds both images ({files[0].name}, ...) and folders ({folders[0].name}, "
            "...): give either a folder per class or images alone"
        )
    labels: list[int] = []
    for label, folder in enumerate(folders):
        found = sorted(file for file in folder.rglob("*") if _is_image(file))
        files += found
        labels += [label] * len(found)
    if not files:
        raise ValueError(f"{path} holds no images ({' '.join(_SUFFIXES)})")
    rows = _spread(len(files), max_examples)
    return ImageSource(
        FileBatches(
            [files[row] for row in rows],
            np.array(labels, dtype=np.int64)[rows] if folders else None,
            batch_size,
            image_size,
        ),
        n_examples=len(rows),
        attributes={"class_names": [folder.name for folder in folders]} if folders else None,
    )


def _open_npz(
    path: Path, batch_size: int, max_examples: int | None, image_size: int | None
) -> ImageSource:
    if image_size is not None:
        require("PIL", "capture", "resizing images")
    known = ("images", "labels", "class_names", "superclass_of_class", "superclass_names")
    try:
        # Opened here because numpy leaves a file open that turns out not to be a zip archive.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as content:
            if "images" not in content:
                raise ValueError(f"{path} has no array 'images', only {', '.join(content)}")
            arrays = {name: content[name] for name in known if name in content}
    except (zipfile.BadZipFile, EOFError) as error:
        raise ValueError(f"{path} is not a readable .npz file: {error}") from error
    images = _as_channels_first(path, arrays["images"])
    attributes = _class_attributes(path, arrays)
    labels = arrays.get("labels")
    if labels is not None:
        labels = _checked_labels(path, labels, len(images), attributes)
    rows = _spread(len(images), max_examples)
    if len(rows) < len(images):
        images, labels = images[rows], None if labels is None else labels[rows]
    return ImageSource(
        ArrayBatches(images, labels, batch_size, image_size),
        n_examples=len(images),
        attributes=attributes,
    )


def _open_loader(spec: str, max_examples: int | None) -> ImageSource:
    named = import_object(spec)
    loader: Any = named() if callable(named) else named
    if not hasattr(loader, "__iter__") or hasattr(loader, "__next__"):
        raise TypeError(
            f"{spec!r} gives a {type(loader).__name__}; a loader that can be iterated from the "
            "start, such as a torch DataLoader, is needed"
        )
    dataset = getattr(loader, "dataset", None)
    n_examples = len(dataset) if isinstance(dataset, Sized) else None
    names = getattr(dataset, "classes", None)
    attributes = getattr(loader, "attributes", None)
    if not attributes and names is not None:
        attributes = {"class_names": [str(name) for name in names]}
    if max_examples is not None and (n_examples is None or n_examples > max_examples):
        count = None if n_examples is None else max_examples
        loader = FirstExamples(loader, max_examples)
        return ImageSource(loader, n_examples=count, attributes=attributes)
    return ImageSource(loader, n_examples=n_examples, attributes=attributes)


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in _SUFFIXES and path.is_file() and not path.name.startswith(".")


def _spread(n: int, at_most: int | None) -> NDArray[np.int64]:
    """Return at most so many row numbers below n, spread evenly."""
    count = n if at_most is None else min(n, at_most)
    return np.arange(count, dtype=np.int64) * n // count


def _as_channels_first(path: Path, images: NDArray[Any]) -> NDArray[np.uint8]:
    """Return (n, c, h, w), as a view."""
    if images.dtype != np.uint8:
        raise ValueError(f"images in {path} must be uint8 (0 to 255), got {images.dtype}")
    if len(images) == 0:
        raise ValueError(f"images in {path} is empty")
    if images.ndim == 3:
        return images[:, None]
    first, last = (images.ndim == 4 and images.shape[axis] in _CHANNELS for axis in (1, 3))
    if first == last:
        raise ValueError(
            f"images in {path} must have shape (n, h, w, c), (n, c, h, w) or (n, h, w) with c of "
            f"1, 3 or 4, got {images.shape}" + (", which can be read in two ways" if first else "")
        )
    return images if first else np.moveaxis(images, 3, 1)


def _class_attributes(path: Path, arrays: Mapping[str, NDArray[Any]]) -> dict[str, list[Any]]:
    attributes: dict[str, list[Any]] = {
        name: [str(text) for text in arrays[name]]
        for name in ("class_names", "superclass_names")
        if name in arrays
    }
    if "superclass_of_class" in arrays:
        groups = _whole_numbers(path, "superclass_of_class", arrays["superclass_of_class"])
        for name, expected in [
            ("class_names", len(groups)),
            ("superclass_names", int(groups.max(initial=-1)) + 1),
        ]:
            given = len(attributes.get(name, range(expected)))
            if given < expected or (name == "class_names" and given != expected):
                raise ValueError(
                    f"superclass_of_class in {path} needs {expected} {name}, there are {given}"
                )
        attributes["superclass_of_class"] = groups.tolist()
    return attributes


def _checked_labels(
    path: Path, labels: NDArray[Any], n: int, attributes: Mapping[str, list[Any]]
) -> NDArray[np.int64]:
    checked = _whole_numbers(path, "labels", labels)
    if len(checked) != n:
        raise ValueError(f"{path} holds {n} images and {len(checked)} labels")
    classes = attributes.get("class_names", attributes.get("superclass_of_class"))
    if classes is not None and checked.max() >= len(classes):
        raise ValueError(
            f"labels in {path} go up to {checked.max()}, there are {len(classes)} classes"
        )
    return checked


def _whole_numbers(path: Path, name: str, values: NDArray[Any]) -> NDArray[np.int64]:
    if values.ndim != 1 or values.dtype.kind not in "iu" or (values < 0).any():
        raise ValueError(
            f"{name} in {path} must be one row of class indices (0, 1, ...), "
            f"got {values.dtype} of shape {values.shape}"
        )
    return values.astype(np.int64)
