"""Options of the benchmarks, and their tables in Markdown at the end of a run."""

from __future__ import annotations

import pytest

TABLES = pytest.StashKey[dict[str, list[str]]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("cofactor")
    group.addoption("--store", help="the paper's case, as `cofactor capture` writes it")
    group.addoption("--rank", type=int, default=20, help="components of the fits")
    group.addoption("--goal", type=int, default=50, help="scikit-learn's iterations to the goal")
    group.addoption("--loss", type=float, help="the goal itself, where it is known already")
    group.addoption("--limit", type=float, default=180, help="the longest fit of a peer, seconds")
    group.addoption("--turns", type=int, default=3, help="timed fits of each, taken in turn")
    group.addoption("--peers", default="", help="only those whose names begin so, by commas")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[TABLES] = {}
    # Of the peers' warnings, none is ours to mend.
    config.addinivalue_line("filterwarnings", "ignore")


@pytest.fixture
def tables(request: pytest.FixtureRequest) -> dict[str, list[str]]:
    """Tables by title, to which a benchmark adds its lines."""
    return request.config.stash[TABLES]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for title, lines in terminalreporter.config.stash[TABLES].items():
        terminalreporter.write_line(f"\n{title}\n")
        for line in lines:
            terminalreporter.write_line(line)
