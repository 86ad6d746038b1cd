"""The numbers of docs/paper-case.md: what the concepts of a ResNet-18 on CIFAR-100 are.

    python benchmarks/paper_case.py all acts/ --work work/ --data cifar100/

`acts/` is the store that `cofactor capture` makes of the paper's case (see the README), `cifar100/`
the folder of its images and weights, and `work/` keeps fits, activations and tables: a step does
not repeat what is there already. Steps, each of which can be run alone:

    fit         all views together, each layer alone, pixels alone; three ranks, five seeds
    baselines   k-means, PCA and k-means, and scikit-learn's NMF on avgpool, likewise
    attack      clean and FGSM images captured together, and fitted
    importance  concepts taken out of layers, layers replaced by their reconstruction
    tables      everything that the page shows, in Markdown, CSV and small images
"""

from __future__ import annotations

import argparse
import csv
import json
import warnings
from itertools import product
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from sklearn.cluster import KMeans
from sklearn.decomposition import NMF, PCA
from sklearn.exceptions import ConvergenceWarning

import cofactor as cf
from cofactor.attacks import Attacked, CleanThenAdversarial
from cofactor.compare import attack_tables, spread, summary
from cofactor.concepts import Concepts, stability
from cofactor.datasets import load_images
from cofactor.importance import concept_importance, reconstruction_importance
from cofactor.models import load_model

RANKS = (20, 10, 50)
SEEDS = range(5)
PIXELS = ["input.0", "input.1", "input.2"]
LAYERS = ["layer3", "layer4", "avgpool"]
# By name: views and weights.
FITS: dict[str, tuple[list[str], str]] = {
    "coupled": ([*PIXELS, *LAYERS], "equal"),
    "coupled, balanced": ([*PIXELS, *LAYERS], "balanced"),
    **{layer: ([layer], "equal") for layer in LAYERS},
    "pixels": (PIXELS, "equal"),
}
BASELINES = ("k-means", "PCA, k-means", "scikit-learn NMF")
NORMALIZE = ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762))
EPS = 8 / 255
N_ATTACKED = 2000
N_IMPORTANCE = 2000


def folder(work: Path, name: str, rank: int, seed: int) -> Path:
    return work / f"{name.replace(', ', '-')}-{rank}-{seed}"


def fit(store: cf.ActivationStore, work: Path) -> None:
    for rank in RANKS:
        for seed in SEEDS:
            for name, (views, weights) in FITS.items():
                out = folder(work, name, rank, seed)
                if out.is_dir():
                    continue
                nmf = cf.CoupledNMF(rank, weights=weights, random_state=seed)
                nmf.fit(store.select(views=views)).save(out)
                print(f"{out.name}: loss {nmf.loss_history_[-1]:.4f}, {nmf.n_passes_:.1f} passes")


def baselines(store: cf.ActivationStore, work: Path) -> None:
    """Keep labels of clusters, or W, per baseline, rank and seed."""
    X = store.read("avgpool")
    for rank in RANKS:
        for seed in SEEDS:
            made = {
                "k-means": lambda r=rank, s=seed: KMeans(r, n_init=1, random_state=s).fit_predict(
                    X
                ),
                "PCA, k-means": lambda r=rank, s=seed: KMeans(
                    r, n_init=1, random_state=s
                ).fit_predict(PCA(r, random_state=s).fit_transform(X)),
                "scikit-learn NMF": lambda r=rank, s=seed: NMF(
                    r, init="nndsvda" if s == 0 else "random", random_state=s, max_iter=400
                ).fit_transform(X),
            }
            for name, make in made.items():
                out = work / f"{folder(work, name, rank, seed).name}.npy"
                if not out.exists():
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore", ConvergenceWarning)
                        np.save(out, make())
                    print(out.name)


def network(data: Path):
    return load_model("cofactor:resnet18", data / "resnet18.safetensors").eval()


def attack(data: Path, work: Path) -> None:
    acts = work / "attacked"
    if not acts.is_dir():
        model = network(data)
        images = load_images(data / "test.npz", max_examples=N_ATTACKED)
        both = CleanThenAdversarial(images, Attacked(model, images, eps=EPS, normalize=NORMALIZE))
        cf.capture(
            model,
            both,
            LAYERS,
            pixels=True,
            normalize=NORMALIZE,
            out=acts,
            attributes=both.attributes,
        )
    store = cf.ActivationStore(acts).select(views=[*PIXELS, *LAYERS])
    for seed in SEEDS:
        out = folder(work, "attacked", 20, seed)
        if not out.is_dir():
            cf.CoupledNMF(20, random_state=seed).fit(store).save(out)
            print(out.name)


