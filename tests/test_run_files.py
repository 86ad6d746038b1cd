"""Fits on disk."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import cofactor as cf
import cofactor.nmf

VIEWS = {"a": np.random.default_rng(0).random((20, 5), dtype=np.float32), "b/2": np.eye(20)}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    nmf = cf.CoupledNMF(3, weights={"a": 2.0}, random_state=0, tol=1e-2, callback=print)
    nmf.fit(VIEWS).save(tmp_path / "run")
    return tmp_path / "run"


def test_what_is_saved_comes_back(run: Path) -> None:
    fitted = cf.CoupledNMF(3, weights={"a": 2.0}, random_state=0, tol=1e-2).fit(VIEWS)
    loaded = cf.load(run)
    assert loaded.get_params() == fitted.get_params()
    for name in cf.nmf._SAVED:
        assert getattr(loaded, name) == getattr(fitted, name), name
    assert list(loaded.components_) == ["a", "b/2"]
    assert all(np.array_equal(loaded.components_[v], fitted.components_[v]) for v in VIEWS)
    assert np.array_equal(loaded.W_, fitted.W_)
    assert np.array_equal(loaded.transform(VIEWS), fitted.W_)
    assert sorted(file.name for file in run.iterdir()) == ["H.safetensors", "W.npy", "fit.json"]
    assert [file.name for file in run.parent.iterdir()] == ["run"]


def test_an_earlier_fit_is_replaced_and_nothing_else(run: Path, tmp_path: Path) -> None:
    nmf = cf.CoupledNMF(2, random_state=0, tol=1e-2).fit(VIEWS)
    nmf.save(run)
    assert cf.load(run).n_components == 2
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").touch()
    with pytest.raises(FileExistsError, match="exists and is not a fit of cofactor"):
        nmf.save(tmp_path / "other")
    assert (tmp_path / "other" / "thesis.tex").exists()


def test_a_failed_save_leaves_the_earlier_fit(run: Path) -> None:
    nmf = cf.CoupledNMF(2, random_state=0, tol=1e-2).fit(VIEWS)
    nmf.reconstruction_err_ = float("nan")
    with pytest.raises(ValueError, match="not JSON compliant"):
        nmf.save(run)
    assert cf.load(run).n_components == 3
    assert [file.name for file in run.parent.iterdir()] == ["run"]


def edit(run: Path, **changes: object) -> None:
    document = json.loads((run / "fit.json").read_text())
    (run / "fit.json").write_text(json.dumps({**document, **changes}))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda run: (run / "fit.json").write_text("{"), "fit.json is not valid JSON"),
        (lambda run: (run / "fit.json").write_text("[]"), "does not describe a fit"),
        (lambda run: edit(run, format="other"), "does not describe a fit"),
        (lambda run: edit(run, version=99), "has version 99; this cofactor reads 1"),
        (lambda run: edit(run, parameters=None), "lacks parameters"),
        (lambda run: edit(run, parameters={"n_components": 3, "x": 1}), "unknown parameter.*x"),
        (lambda run: edit(run, parameters={"n_components": 2}), "expected 2 components"),
        (
            lambda run: edit(run, learned={}),
            r"lacks learned attribute\(s\) fingerprint_, .*; another",
        ),
        (lambda run: edit(run, views=["a"]), "other views than fit.json names"),
        (lambda run: (run / "W.npy").write_bytes(b"x"), "W.npy cannot be read"),
        (lambda run: (run / "W.npy").unlink(), "W.npy cannot be read"),
        (lambda run: np.save(run / "W.npy", np.array([{}])), "W.npy cannot be read"),
        (lambda run: np.save(run / "W.npy", np.ones(3)), "factor 'W' has shape"),
        (lambda run: (run / "H.safetensors").write_bytes(b"xx"), "H.safetensors cannot be read"),
        (lambda run: (run / "H.safetensors").unlink(), "H.safetensors cannot be read"),
    ],
)
def test_a_damaged_fit_is_refused(run: Path, damage: object, message: str) -> None:
    damage(run)
    with pytest.raises(ValueError, match=message):
        cf.load(run)


@pytest.mark.parametrize("name", cf.nmf._SAVED)
def test_a_fit_of_another_version_is_refused(run: Path, name: str) -> None:
    learned = json.loads((run / "fit.json").read_text())["learned"]
    edit(run, learned={**learned, "other_": 1})
    with pytest.raises(ValueError, match=r"has the unknown learned attribute\(s\) other_; another"):
        cf.load(run)
    del learned[name]
    edit(run, learned=learned)
    with pytest.raises(
        ValueError,
        match=rf"fit.json lacks learned attribute\(s\) {name}; another version of cofactor wrote "
        "it: load it with that version, or fit again",
    ):
        cf.load(run)


def test_a_missing_fit_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"is not a fit of cofactor: it has no fit\.json"):
        cf.load(tmp_path)
