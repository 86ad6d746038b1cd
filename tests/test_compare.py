"""Fits beside each other: what the tables hold is what separate fits give."""

import json
import math

import numpy as np
import pytest

import cofactor as cf
from cofactor.compare import (
    compare_attack,
    compare_classes,
    compare_fits,
    compare_grid,
    compare_seeds,
    compare_views,
    summary,
    write_comparison,
)
from cofactor.concepts import (
    Concepts,
    Table,
    class_shares,
    clustering_scores,
    hard_clusters,
    knn_impurity,
    match_concepts,
    share_entropy,
)
from fake_fit import planted

K, PER_CLASS = 4, 15
VIEWS = {
    "input.0": {"shape": (2, 4), "dtype": "float32"},
    "input.1": {"shape": (2, 4), "dtype": "float32"},
    "conv": {"shape": (3, 2, 2), "dtype": "float32"},
    "fc": {"shape": (10,), "dtype": "float32"},
}
ATTRIBUTES = {
    "class_names": ["ant", "bee", "cat", "dog"],
    "superclass_of_class": [0, 0, 1, 1],
    "superclass_names": ["insect", "mammal"],
}


def make_store(path, seed=0, twice=False):
    """Every class has neurons of its own in every view; pixels are noise alone."""
    random = np.random.default_rng(seed)
    labels = random.permutation(np.repeat(np.arange(K), PER_CLASS))
    blocks = {}
    for name, view in VIEWS.items():
        d = int(np.prod(view["shape"]))
        X = 0.1 * random.random((len(labels), d))
        if not name.startswith("input."):
            X += random.uniform(1, 2, (len(labels), 1)) * (labels[:, None] == np.arange(d) % K)
        blocks[name] = X.reshape(len(labels), *view["shape"]).astype(np.float32)
    predictions = np.where(random.random(len(labels)) < 0.8, labels, (labels + 1) % K)
    columns = {"labels": labels, "predictions": predictions}
    with cf.ActivationStore.create(path, VIEWS, attributes=ATTRIBUTES) as writer:
        writer.append(blocks, columns)
        if twice:
            moved = {name: np.roll(block, 1, axis=-1) for name, block in blocks.items()}
            writer.append(moved, {"labels": labels, "predictions": (labels + 2) % K})
    return cf.ActivationStore(path)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("compare") / "acts")


# A fit in a row


