"""Stores that were damaged or made to do harm: one clear error, naming the file."""

from __future__ import annotations

import io
import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cofactor.store import ActivationStore, StoreError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    views = {
        "a": {"shape": (2, 2), "dtype": "float16"},
        "b": {"shape": (3,), "dtype": "uint8", "scale": 0.5},
    }
    with ActivationStore.create(tmp_path / "acts", views, rows_per_shard=512) as writer:
        columns = {"labels": np.arange(600), "ids": np.array(["x", "yz"] * 300)}
        writer.append({"a": np.ones((600, 4)), "b": np.ones((600, 3), np.uint8)}, columns)
    return tmp_path / "acts"


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    file = path / "metadata.json"
    document = json.loads(file.read_text())
    change(document)
    file.write_text(json.dumps(document))


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("exploded",)


def rewrite(file: Path, array: Any, **options: Any) -> None:
    with file.open("wb") as stream:
        np.lib.format.write_array(stream, array, **options)


def huge_header(file: Path) -> None:
    header = b"{'descr': '<f2', 'fortran_order': False, 'shape': (" + b"(" * 3000 + b"), }"
    file.write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)


def misaligned(file: Path) -> None:
    content = file.read_bytes()
    header = content[10:127].rstrip()
    header += b" " * (len(header) % 2) + b"\n"
    file.write_bytes(content[:8] + len(header).to_bytes(2, "little") + header + content[128:])


