"""Whether a folder may be replaced by a result, and how it is."""

import json
from pathlib import Path

import pytest

from cofactor._result_folder import check_destination, staged

KIND = "cofactor thing"


def write(out: Path, *names: str, fails: bool = False) -> None:
    with staged(out, KIND, ["metrics.json", "*.csv", "pages"], index="index.html") as folder:
        (folder / "metrics.json").write_text(json.dumps({"kind": KIND}))
        (folder / "index.html").write_text("new")
        for name in names:
            path = folder / name
            path.parent.mkdir(exist_ok=True)
            path.write_text("new")
        if fails:
            raise RuntimeError


def content(out: Path) -> list[str]:
    return sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())


def test_parts_of_an_earlier_result_go_and_what_lies_beside_them_stays(tmp_path: Path) -> None:
    out = tmp_path / "below" / "out"
    write(out, "a.csv", "pages/1.html")
    (out / "notes.txt").write_text("mine")
    (out / "a.csv").write_text("old")
    write(out, "b.csv", "pages/2.html")
    assert content(out) == ["b.csv", "index.html", "metrics.json", "notes.txt", "pages/2.html"]
    assert [path.name for path in out.parent.iterdir()] == ["out"]


def test_a_failure_leaves_the_earlier_result(tmp_path: Path) -> None:
    write(tmp_path / "out", "a.csv")
    with pytest.raises(RuntimeError):
        write(tmp_path / "out", "b.csv", fails=True)
    assert content(tmp_path) == ["out/a.csv", "out/index.html", "out/metrics.json"]


@pytest.mark.parametrize("text", ["{", "[]", '{"kind": "cofactor report"}', "[" * 100_000, "null"])
def test_what_is_not_a_result_of_the_kind_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "metrics.json").write_text(text)
    with pytest.raises(ValueError, match="holds files that are not a thing's; expected an empty"):
        check_destination(tmp_path, KIND)
    assert content(tmp_path) == ["metrics.json"]


def test_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(ValueError, match="is a file; expected a folder to write the thing to"):
        write(tmp_path / "out")


def test_new_and_empty_folders_will_do(tmp_path: Path) -> None:
    check_destination(tmp_path / "new", KIND)
    check_destination(tmp_path, KIND)