def test_a_summary_is_what_the_analyses_say():
    fit, store = planted()
    concepts = Concepts(fit, store)
    row = summary(concepts, impurity=True)
    scores = clustering_scores(hard_clusters(fit.W_), concepts.labels)
    shares = class_shares(fit.W_, concepts.labels, 4)
    assert (row["n_components"], row["n_examples"], row["n_unassigned"]) == (4, 60, 0)
    assert row["loss"] == fit.loss_history_[-1]
    assert row["n_passes"] == fit.n_passes_
    assert (row["nmi"], row["nmi_shuffled"]) == (scores.nmi, scores.nmi_shuffled)
    assert (row["ari"], row["purity"]) == (scores.ari, scores.purity)
    assert row["entropy"] == pytest.approx(share_entropy(shares).mean())
    assert (
        row["superclass_nmi"] == clustering_scores(hard_clusters(fit.W_), concepts.labels // 2).nmi
    )
    assert row["impurity"] == pytest.approx(knn_impurity(fit.W_, 4)["impurity"].mean())
    assert "nmi" not in summary(Concepts(fit))


def test_the_entropy_of_a_summary_leaves_out_dead_concepts():
    fit, store = planted()
    whole = summary(Concepts(fit, store))["entropy"]
    fit.W_[:, 1] = 0
    shares = class_shares(fit.W_, Concepts(fit, store).labels, 4)
    assert summary(Concepts(fit, store))["entropy"] == pytest.approx(
        share_entropy(shares)[[0, 2, 3]].mean()
    )
    assert whole != summary(Concepts(fit, store))["entropy"]


# Views


def test_views_together_and_alone(store):
    said = []
    tables = compare_views(store, K, seeds=(3, 4), report=said.append, tol=1e-3)
    fits = tables["fits"]
    assert fits["views"].tolist() == [
        "coupled", "coupled", "conv", "conv", "fc", "fc", "pixels", "pixels",
    ]  # fmt: skip
    assert len(said) == 8
    assert said[2] == "conv, rank 4, seed 3"
    part = store.select(views=["input.0", "input.1"])
    alone = cf.CoupledNMF(K, random_state=4, tol=1e-3).fit(part)
    expected = summary(Concepts(alone, part), impurity=True)
    row = list(fits.rows())[-1]
    assert {name: row[name] for name in expected} == expected
    for name in ("coupled", "conv", "fc"):
        assert (fits["nmi"][fits["views"] == name] == 1).all()
    assert (fits["nmi"][fits["views"] == "pixels"] < 0.5).all()
    mean = {row["views"]: row for row in tables["mean"].rows()}
    pixels = fits["nmi"][fits["views"] == "pixels"]
    assert mean["pixels"]["nmi"] == pytest.approx(pixels.mean())
    assert mean["pixels"]["nmi_sd"] == pytest.approx(pixels.std(ddof=1))
    assert mean["pixels"]["n_fits"] == 2
    whole = cf.CoupledNMF(K, random_state=3, tol=1e-3).fit(store)
    first = cf.CoupledNMF(K, random_state=3, tol=1e-3).fit(part)
    matches = tables["matches"]
    own = matches["views"] == "pixels"
    pairs = match_concepts(whole.W_, first.W_)
    assert matches["match"][own].tolist() == pairs["match"].tolist()
    assert matches["cosine"][own] == pytest.approx(pairs["cosine"])


def test_groups_of_the_users_own(store):
    groups = {"layers": ["conv", "fc"], "conv": ["conv"]}
    tables = compare_views(store, 2, groups=groups, tol=1e-2)
    assert tables["fits"]["views"].tolist() == ["layers", "conv"]
    assert math.isnan(tables["mean"]["nmi_sd"][0])
    with pytest.raises(ValueError, match="no view 'layer9'"):
        compare_views(store, 2, groups={"a": ["layer9"]})
    with pytest.raises(ValueError, match="groups is empty"):
        compare_views(store, 2, groups={})
    with pytest.raises(ValueError, match="seeds is empty"):
        compare_views(store, 2, seeds=[])


# Seeds and ranks


def test_seeds_of_what_is_there_agree_and_of_noise_do_not(store):
    layers, noise = store.select(views=["conv", "fc"]), store.select(views=["input.0", "input.1"])
    found, lost = (compare_seeds(part, [K, 6], range(3)) for part in (layers, noise))
    assert found["fits"]["rank"].tolist() == [4, 4, 4, 6, 6, 6]
    by_rank = {row["rank"]: row for row in found["ranks"].rows()}
    assert by_rank[4]["stability"] > 0.999
    assert by_rank[4]["nmi"] == 1
    assert by_rank[4]["loss_sd"] < 1e-3
    assert lost["ranks"]["stability"].max() < 0.99
    assert len(found["stability"]) == 3 * (4 + 6)
    for rank in (4, 6):
        own = found["stability"]["rank"] == rank
        cosines = found["stability"]["mean_cosine"][own]
        assert by_rank[rank]["stability"] == pytest.approx(cosines.mean())
        assert by_rank[rank]["stability_min"] == pytest.approx(cosines.min())
    with pytest.raises(ValueError, match="expected at least two"):
        compare_seeds(store, [2], [0])
    with pytest.raises(ValueError, match="ranks is empty"):
        compare_seeds(store, [], [0, 1])


# Classes


def test_some_classes_alone(store):
    tables = compare_classes(store, 2, {"insects": [0, 1], "cats": [2]}, seed=1)
    rows = list(tables["fits"].rows())
    assert [(row["subset"], row["fitted"], row["n_examples"]) for row in rows] == [
        ("insects", "alone", 30),
        ("insects", "all classes", 30),
        ("cats", "alone", 15),
        ("cats", "all classes", 15),
    ]
    # Two concepts for two classes tell them apart; two for four need not.
    assert rows[0]["nmi"] == 1
    kept = np.flatnonzero(np.isin(store.columns["labels"], [0, 1]))
    whole = cf.CoupledNMF(2, random_state=1).fit(store).W_[kept]
    alone = cf.CoupledNMF(2, random_state=1).fit(store.select(rows=kept)).W_
    assert tables["matches"]["cosine"][:2] == pytest.approx(match_concepts(alone, whole)["cosine"])
    with pytest.raises(ValueError, match="subset 'none' has no examples"):
        compare_classes(store, 2, {"none": [9]})
    with pytest.raises(ValueError, match="no subset"):
        compare_classes(store, 2, {})


# Penalties


def test_a_grid_of_ranks_and_penalties(store):
    tables = compare_grid(store, [2, 3], alpha_W=[0.0, 0.02], l1_ratio=[0.0, 1.0])
    grid = tables["grid"]
    assert len(grid) == 8
    assert grid["n_components"].tolist() == [2] * 4 + [3] * 4
    assert grid["alpha_H"].tolist() == grid["alpha_W"].tolist()
    assert grid["l1_ratio"].tolist() == [0.0, 1.0] * 4
    row = list(grid.rows())[3]
    nmf = cf.CoupledNMF(2, alpha_W=0.02, l1_ratio=1.0, random_state=0).fit(store)
    assert row["loss"] == nmf.loss_history_[-1]
    assert row["zeros_W"] == (nmf.W_ == 0).mean()
    H = np.concatenate(list(nmf.components_.values()), axis=1)
    assert row["zeros_H"] == (H == 0).mean()
    unit = H / np.linalg.norm(H, axis=1, keepdims=True)
    assert row["coherence"] == pytest.approx(float(unit[0] @ unit[1]), rel=1e-5)
    assert row["zeros_H"] > grid["zeros_H"][0]
    other = compare_grid(store, [2], alpha_H=[0.5], l1_ratio=[1.0])["grid"]
    assert (other["alpha_W"][0], other["alpha_H"][0]) == (0, 0.5)


# Networks


def test_networks_are_matched_through_their_images(tmp_path):
    stores = [make_store(tmp_path / str(n)) for n in range(2)]
    parts = [stores[0].select(views=["conv"]), stores[1].select(views=["fc"])]
    fits = [cf.CoupledNMF(K, random_state=n).fit(part) for n, part in enumerate(parts)]
    a, b = (Concepts(fit, part) for fit, part in zip(fits, parts, strict=True))
    tables = compare_fits({"early": a, "late": b})
    assert tables["fits"]["fit"].tolist() == ["early", "late"]
    assert tables["fits"]["accuracy"][0] == (a.labels == a.predictions).mean()
    expected = match_concepts(a.W, b.W)
    for row, pair in zip(tables["matches"].rows(), expected.rows(), strict=True):
        assert (row["concept"], row["match"], row["cosine"]) == tuple(pair.values())
        assert row["class"] == row["match_class"]
        p, q = a.class_shares()[row["concept"]], b.class_shares()[row["match"]]
        assert row["hellinger"] == pytest.approx(math.sqrt(1 - np.sqrt(p * q).sum()), abs=1e-7)
        assert row["entropy"] == pytest.approx(share_entropy([p])[0])
    (pair,) = tables["pairs"].rows()
    assert pair["mean_cosine"] == pytest.approx(expected["cosine"].mean())
    assert pair["n_above_0.9"] == (expected["cosine"] > 0.9).sum()


def test_networks_on_other_images_are_refused(store, tmp_path):
    other = make_store(tmp_path / "other", seed=1)
    a, b = (Concepts(cf.CoupledNMF(2, random_state=0).fit(s), s) for s in (store, other))
    with pytest.raises(ValueError, match="'a' and 'b' have other labels"):
        compare_fits({"a": a, "b": b})
    part = other.select(rows=slice(0, 20))
    with pytest.raises(ValueError, match="'a' has 60 examples and 'b' 20"):
        compare_fits({"a": a, "b": Concepts(b.nmf, part)})
    with pytest.raises(ValueError, match="1 fits were given"):
        compare_fits({"a": a})
    unlabelled = [Concepts(b.nmf, W=b.W), Concepts(b.nmf, W=b.W)]
    table = compare_fits(dict(zip("ab", unlabelled, strict=True)))["matches"]
    assert list(table.columns) == ["fit", "concept", "match", "cosine"]


# Attacks


def test_clean_and_adversarial_halves(tmp_path):
    both = make_store(tmp_path / "both", twice=True)
    layers = both.select(views=["fc"])
    tables = compare_attack(layers, K, seed=0)
    nmf = cf.CoupledNMF(K, random_state=0).fit(layers)
    concepts = Concepts(nmf, layers)
    shift = concepts.shift(np.arange(120) >= 60)
    for name, column in shift.columns.items():
        np.testing.assert_array_equal(tables["shift"][name], column)
    clean, adversarial = tables["sides"].rows()
    assert clean["accuracy"] > 0.6
    assert adversarial["accuracy"] == 0
    assert clean["nmi"] == 1
    assert "loss" not in clean
    # Rolled by one neuron, every image lands in the concept of another class.
    (pair,) = tables["pairs"].rows()
    clusters = concepts.clusters()
    assert pair["moved"] == (clusters[:60] != clusters[60:]).mean() > 0.9
    for row in tables["shift"].rows():
        own = concepts.W[:60, row["concept"]]
        weights = [own[concepts.labels[:60] == c].sum() for c in range(K)]
        assert row["clean_class"] == ATTRIBUTES["class_names"][int(np.argmax(weights))]
    assert pair["mean_shared_classes"] == tables["shift"]["shared_classes"].mean()


def test_halves_must_be_the_same_images(store, tmp_path):
    with pytest.raises(ValueError, match="the two halves of the 60 examples differ"):
        compare_attack(store, 2)


# Folders


def test_a_comparison_is_csv_and_json(tmp_path):
    table = Table({"fit": np.array(["<b>", "b,c"]), "loss": np.array([0.25, np.nan])})
    out = write_comparison({"fits": table}, tmp_path / "deep" / "out", what="fits", rank=3)
    document = json.loads((out / "metrics.json").read_text())
    assert document["kind"] == "cofactor comparison"
    assert (document["what"], document["rank"]) == ("fits", 3)
    assert document["tables"]["fits"] == [
        {"fit": "<b>", "loss": 0.25},
        {"fit": "b,c", "loss": None},
    ]
    assert (out / "fits.csv").read_text() == 'fit,loss\n<b>,0.25\n"b,c",nan\n'
    write_comparison({"other": table}, out, what="fits")
    assert sorted(file.name for file in out.iterdir()) == ["metrics.json", "other.csv"]


def test_what_is_no_comparison_is_left_alone(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    table = Table({"a": np.zeros(1)})
    with pytest.raises(ValueError, match="files that are not a comparison's"):
        write_comparison({"a": table}, tmp_path / "mine", what="fits")
    with pytest.raises(ValueError, match="is a file"):
        write_comparison({"a": table}, tmp_path / "mine" / "thesis.txt", what="fits")
    with pytest.raises(TypeError):
        write_comparison({"a": table}, tmp_path / "new", what="fits", fact=object())
    assert sorted(file.name for file in tmp_path.iterdir()) == ["mine"]
