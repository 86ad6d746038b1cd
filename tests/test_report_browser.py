"""The page of a report in a browser; skipped where playwright or Chromium is absent."""

from __future__ import annotations

import itertools
import json
import shutil

import pytest

from cofactor.concepts import Concepts
from cofactor.report import report
from fake_fit import planted

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is absent")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
NAMES = ["<script>document.title = 'run'</script>", "a_long_name_" * 8, "cat", "dog"]
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
    return Concepts(*planted(class_names=NAMES, k=5))


@pytest.fixture(scope="module")
def index(concepts, tmp_path_factory):
    return report(concepts, tmp_path_factory.mktemp("browser") / "out", title="A page")


@pytest.fixture
def open_page(browser, index):
    """Open the page; at the end, fail on any error and on any request beyond the disk."""
    contexts, problems = [], []

    def open_page(width=1280, scheme="light"):
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
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
        page.goto(index.as_uri())
        page.evaluate("for (const image of document.images) image.loading = 'eager'")
        page.wait_for_function("[...document.images].every(image => image.complete)")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert problems == []


def test_page_shows_every_concept(open_page, concepts):
    page = open_page()
    assert page.title() == "A page"
    assert page.locator("article").count() == concepts.n_concepts
    assert page.locator("nav li").count() == concepts.n_concepts
    assert page.evaluate("[...document.images].every(image => image.naturalWidth > 0)")


def test_page_shows_the_numbers_of_the_metrics(open_page, index):
    page = open_page()
    metrics = json.loads((index.parent / "metrics.json").read_text())
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


def test_card_shows_the_shares_of_its_classes(open_page, concepts):
    page = open_page()
    shares = sorted(concepts.class_shares()[2], reverse=True)
    shown = page.locator("#concept-2 .classes.class data").all_inner_texts()
    assert shown == [f"{100 * share:.1f}%" for share in shares]


def test_names_are_shown_as_text(open_page):
    page = open_page()
    assert page.title() == "A page"
    assert page.locator("script").count() == 0
    assert NAMES[0] in page.locator("#concept-0 h2").inner_text()


@pytest.mark.parametrize("width", [320, 400, 700, 1280])
def test_nothing_is_wider_than_the_window(open_page, width):
    page = open_page(width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    # What a box cuts off would not widen the page.
    assert page.evaluate(
        "[...document.querySelectorAll('.view, .summary > section')]"
        ".every(box => box.scrollWidth <= box.clientWidth)"
    )


def test_colour_scheme_is_followed(open_page):
    background = "getComputedStyle(document.body).backgroundColor"
    light, dark = open_page(), open_page(scheme="dark")
    assert light.evaluate(background) == "rgb(255, 255, 255)"
    assert dark.evaluate(background) == "rgb(15, 18, 22)"
    curve = "document.querySelector('.curve').currentSrc.split('/').pop()"
    assert [light.evaluate(curve), dark.evaluate(curve)] == ["loss-light.svg", "loss-dark.svg"]
    dark.emulate_media(media="print")
    assert dark.evaluate(background) == "rgb(255, 255, 255)"


def test_text_has_contrast(open_page):
    """Every colour of text reaches 4.5 to 1 on the page and on panels (WCAG AA)."""
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
        return Math.min(...pairs.map(([a, b]) =>
            (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)));
    }"""
    for scheme in ("light", "dark"):
        assert open_page(scheme=scheme).evaluate(contrast) >= 4.5


def test_page_is_read_in_order_and_by_keyboard(open_page):
    page = open_page()
    levels = page.evaluate(
        "[...document.querySelectorAll('h1, h2, h3')].map(heading => +heading.tagName[1])"
    )
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b - a <= 1 for a, b in itertools.pairwise(levels))
    for landmark in ("banner", "main", "navigation", "contentinfo"):
        assert page.get_by_role(landmark).count() >= 1
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the concepts"
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    heaviest = page.locator("article").first.get_attribute("id")
    assert page.evaluate("location.hash") == f"#{heaviest}"