def importance(store: cf.ActivationStore, data: Path, work: Path) -> None:
    model = network(data)

    def of(name: str, rank: int) -> Concepts:
        nmf = cf.load(folder(work, name, rank, 0))
        return Concepts(nmf, store.select(views=list(nmf.components_)))

    how = {"normalize": NORMALIZE, "max_examples": N_IMPORTANCE}
    for layer in LAYERS:
        out = work / f"importance-{layer}.csv"
        if not out.exists():
            images = load_images(data / "test.npz", batch_size=200)
            coupled = of("coupled", 20)
            concept_importance(model, images, coupled, layer, by="class", **how).to_csv(out)
            print(out.name)
    for rank in RANKS:
        for name in ("coupled", *LAYERS) if rank == 20 else ("coupled",):
            out = work / f"reconstruction-{name}-{rank}.csv"
            if not out.exists():
                images = load_images(data / "test.npz", batch_size=200)
                reconstruction_importance(model, images, of(name, rank), **how).to_csv(out)
                print(out.name)


# Tables and figures

WHAT = ("nmi", "purity", "superclass_nmi", "entropy", "impurity", "loss")


def summaries(store: cf.ActivationStore, work: Path) -> list[dict]:
    """Return what every fit and every baseline is worth, by name, rank and seed."""
    kept = work / "summaries.jsonl"
    rows = [json.loads(line) for line in kept.open()] if kept.exists() else []
    done = {(row["name"], row["rank"], row["seed"]) for row in rows}
    with kept.open("a") as file:
        for name, rank, seed in product((*FITS, *BASELINES), RANKS, SEEDS):
            if (name, rank, seed) in done:
                continue
            row = {"name": name, "rank": rank, "seed": seed, **worth(store, work, name, rank, seed)}
            rows.append(row)
            print(json.dumps(row), file=file, flush=True)
    return rows


def worth(store: cf.ActivationStore, work: Path, name: str, rank: int, seed: int) -> dict:
    if name in FITS:
        nmf = cf.load(folder(work, name, rank, seed))
        concepts = Concepts(nmf, store.select(views=list(nmf.components_)))
        return summary(concepts, impurity=True)
    made = np.load(work / f"{folder(work, name, rank, seed).name}.npy")
    # Clusters alone: every example is in one, and impurity means nothing.
    W = made if made.ndim == 2 else np.eye(rank)[made]
    nmf = SimpleNamespace(W_=W, components_={"avgpool": np.ones((rank, 512))})
    concepts = Concepts(nmf, store.select(views=["avgpool"]), W=W)
    return summary(concepts, impurity=made.ndim == 2)


