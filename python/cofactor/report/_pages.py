"""The pages of a report, made of its tables, pictures and plots."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cofactor.concepts import Table
from cofactor.report._cards import cards_of
from cofactor.report._content import Content, view_slugs
from cofactor.report._example_data import example_data
from cofactor.report._layers import layer_page
from cofactor.report._rows import Row, grouped, rows_of
from cofactor.report._tables import EXAMPLES


def write_pages(content: Content, folder: Path) -> None:
    """Write all pages into `folder`, the index last."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"count": _count, "decimal": _decimal, "percent": _percent}
    concepts, tables = content.concepts, content.tables
    cards = cards_of(concepts, tables, content.images, content.n_classes)
    by_weight = sorted(cards, key=lambda card: -card["weight_share"])
    (fit,) = rows_of("fit", tables["fit"])
    common = {
        "title": content.title
        or f"{fit['n_concepts']:,} concepts of {fit['n_examples']:,} examples",
        "version": content.version,
        "fit": fit,
        "images": content.images,
        "plots": content.plots,
        "cards": cards,
        "by_weight": by_weight,
    }

    def write(path: str, template: str, **known: Any) -> None:
        root = "../" * path.count("/")
        page = environment.get_template(template).render(**common, **known, root=root, here=path)
        (folder / path).write_text(page, encoding="utf-8")

    (folder / "concepts").mkdir()
    names = [card["names"] for card in cards]
    of_concepts = _of_concepts(tables)
    for place, card in enumerate(by_weight):
        before = by_weight[place - 1]["concept"] if place else None
        after = by_weight[place + 1]["concept"] if place + 1 < len(by_weight) else None
        write(
            f"concepts/{card['concept']:03}.html",
            "concept.html",
            **{"card": card, "before": before, "after": after, "names": names},
            table_names=of_concepts,
        )
    write("layers.html", "layers.html", **layer_page(content))
    write("examples.html", "examples.html", **_examples(content, cards))
    write("index.html", "index.html", **_index(content, by_weight))


def _index(content: Content, by_weight: list[dict[str, Any]]) -> dict[str, Any]:
    tables, concepts = content.tables, content.concepts
    slugs = view_slugs(concepts)
    views = [{**row, "slug": slugs[row["view"]]} for row in rows_of("views", tables["views"])]
    by_view = (
        grouped(rows_of("view_loss", tables["view_loss"]), "view") if "view_loss" in tables else {}
    )
    last = [rows[-1] for rows in by_view.values()]
    losses = rows_of("loss", tables["loss"]) if "loss" in tables else [None]
    pairs = rows_of("closest_pairs", tables["closest_pairs"])
    known = [view for view in views if np.isfinite(view.get("loss", np.nan))]
    specific = [card for card in by_weight if card["weight_share"] > 0 and "entropy" in card]
    return {
        "views": views,
        "best_view": min(known, key=lambda view: view["loss"], default=None),
        "first_loss": losses[0],
        "last_loss": losses[-1],
        "most_gained": min(last, key=lambda row: row["of_first"], default=None),
        "scores": rows_of("scores", tables["scores"]) if "scores" in tables else [],
        "map": rows_of("concept_map", tables["concept_map"]),
        "heaviest": by_weight[0],
        "closest": next((pair for pair in pairs if pair["view"] == EXAMPLES), None),
        "most_specific": min(specific, key=lambda card: card["entropy"], default=None),
        "curve": _curve(content),
        "has_worth": "importance" in tables,
        "most_important": max(
            (card["most_worth"] for card in by_weight if card["most_worth"]),
            key=lambda row: row["kl"],
            default=None,
        ),
        "table_names": list(tables),
    }


def _curve(content: Content) -> dict[str, Row] | None:
    """Return the ends of the curve that its caption names: all examples, and the purest quarter."""
    if "accuracy_by_impurity" not in content.plots:
        return None
    rows = rows_of("accuracy_by_impurity", content.tables["accuracy_by_impurity"])
    part = next(row for row in rows if row["share"] >= 0.25)
    return {"whole": rows[-1], "part": part}


def _examples(content: Content, cards: list[dict[str, Any]]) -> dict[str, Any]:
    examples = content.tables["examples"]
    data = example_data(content.tables, content.images, content.concepts.class_names)
    data["names"] = [card["names"][0] if card["names"] else "" for card in cards]
    return {
        "data": data,
        "has_classes": "class" in examples.columns,
        "has_correct": "correct" in examples.columns,
        "has_impurity": "impurity" in examples.columns,
        "by_number": cards,
        "table_names": ["examples", "example_concepts", "neighbors"],
    }


def _of_concepts(tables: Mapping[str, Table]) -> list[str]:
    named = ("concepts", "top_examples", "class_shares", "superclass_shares", "view_shares",
             "saliency", "nearest_concepts", "importance", "class_importance")  # fmt: skip
    return [name for name in tables if name in named or name.startswith("neurons-")]


def _count(value: float) -> str:
    """Write a number of things; passes over a sample count as fractions."""
    return f"{value:,.0f}" if value == int(value) else f"{value:,.1f}"


def _decimal(value: float | None, digits: int = 3) -> str:
    return "n/a" if value is None or not np.isfinite(value) else f"{value:z.{digits}f}"


def _percent(value: float) -> str:
    return "<0.1%" if 0 < value < 0.0005 else f"{100 * value:z.1f}%"