def long_header(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[9] = 4  # with which the header goes on through the numbers
    file.write_bytes(content)


SHARD_DAMAGE: list[tuple[Callable[[Path], object], str]] = [
    (lambda f: f.unlink(), "cannot be read: No such file"),
    (lambda f: f.write_bytes(b""), "is not a valid .npy file"),
    (lambda f: f.write_bytes(f.read_bytes()[:90]), "is not a valid .npy file"),
    (lambda f: f.write_bytes(f.read_bytes()[:-2]), "has 4222 bytes, expected 4224 for shape"),
    (lambda f: f.write_bytes(f.read_bytes() + b"x"), "has 4225 bytes, expected 4224"),
    (lambda f: f.write_bytes(pickle.dumps(Bomb())), "is not a valid .npy file"),
    (lambda f: rewrite(f, np.ones((512, 5), "f2")), "shape is \\(512, 5\\), expected \\(512, 4\\)"),
    (lambda f: rewrite(f, np.ones((512, 4), "f4")), "dtype is float32, expected float16"),
    (lambda f: rewrite(f, np.ones((512, 4), ">f2")), "dtype is >f2, expected float16"),
    (lambda f: rewrite(f, np.asfortranarray(np.ones((512, 4), "f2"))), "Fortran order"),
    (lambda f: rewrite(f, np.full((512, 4), Bomb()), allow_pickle=True), "dtype is object"),
    (lambda f: rewrite(f, np.ones((512, 4), "f2"), version=(3, 0)), "version is 3.0, expected"),
    (huge_header, "is not a valid .npy file"),
    (long_header, "is not a valid .npy file \\(.{1,80}\\); restore"),
    (misaligned, "the array starts at byte \\d*[13579], expected a multiple of 2"),
    (lambda f: (f.unlink(), f.symlink_to(f.name)), "cannot be resolved .*[lL]oop"),
    (lambda f: (f.unlink(), f.mkdir()), "is not a regular file"),
    (lambda f: (f.unlink(), os.mkfifo(f)), "is not a regular file"),
]


@pytest.mark.parametrize(("damage", "message"), SHARD_DAMAGE)
def test_damaged_shard(
    path: Path, damage: Callable[[Path], object], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(path)
    file = path / "a" / "00000.npy"
    damage(file)
    with pytest.raises(StoreError, match=message) as caught:
        ActivationStore(path)
    assert str(caught.value).startswith(str(file))
    assert not (path / "exploded").exists()


@pytest.mark.parametrize("code", [0xD800, 0xDFFF, 0x110000, 0xFFFFFFFF])
def test_strings_that_are_no_text(path: Path, code: int) -> None:
    file = path / "columns/ids/00001.npy"
    content = bytearray(file.read_bytes())
    content[-4:] = code.to_bytes(4, "little")
    file.write_bytes(content)
    with pytest.raises(StoreError, match=r"ids/00001.npy: holds numbers that are no characters"):
        _ = ActivationStore(path).columns["ids"]
    with pytest.raises(StoreError, match="holds numbers that are no characters"):
        ActivationStore(path).verify()


def test_strings_of_no_characters(path: Path) -> None:
    # Their file would not grow with the number of rows, what is made of it would.
    header = np.lib.format.header_data_from_array_1_0(np.array(["x"] * 88))
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, header | {"descr": "<U0"})
    (path / "columns/ids/00001.npy").write_bytes(stream.getvalue())
    with pytest.raises(StoreError, match="dtype is <U0, expected unicode strings"):
        ActivationStore(path)


def test_damaged_column(path: Path) -> None:
    rewrite(path / "columns/ids/00001.npy", np.arange(88))
    with pytest.raises(StoreError, match=r"00001.npy: dtype is int64, expected unicode strings"):
        ActivationStore(path)
    rewrite(path / "columns/ids/00001.npy", np.full(88, Bomb()), allow_pickle=True)
    with pytest.raises(StoreError, match="dtype is object"):
        ActivationStore(path)


def test_shards_of_other_writers(path: Path) -> None:
    expected = ActivationStore(path).read("a")
    rewrite(path / "a/00000.npy", np.load(path / "a/00000.npy"), version=(2, 0))
    np.testing.assert_array_equal(ActivationStore(path).read("a"), expected)


def test_link_out_of_the_store(path: Path) -> None:
    outside = path.parent / "outside.npy"
    (path / "a/00000.npy").rename(outside)
    (path / "a/00000.npy").symlink_to(outside)
    with pytest.raises(StoreError, match=r"is a link to .*outside.npy, outside of the store"):
        ActivationStore(path)


def test_file_cut_after_opening(path: Path) -> None:
    store = ActivationStore(path)
    os.truncate(path / "a/00000.npy", 1000)
    with pytest.raises(StoreError, match="the file ends before row 512, which it had when the sto"):
        store.read("a")


def test_statistics_that_are_wrong(path: Path) -> None:
    for name, value in (
        ("sum_of_squares", 2401.0),
        ("maximum", 1.5),
        ("minimum", 0.5),
        ("n_nonfinite", 1),
        ("sum", 0.0),
    ):
        before = json.loads((path / "metadata.json").read_text())["views"][0][name]
        edit(path, lambda d, name=name, value=value: d["views"][0].update({name: value}))
        with pytest.raises(StoreError, match=f"view 'a': {name} is {value}, the files have"):
            ActivationStore(path).verify()
        edit(path, lambda d, name=name, value=before: d["views"][0].update({name: value}))
    ActivationStore(path).verify()


def test_files_that_do_not_belong_there(path: Path) -> None:
    for stray in ("notes.txt", "a/00002.npy", "columns/ids/00002.npy", "columns/more", "c"):
        (path / stray).write_bytes(b"")
        with pytest.raises(StoreError, match=f"{stray} \\(does not belong to the store\\)"):
            ActivationStore(path).verify()
        (path / stray).unlink()


def test_metadata_that_is_no_file(path: Path, tmp_path: Path) -> None:
    file = path / "metadata.json"
    elsewhere = tmp_path / "elsewhere.json"
    file.rename(elsewhere)
    file.symlink_to(elsewhere)
    with pytest.raises(StoreError, match=r"metadata.json: is a link to .*elsewhere.json, outside"):
        ActivationStore(path)
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(StoreError, match=r"metadata.json: is not a regular file"):
        ActivationStore(path)
    file.unlink()
    file.mkdir()
    with pytest.raises(StoreError, match=r"metadata.json: is not a regular file"):
        ActivationStore(path)


def test_a_view_that_is_a_link(path: Path, tmp_path: Path) -> None:
    (path / "a").rename(tmp_path / "outside")
    (path / "a").symlink_to(tmp_path / "outside")
    with pytest.raises(StoreError, match=r"a/00000.npy: is a link to .*outside of the store"):
        ActivationStore(path)


def test_verify(path: Path) -> None:
    store = ActivationStore(path)
    store.verify()
    with (path / "b/00001.npy").open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\xff")
    (path / "columns/labels/00000.npy").unlink()
    with pytest.raises(
        StoreError, match=r"2 things differ.*b/00001.npy \(sha.*labels/00000.npy \(ca"
    ):
        store.verify()


def nested(levels: int) -> list[Any]:
    return [nested(levels - 1)] if levels else []


FIELDS: list[tuple[Callable[[dict[str, Any]], object], str]] = [
    (lambda d: d.update(format="zip"), "format is 'zip', expected 'cofactor activation store'"),
    (lambda d: d.pop("format"), "format is missing"),
    (lambda d: d.update(version=2), "format version is 2, .* reads up to 1; upgrade cofactor"),
    (lambda d: d.update(version=True), "version is True, expected an integer"),
    (lambda d: d.update(complete="yes"), "complete is 'yes', expected true or false"),
    (lambda d: d.update(complete=False), "the store is incomplete"),
    (lambda d: d.update(n_examples=601), "n_examples is 601, expected 600, the rows of the sh"),
    (lambda d: d.update(n_examples=-1), "n_examples is -1, expected an integer from 0"),
    (lambda d: d.update(attributes=[]), "attributes is \\[\\], expected an object"),
    (lambda d: d.update(source=3), "source is 3, expected an object of strings"),
    (lambda d: d.update(views={}), "views is {}, expected a list"),
    (lambda d: d.update(views=[]), "views is \\[\\], expected at least one view"),
    (lambda d: d.update(views=["a"]), "views\\[0\\] is 'a', expected an object"),
    (lambda d: d["views"][0].pop("shape"), "views\\[0\\].shape is missing"),
    (lambda d: d["views"][0].update(name="../../etc"), "name '../../etc' cannot name a direct"),
    (lambda d: d["views"][0].update(name="/etc"), "name '/etc' cannot name a directory"),
    (lambda d: d["views"][0].update(name=".."), "name '..' cannot name a directory"),
    (lambda d: d["views"][0].update(name="b"), "name is 'b', expected a name that occurs once"),
    (lambda d: d["views"][0].update(name=["a"]), "name \\['a'\\] cannot name"),
    (lambda d: d["views"][0].update(shape=[2, -2]), "shape\\[1\\] is -2, expected an integer from"),
    (lambda d: d["views"][0].update(shape=[2.0, 2]), "shape\\[0\\] is 2.0, expected an integer"),
    (lambda d: d["views"][0].update(shape=[2**40] * 2), "product is below"),
    (lambda d: d["views"][0].update(shape=[1] * 99), "at most 16 lengths"),
    (lambda d: d["views"][0].update(dtype="object"), "dtype is 'object', expected one of uint8"),
    (lambda d: d["views"][0].update(dtype=["uint8"]), "dtype is \\['uint8'\\], expected one of"),
    (lambda d: d["views"][0].update(scale=2.0), "scale is 2.0, expected a positive number, 1.0"),
    (lambda d: d["views"][1].update(scale=0), "scale is 0.0, expected a positive number"),
    (lambda d: d["views"][1].update(scale=10**400), "scale is 1000.*, expected a finite number"),
    (lambda d: d["views"][1].update(scale="1"), "scale is '1', expected a finite number"),
    (lambda d: d["views"][0].update(sum_of_squares=-1), "sum_of_squares is -1.0, expected zero or"),
    (lambda d: d["views"][0].update(sum_of_squares=None), "sum_of_squares is None, expected a fin"),
    (lambda d: d["views"][0].update(minimum=9), "minimum is 9.0, expected at most maximum 1.0"),
    (lambda d: d["views"][0].update(n_nonfinite=9999), "n_nonfinite is 9999, expected an integer"),
    (lambda d: d["views"][1].update(scale=1e38), "scale is 1e\\+38, expected a positive number"),
    (lambda d: d["views"][1].update(negative="relu"), "negative is 'relu', expected null, or"),
    (lambda d: d["views"][0].update(negative="abs"), "negative is 'abs', expected null, or with"),
    (lambda d: d["views"][0].update(sum="1"), "views\\[0\\].sum is '1', expected a finite number"),
    (
        lambda d: d["views"][0].update(positive_sum_of_squares=1e9),
        "squares is 1000000000.0, expected 0",
    ),
    (
        lambda d: d["shards"][0].update(inputs="00"),
        "inputs is '00', expected 64 hexadecimal digits",
    ),
    (lambda d: d.update(source={"a": 1}), "source is {'a': 1}, expected an object of strings"),
    (
        lambda d: d.update(shards=[], n_examples=0),
        "shards is \\[\\], expected at least one in a co",
    ),
    (lambda d: d["attributes"].update(a="\ud800"), "attributes is .*, expected text without lone"),
    (lambda d: d["attributes"].update({"\ud800": 1}), "expected text without lone surrogates"),
    (lambda d: d["attributes"].update(a=nested(33)), "attributes is more than 32 levels deep"),
    (lambda d: d["columns"][0].update(dtype=["str"]), "columns\\[0\\].dtype is \\['str'\\], exp"),
    (lambda d: d["columns"][0].update(name=".."), "name '..' cannot name"),
    (lambda d: d["columns"][0].update(dtype="object"), "columns\\[0\\].dtype is 'object'"),
    (lambda d: d["columns"][0].update(shape=None), "columns\\[0\\].shape is None, expected a list"),
    (lambda d: d.update(shards=None), "shards is None, expected a list"),
    (lambda d: d["shards"][0].update(rows=511), "rows is 511, expected a multiple of 512"),
    (lambda d: d["shards"][0].update(rows=0), "rows is 0, expected an integer from 1"),
    (lambda d: d["shards"][0].pop("sha256"), "shards\\[0\\].sha256 is missing"),
    (lambda d: d["shards"][0]["sha256"].pop("a"), "shards\\[0\\].sha256.a is missing"),
    (lambda d: d["shards"][0]["sha256"].update(a="00"), "is '00', expected 64 hexadecimal"),
    (lambda d: d["shards"][0]["sha256"].update(c="00"), "expected one entry per view and column"),
]


@pytest.mark.parametrize(("change", "message"), FIELDS)
def test_wrong_metadata(
    path: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    edit(path, change)
    with pytest.raises(StoreError, match=message) as caught:
        ActivationStore(path)
    assert str(caught.value).startswith(str(path / "metadata.json"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"format": 1, "format": 2}', "is not valid JSON \\(the key 'format' occurs twice"),
        ("1" * 5000, "is not valid JSON"),
        ("[" + "0," * 5_000_000 + "0]", "has more than 4000000 values, expected fewer"),
        (" " * (65 << 20), "has more than 67108864 bytes, expected fewer"),
    ],
)
def test_metadata_that_is_too_much(path: Path, content: str, message: str) -> None:
    (path / "metadata.json").write_text(content)
    with pytest.raises(StoreError, match=message):
        ActivationStore(path)


def test_numbers_out_of_range(path: Path) -> None:
    text = (path / "metadata.json").read_text()
    (path / "metadata.json").write_text(
        text.replace('"attributes": {', '"attributes": {"a": 1e999')
    )
    with pytest.raises(StoreError, match="attributes is inf, expected finite numbers"):
        ActivationStore(path)


@pytest.mark.parametrize(
    "content", ["", "{", "[1, 2", '{"format": NaN}', "\x00", "[" * 100_000, "null", '"text"']
)
def test_metadata_that_is_no_object(path: Path, content: str) -> None:
    (path / "metadata.json").write_text(content)
    with pytest.raises(StoreError, match=r"metadata.json: (is not valid JSON|the document is)"):
        ActivationStore(path)


def test_no_store(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"no activation store here .* expected a directory that"):
        ActivationStore(tmp_path)
    with pytest.raises(StoreError, match="no activation store here"):
        ActivationStore(tmp_path / "absent")