def markdown(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def quality_tables(rows: list[dict]) -> str:
    text = ""
    for rank in sorted(RANKS):
        whole = spread([row for row in rows if row["rank"] == rank], ["name"])
        lines = []
        for row in whole.rows():
            cells = [row["name"]]
            for what in WHAT:
                mean, deviation = row[what], row[f"{what}_sd"]
                cells.append(
                    "" if mean is None or np.isnan(mean) else f"{mean:.3f} ± {deviation:.3f}"
                )
            lines.append(cells)
        shuffled = np.mean([row["nmi_shuffled"] for row in rows if row["rank"] == rank])
        purity = np.mean([row["purity_shuffled"] for row in rows if row["rank"] == rank])
        text += f"\n### Rank {rank}\n\n"
        text += markdown(["", *(w.replace("_", " ") for w in WHAT)], lines)
        text += f"\nShuffled labels: NMI {shuffled:.3f}, purity {purity:.3f}.\n"
    return text


def concept_table(concepts: Concepts) -> str:
    lines = []
    order = np.argsort(-concepts.table()["weight_share"]).tolist()
    rows = list(concepts.table().rows())
    for r in order:
        row = rows[r]
        strongest = ", ".join(
            f"{row[f'class_{place}']} {row[f'class_{place}_share']:.0%}" for place in (1, 2, 3)
        )
        top = f"{row['superclass_1']} {row['superclass_1_share']:.0%}"
        lines.append(
            [
                str(r),
                f"{row['weight_share']:.1%}",
                strongest,
                top,
                f"{row['entropy']:.2f}",
                str(row["classes_in"]),
            ]
        )
    header = ["concept", "weight", "strongest classes", "superclass", "entropy", "classes in"]
    return markdown(header, lines)


def concept_grid(concepts: Concepts, path: Path, n: int = 12) -> None:
    """Draw every concept as a row: its image, top examples, and these masked by it."""
    from PIL import Image

    height, width = concepts.shape(PIXELS[0])
    order = np.argsort(-concepts.table()["weight_share"]).tolist()
    gap = 2
    sheet = np.full(
        (len(order) * (height + gap), (2 * n + 1) * (width + gap) + 8, 3), 255, np.uint8
    )
    for y, r in enumerate(order):
        whole = concepts.images(concepts.top_examples(r, n)["example"])
        masked = concepts.masked_examples(r, n)
        for x, image in enumerate([concepts.concept_image(r), *whole, *masked]):
            left = x * (width + gap) + (x > 0) * 4 + (x > len(whole)) * 4
            top = y * (height + gap)
            sheet[top : top + height, left : left + width] = np.rint(255 * image)
    Image.fromarray(sheet).save(path, quality=70, optimize=True)


def curves(named: dict[str, Concepts], path: Path) -> list[list[str]]:
    """Draw accuracy over the purest examples; return it at some shares of them."""
    figure, axes = axes_of("share of the examples, purest first", "accuracy over these")
    lines = []
    for name, concepts in named.items():
        table = concepts.accuracy_by_impurity()
        # Enough points for the page, from where a hundred examples are in.
        shown = np.searchsorted(table["share"], np.linspace(0.01, 1, 200) - 1e-9)
        axes.plot(table["share"][shown], table["accuracy"][shown], label=name, linewidth=1.5)
        at = [
            table["accuracy"][np.searchsorted(table["share"], share - 1e-9)]
            for share in (0.1, 0.25, 0.5, 0.75, 1.0)
        ]
        lines.append([name, *(f"{accuracy:.3f}" for accuracy in at)])
    axes.legend(frameon=False, fontsize=8)
    figure.savefig(path, metadata={"Date": None})
    return lines


def profiles(concepts: Concepts, path: Path) -> list[list[str]]:
    """Draw the eigenvalue profile by view; return the coherence of each."""
    from matplotlib.ticker import MaxNLocator

    figure, axes = axes_of("rank", "eigenvalue of the cosines between concepts")
    table = concepts.eigenvalues()
    for view in dict.fromkeys(table["view"].tolist()):
        own = table["view"] == view
        axes.plot(table["rank"][own], table["eigenvalue"][own], label=view, linewidth=1.5)
    axes.set_yscale("log")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(frameon=False, fontsize=8)
    figure.savefig(path, metadata={"Date": None})
    names = ("max", "mean", "min", "largest_eigenvalue", "mean_of_first_three")
    return [[row["view"], *(f"{row[n]:.3f}" for n in names)] for row in concepts.coherence().rows()]


def axes_of(x: str, y: str) -> tuple:
    import matplotlib
    from matplotlib.figure import Figure

    matplotlib.rcParams.update({"svg.hashsalt": "cofactor", "svg.fonttype": "none", "font.size": 9})
    figure = Figure(figsize=(5.2, 3.2), layout="constrained")
    axes = figure.add_subplot()
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", alpha=0.3, linewidth=0.6)
    return figure, axes


def tables(store: cf.ActivationStore, work: Path, out: Path) -> None:
    images = out / "images"
    images.mkdir(parents=True, exist_ok=True)

    def of(name: str, rank: int = 20) -> Concepts:
        nmf = cf.load(folder(work, name, rank, 0))
        return Concepts(nmf, store.select(views=list(nmf.components_)))

    coupled = of("coupled")
    parts = {"Concepts": concept_table(coupled)}
    concept_grid(coupled, images / "paper-case-concepts.jpg")
    parts["Quality"] = quality_tables(summaries(store, work))
    named = {name: of(name) for name in FITS}
    parts["Accuracy by impurity"] = markdown(
        ["purest", "10 %", "25 %", "50 %", "75 %", "all"],
        curves(named, images / "paper-case-impurity.svg"),
    )
    header = ["view", "max", "mean", "min", "largest eigenvalue", "mean of first three"]
    parts["Eigenvalues"] = markdown(
        header, profiles(coupled, images / "paper-case-eigenvalues.svg")
    )
    parts["Stability"] = stability_table(work)
    parts["CKA"] = cka_table(coupled)
    if folder(work, "attacked", 20, SEEDS[-1]).is_dir():
        parts["FGSM"] = attack_text(work)
    if (work / "reconstruction-coupled-20.csv").exists():
        parts["Importance"] = importance_text(work)
    text = "\n".join(f"## {name}\n\n{part}" for name, part in parts.items())
    (work / "tables.md").write_text(text, encoding="utf-8")
    print(text)


def stability_table(work: Path) -> str:
    lines = []
    for name in FITS:
        cells = [name]
        for rank in sorted(RANKS):
            fits = [cf.load(folder(work, name, rank, seed)) for seed in SEEDS]
            found = stability([nmf.W_ for nmf in fits])
            cells.append(f"{found['mean_cosine'].mean():.3f}")
        lines.append(cells)
    return markdown(["stability", *(f"rank {rank}" for rank in sorted(RANKS))], lines)


def cka_table(concepts: Concepts) -> str:
    table = concepts.cka(max_examples=2000)
    lines = []
    for row in table.rows():
        kinds = (row["view_is"], row["other_is"])
        if row["view"] == row["other"] and kinds == ("captured", "reconstructed"):
            lines.append([row["view"], f"{row['cka']:.3f}", f"{row['cka_debiased']:.3f}"])
    return markdown(["view, captured against reconstructed", "CKA", "debiased"], lines)


def attack_text(work: Path) -> str:
    store = cf.ActivationStore(work / "attacked").select(views=[*PIXELS, *LAYERS])
    found = [
        attack_tables(Concepts(cf.load(folder(work, "attacked", 20, seed)), store))
        for seed in SEEDS
    ]
    names = ("accuracy", "nmi", "nmi_predictions", "entropy", "impurity")
    lines = []
    for side in (0, 1):
        values = [[list(tables["sides"].rows())[side][n] for n in names] for tables in found]
        lines.append(
            [
                ("clean", "FGSM")[side],
                *(f"{m:.3f} ± {s:.3f}" for m, s in zip(*mean_and_deviation(values), strict=True)),
            ]
        )
    text = markdown(["side", *(n.replace("_", " ") for n in names)], lines)
    pairs = [next(tables["pairs"].rows()) for tables in found]
    for name in pairs[0]:
        text += f"\n{name}: {np.mean([p[name] for p in pairs]):.3f} ± "
        text += f"{np.std([p[name] for p in pairs], ddof=1):.3f}"
    shown = []
    for row in found[0]["shift"].rows():
        shown.append(
            [
                str(row["concept"]),
                row["clean_class"],
                row["adversarial_class"],
                f"{row['adversarial_share']:.0%}",
                str(row["clean_classes"]),
                str(row["adversarial_classes"]),
                str(row["shared_classes"]),
            ]
        )
    header = [
        "concept", "strongest clean", "strongest FGSM", "share of weight from FGSM",
        "classes in, clean", "classes in, FGSM", "in both",
    ]  # fmt: skip
    return text + "\n\n" + markdown(header, shown)


def importance_text(work: Path) -> str:
    lines = []
    for name in ("coupled", *LAYERS):
        for rank in sorted(RANKS):
            kept = work / f"reconstruction-{name}-{rank}.csv"
            if not kept.exists():
                continue
            with kept.open(encoding="utf-8") as file:
                for row in csv.DictReader(file):
                    accuracy = float(row["accuracy"])
                    lines.append(
                        [
                            row["layer"],
                            name if name == "coupled" else "alone",
                            str(rank),
                            f"{float(row['relative_error']):.3f}",
                            f"{accuracy:.3f}",
                            f"{accuracy + float(row['accuracy_drop']):.3f}",
                            f"{float(row['kl']):.2f}",
                        ]
                    )
    lines.sort(key=lambda line: (LAYERS.index(line[0]), line[1], int(line[2])))
    header = ["layer", "fit", "rank", "relative error", "accuracy", "of the network", "KL"]
    text = markdown(header, lines)
    strongest = []
    for layer in LAYERS:
        with (work / f"importance-{layer}.csv").open(encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        by_concept: dict[int, list] = {}
        for row in rows:
            by_concept.setdefault(int(row["concept"]), []).append(row)
        for r, members in by_concept.items():
            n, drops, kl = (
                np.array([float(member[what]) for member in members])
                for what in ("n_examples", "accuracy_drop", "kl")
            )
            top = np.argsort(-kl)[:4]
            strongest.append(
                [
                    layer,
                    str(r),
                    f"{(n * drops).sum() / n.sum():.3f}",
                    f"{(n * kl).sum() / n.sum():.3f}",
                    ", ".join(f"{members[t]['name']} {kl[t]:.2f}" for t in top),
                ]
            )
    header = ["layer", "concept", "drop of accuracy", "KL", "classes of the largest KL"]
    return text + "\n" + markdown(header, strongest)


def mean_and_deviation(values: list[list[float]]) -> tuple[np.ndarray, np.ndarray]:
    array = np.array(values)
    return array.mean(axis=0), array.std(axis=0, ddof=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "step", choices=["all", "fit", "baselines", "attack", "importance", "tables"]
    )
    parser.add_argument("store", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--out", type=Path, help="folder for the figures; that of work by default")
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    store = cf.ActivationStore(arguments.store)
    step, work, data = arguments.step, arguments.work, arguments.data
    if step in ("all", "fit"):
        fit(store, work)
    if step in ("all", "baselines"):
        baselines(store, work)
    if step in ("all", "attack"):
        attack(data, work)
    if step in ("all", "importance"):
        importance(store, data, work)
    if step in ("all", "tables"):
        tables(store, work, arguments.out or work)


if __name__ == "__main__":
    main()
