"""The pages of a report in a browser; skipped where playwright or Chromium is absent."""

from __future__ import annotations

import itertools
import json
import re
import shutil

import numpy as np
import pytest

from cofactor.concepts import Concepts
from cofactor.report import report
from fake_fit import planted
from report_pages import is_rounded, of_network, read_tables

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is absent")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
NAMES = ["<script>document.title = 'run'</script>", "a_long_name_" * 8, "cat", "dog"]
PAGES = ["index.html", "concepts/000.html", "layers.html", "examples.html"]
FLAGS = (
    "--no-sandbox --disable-gpu --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("chromium is absent")
    with playwright.sync_playwright() as api:
        # Playwright starts Chromium with a profile of its own.
        browser = api.chromium.launch(executable_path=CHROMIUM, args=FLAGS.split())
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def concepts():
    return Concepts(*planted(n_examples=200, class_names=NAMES, k=5))


@pytest.fixture(scope="module")
def folder(concepts, tmp_path_factory):
    out = tmp_path_factory.mktemp("browser") / "out"
    return report(concepts, out, title="A page", **of_network(concepts)).parent


@pytest.fixture
def open_page(browser, folder):
    """Open a page; at the end, fail on any error and on any request beyond the disk."""
    contexts, problems = [], []

    def open_page(name="index.html", width=1280, scheme="light", where=folder):
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        context.set_default_timeout(120_000)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: problems.append(message.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("requestfailed", lambda request: problems.append(request.url))
        page.on(
            "request",
            lambda request: (
                None if request.url.startswith(("file:", "data:")) else problems.append(request.url)
            ),
        )
        file, _, anchor = name.partition("#")
        page.goto((where / file).as_uri() + (f"#{anchor}" if anchor else ""))
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert problems == []


def load_images(page):
    page.evaluate("for (const image of document.images) image.loading = 'eager'")
    page.wait_for_function("[...document.images].every(image => image.complete)")


# Every page


@pytest.mark.parametrize("name", PAGES)
def test_names_are_shown_as_text(open_page, name):
    page = open_page(name)
    load_images(page)
    assert page.title().endswith("A page")
    assert page.evaluate("[...document.images].every(image => image.naturalWidth > 0)")


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("width", [320, 400, 700, 1280])
def test_nothing_is_wider_than_the_window(open_page, name, width):
    page = open_page(name, width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    # What a box cuts off would not widen the page.
    assert page.evaluate(
        "[...document.querySelectorAll('.view, .summary > section, figure, .detail')]"
        ".every(box => box.scrollWidth <= box.clientWidth)"
    )


def test_colour_scheme_is_followed(open_page):
    background = "getComputedStyle(document.body).backgroundColor"
    light, dark = open_page(), open_page(scheme="dark")
    assert light.evaluate(background) == "rgb(255, 255, 255)"
    assert dark.evaluate(background) == "rgb(15, 18, 22)"
    curve = "document.querySelector('.plot').currentSrc.split('/').pop()"
    assert [light.evaluate(curve), dark.evaluate(curve)] == ["loss-light.svg", "loss-dark.svg"]
    dark.emulate_media(media="print")
    assert dark.evaluate(background) == "rgb(255, 255, 255)"


def test_text_has_contrast(open_page):
    """Every colour of text reaches 4.5 to 1 on all that is behind text (WCAG AA)."""
    contrast = """() => {
        const style = getComputedStyle(document.documentElement);
        const light = name => {
            const colour = style.getPropertyValue(name).trim().replace('#', '');
            const full = colour.length === 3 ? [...colour].map(c => c + c).join('') : colour;
            const [r, g, b] = [0, 2, 4].map(i => parseInt(full.slice(i, i + 2), 16) / 255)
                .map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
            return 0.2126 * r + 0.7152 * g + 0.0722 * b;
        };
        const pairs = ['--ink', '--soft', '--heat-text'].flatMap(
            text => ['--page', '--panel'].map(ground => [light(text), light(ground)]));
        pairs.push([light('--ink'), light('--chosen')], [light('--heat-text'), light('--chosen')]);
        return Math.min(...pairs.map(([a, b]) =>
            (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)));
    }"""
    for scheme in ("light", "dark"):
        assert open_page(scheme=scheme).evaluate(contrast) >= 4.5


@pytest.mark.parametrize("name", PAGES)
def test_pages_are_read_in_order_and_by_keyboard(open_page, name):
    page = open_page(name)
    levels = page.evaluate(
        "[...document.querySelectorAll('h1, h2, h3')].map(heading => +heading.tagName[1])"
    )
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b - a <= 1 for a, b in itertools.pairwise(levels))
    for landmark in ("main", "navigation", "contentinfo"):
        assert page.get_by_role(landmark).count() == 1
    # Everything that can be operated has a name.
    for role in ("button", "link", "img", "combobox", "searchbox", "grid", "table"):
        for element in page.get_by_role(role).all():
            assert element.evaluate(
                "e => e.tagName === 'TABLE' || (e.ariaLabel || e.alt || e.title || e.innerText"
                " || e.querySelector('[aria-label]')?.ariaLabel"
                " || e.labels?.[0]?.innerText || '').trim() !== ''"
            )
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    assert page.evaluate("location.hash") == "#main"


def test_pages_print(open_page, tmp_path):
    for name in PAGES:
        page = open_page(name)
        content = page.pdf(path=str(tmp_path / "page.pdf"), format="A4")
        assert content.startswith(b"%PDF")
        page.emulate_media(media="print")
        assert page.locator("nav.pages").is_hidden()
        # The list of examples does not unroll.
        assert page.locator("#list tr[data-row]").count() < 60


# The overview


def test_overview_shows_the_numbers_of_the_metrics(open_page, folder):
    page = open_page()
    metrics = json.loads((folder / "metrics.json").read_text())
    assert page.locator(".figure data").inner_text() == f"{metrics['loss']:.3f}"
    shown = page.locator(".scores .strong data").all_inner_texts()
    by_class, by_superclass = metrics["scores"]["class"], metrics["scores"]["superclass"]
    assert shown == [
        f"{scores[name]:.3f}"
        for name in ("nmi", "ari", "purity")
        for scores in (by_class, by_superclass)
    ]
    losses = page.locator(".views tr td:nth-child(4) data").all_inner_texts()
    assert losses == [f"{loss:.3f}" for loss in metrics["view_losses"].values()]


def column_of(page, number, table="#concept-table"):
    cells = page.locator(f"{table} tbody td:nth-child({number}) data")
    return [float(value) for value in cells.evaluate_all("all => all.map(e => e.value)")]


def test_concepts_are_sorted_by_a_click_on_a_heading(open_page):
    page = open_page()
    heading = page.get_by_role("columnheader", name="entropy", exact=True)
    heading.get_by_role("button").click()
    assert heading.get_attribute("aria-sort") == "descending"
    entropies = column_of(page, 5)
    assert len(entropies) == 5
    assert entropies == sorted(entropies, reverse=True)
    heading.get_by_role("button").press("Enter")
    assert heading.get_attribute("aria-sort") == "ascending"
    assert column_of(page, 5) == entropies[::-1]
    assert page.locator("#concept-table th[aria-sort]").count() == 1
    page.get_by_role("columnheader", name="concept", exact=True).get_by_role("button").click()
    rows = page.locator("#concept-table tbody th").all_inner_texts()
    assert rows == [f"Concept {r}" for r in range(5)]


def test_concepts_are_found_by_class_and_number(open_page, concepts):
    page = open_page()
    table = concepts.table()
    having = [r for r in range(5) if "cat" in [table[f"class_{place}"][r] for place in (1, 2, 3)]]
    page.get_by_role("searchbox").fill("CAT")
    for items in (".map li", "#concept-table tbody tr"):
        assert page.locator(f"{items}:visible").count() == len(having)
    assert page.locator("#found-concepts").inner_text() == f"{len(having)} of 5"
    page.get_by_role("searchbox").fill("3")
    assert page.locator(".map li:visible b").all_inner_texts() == ["3"]
    page.get_by_role("searchbox").fill("")
    assert page.locator(".map li:visible").count() == 5


def test_links_lead_through_the_report(open_page, concepts):
    page = open_page()
    order = np.argsort(-concepts.table()["weight_share"]).tolist()
    page.locator("#concept-table tbody a").first.click()
    assert page.locator("h1").inner_text().startswith(f"Concept {order[0]}")
    page.locator("a[rel=next]").click()
    assert page.locator("h1").inner_text().startswith(f"Concept {order[1]}")
    example = concepts.top_examples(order[1], 1)["example"][0]
    page.locator(".examples a").first.click()
    assert page.locator("#detail h2").inner_text() == f"Example {example}"
    page.go_back()
    page.locator(".facts a").click()
    assert page.locator("#concept").input_value() == str(order[1])
    size = concepts.table()["cluster_size"][order[1]]
    assert page.locator("#status").inner_text() == f"{size} of 200 examples"
    page.get_by_role("link", name="Layers").click()
    page.get_by_role("table").get_by_role("link", name="conv").click()
    assert page.evaluate("location.hash") == "#view-conv"


def test_concept_shows_the_shares_of_its_classes(open_page, concepts):
    page = open_page("concepts/002.html")
    shares = sorted(concepts.class_shares()[2], reverse=True)
    shown = page.locator(".classes.class td data").all_inner_texts()
    assert shown == [f"{100 * share:.1f}%" for share in shares]


# The examples


def cells(page, key):
    return page.locator(f"#list tbody td.c-{key}").evaluate_all(
        "all => all.map(cell => cell.querySelector('data')?.value ?? cell.title)"
    )


def click_heading(page, name):
    page.get_by_role("columnheader", name=name).get_by_role("button").click()


def test_examples_are_sorted(open_page, folder):
    page = open_page("examples.html")
    table = read_tables(folder)["examples"]
    by_impurity = sorted(table, key=lambda row: float(row["impurity"]))
    click_heading(page, "impurity")
    shown = cells(page, "impurity")
    assert len(shown) > 20
    assert shown == [row["impurity"] for row in by_impurity][: len(shown)]
    assert cells(page, "example") == [row["example"] for row in by_impurity][: len(shown)]
    click_heading(page, "impurity")
    assert cells(page, "impurity") == [row["impurity"] for row in by_impurity[::-1]][: len(shown)]
    click_heading(page, "class")
    names = sorted(row["class"] for row in table)
    assert cells(page, "class") == names[: len(shown)]


def test_examples_are_found_by_class_and_number(open_page, folder):
    page = open_page("examples.html")
    table = read_tables(folder)["examples"]
    page.locator("#search").fill("<SCRIPT")
    assert set(cells(page, "class")) == {NAMES[0]}
    assert page.locator("#status").inner_text() == "50 of 200 examples"
    page.locator("#search").fill("17")
    assert cells(page, "example") == ["17"]
    page.locator("#search").fill("")
    page.locator("#concept").select_option("2")
    page.locator("#correct").select_option("0")
    wanted = [r["example"] for r in table if r["concept"] == "2" and r["correct"] == "False"]
    assert page.locator("#status").inner_text() == f"{len(wanted)} of 200 examples"
    assert cells(page, "example") == wanted[: len(cells(page, "example"))]
    page.locator("#search").fill("nothing like it")
    assert page.locator("#status").inner_text() == "0 of 200 examples"


def test_numbers_of_the_list_and_of_an_example_are_those_of_their_cells(open_page, folder):
    tables = read_tables(folder)
    page = open_page("examples.html#example-123")
    assert page.locator("#detail h2").inner_text() == "Example 123"
    shown = page.locator("#explorer data").evaluate_all(
        "all => all.map(e => [e.textContent, e.value, e.dataset.of])"
    )
    assert len(shown) > 60
    for text, value, of in shown:
        table, row, column = of.split("/")
        assert tables[table][int(row)][column] == value
        assert is_rounded(text, float(value))
    memberships = [r for r in tables["example_concepts"] if r["example"] == "123"]
    links = page.locator("#detail tbody a").all_inner_texts()
    assert links == [f"Concept {row['concept']}" for row in memberships]
    nearest = [r["neighbor"] for r in tables["neighbors"] if r["example"] == "123"]
    labels = page.locator("#detail .grid button").evaluate_all("all => all.map(b => b.ariaLabel)")
    assert [re.search(r"example (\d+)", label)[1] for label in labels] == nearest
    page.locator("#detail .grid button").first.click()
    assert page.locator("#detail h2").inner_text() == f"Example {nearest[0]}"
    assert page.locator("#list tr[aria-selected=true]").get_attribute("data-row") == nearest[0]


def test_pictures_are_those_of_the_examples(open_page, folder):
    """The piece of the sheet that a row shows is where the example was put."""
    page = open_page("examples.html#example-37")
    style = page.locator("#detail header .sprite").evaluate(
        "e => [e.style.backgroundImage, e.style.backgroundPosition]"
    )
    assert "images/examples/000.webp" in style[0]
    x, y = (float(part.rstrip("%")) for part in style[1].split())
    # 200 examples lie in 13 rows of 16.
    assert (round(y / 100 * 12), round(x / 100 * 15)) == divmod(37, 16)


def test_examples_are_chosen_by_keyboard(open_page):
    page = open_page("examples.html")
    page.get_by_role("grid").focus()
    for key, example in (("ArrowDown", 1), ("End", 199), ("ArrowUp", 198), ("Home", 0)):
        page.keyboard.press(key)
        assert page.locator("#detail h2").inner_text() == f"Example {example}"
        chosen = page.locator("#list tr[aria-selected=true]")
        assert chosen.get_attribute("aria-rowindex") == str(example + 2)
        assert page.get_by_role("grid").get_attribute("aria-activedescendant") == (
            chosen.get_attribute("id")
        )
        box, list_box = chosen.bounding_box(), page.locator(".viewport").bounding_box()
        assert box["y"] >= list_box["y"]
        assert box["y"] + box["height"] <= list_box["y"] + list_box["height"] + 1
    page.keyboard.press("PageDown")
    assert page.locator("#detail h2").inner_text() != "Example 0"


def test_only_rows_in_sight_are_in_the_document(open_page):
    page = open_page("examples.html")
    assert page.locator("#list tr[data-row]").count() < 60
    page.locator(".viewport").evaluate("e => { e.scrollTop = e.scrollHeight; }")
    page.wait_for_function(
        "[...document.querySelectorAll('#list tr[data-row]')].pop().dataset.row === '199'"
    )
    assert page.locator("#list tr[data-row]").count() < 60
    height = page.locator(".viewport").evaluate("e => e.scrollHeight")
    assert abs(height - 200 * 44) < 60


@pytest.mark.slow
def test_ten_thousand_examples_and_a_hundred_concepts(open_page, tmp_path):
    """Pages are ready within two seconds; a step of scrolling takes less than a frame."""
    names = [f"class {c}" for c in range(100)]
    shapes = {**{f"input.{c}": (32, 32) for c in range(3)}, "conv": (64, 4, 4), "fc": (64,)}
    concepts = Concepts(*planted(n_examples=10_000, k=100, shapes=shapes, class_names=names))
    folder = report(concepts, tmp_path / "out").parent
    ready = "performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd"
    for name in ("index.html", "concepts/042.html", "layers.html", "examples.html"):
        seconds = min(open_page(name, where=folder).evaluate(ready) / 1000 for _ in range(3))
        print(f"{name}: ready after {seconds:.3f} s")
        assert seconds < 2
    page = open_page("examples.html", where=folder)
    assert page.locator("#status").inner_text() == "10,000 of 10,000 examples"
    times = page.evaluate("""async () => {
        const times = [], render = VirtualTable.prototype.render;
        VirtualTable.prototype.render = function () {
            const start = performance.now();
            render.call(this);
            document.body.offsetHeight;  // with the layout that it asks for
            times.push(performance.now() - start);
        };
        const viewport = document.querySelector('.viewport');
        for (let step = 0; step < 120; step += 1) {
            viewport.scrollTop += step < 60 ? 130 : 6000;
            await new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));
        }
        return times;
    }""")
    print(f"a step of scrolling: median {np.median(times):.2f} ms, longest {max(times):.2f} ms")
    assert len(times) > 100
    assert np.median(times) < 1000 / 60
    start = "const start = performance.now();"
    sorting = page.evaluate(
        f"() => {{ {start} document.querySelector('.c-impurity button').click();"
        " return performance.now() - start; }"
    )
    searching = page.evaluate(
        f"() => {{ const s = document.getElementById('search'); s.value = 'class 42'; {start}"
        " s.dispatchEvent(new Event('input')); return performance.now() - start; }"
    )
    print(f"sorting: {sorting:.0f} ms; searching: {searching:.0f} ms")
    assert sorting < 500
    assert searching < 500
    assert page.locator("#status").inner_text() == "100 of 10,000 examples"
