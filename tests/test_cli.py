"""The command line: its verbs, how errors end, and what it prints where."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cofactor
from cofactor._terminal import Terminal
from cofactor.cli import main

VERBS = ["capture", "fit", "encode", "report", "compare", "info", "bench", "demo"]

Run = Callable[..., "Finished"]


class Finished:
    """Exit status and output of a command line."""

    def __init__(self, status: int, out: str, err: str) -> None:
        self.status = status
        self.out = out
        self.err = err

    @property
    def error(self) -> str:
        """The line of a command that ended with bad input, after checking that it did."""
        assert self.status == 2, self.err
        assert self.out == ""
        assert self.err.count("\n") == 1
        assert self.err.startswith("cofactor: error: ")
        return self.err.removeprefix("cofactor: error: ").rstrip()


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the command in this process, in an empty directory of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr("warnings.showwarning", None)

    def call(*arguments: object) -> Finished:
        with pytest.raises(SystemExit) as exit_info:
            main([str(argument) for argument in arguments])
        status = exit_info.value.code
        assert isinstance(status, int)
        return Finished(status, *capsys.readouterr())

    return call


def run_apart(*arguments: object, code: str = "", **environment: str) -> Finished:
    """Run the command in a process of its own, after `code`."""
    program = f"{code}\nimport sys\nfrom cofactor.cli import main\nmain(sys.argv[1:])"
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return Finished(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a store of two layers and pixels, with labels."""
    path = tmp_path_factory.mktemp("cli") / "acts"
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 3
    weights = np.eye(3)[labels] + 0.1 * rng.random((60, 3))
    views = {"input.0": (4, 4), "layer1": (2, 3, 3), "avgpool": (5,)}
    with cofactor.ActivationStore.create(
        path,
        {name: {"shape": shape, "dtype": "float32"} for name, shape in views.items()},
        attributes={"class_names": ["a", "b", "c"]},
    ) as writer:
        writer.append(
            {name: weights @ rng.random((3, *[np.prod(shape)])) for name, shape in views.items()},
            columns={"labels": labels, "predictions": labels},
        )
    return path


@pytest.fixture(scope="session")
def fit(store: Path) -> Path:
    """Fit the store."""
    path = store.parent / "run"
    cofactor.CoupledNMF(3, random_state=0).fit(cofactor.ActivationStore(store)).save(path)
    return path


# Help


@pytest.mark.parametrize("verb", VERBS)
def test_help_shows_an_example(run: Run, verb: str) -> None:
    shown = run(verb, "--help")
    assert shown.status == 0
    assert "\nExamples:\n" in shown.out
    assert f"  cofactor {verb}" in shown.out
    assert all(len(line) <= 100 for line in shown.out.splitlines())


def test_the_verbs_are_listed_as_they_are_used(run: Run) -> None:
    for arguments in ([], ["--help"], ["-h"]):
        shown = run(*arguments)
        assert shown.status == 0
        listed = shown.out.split("Commands:\n")[1].split("\n\n")[0].splitlines()
        assert [line.split()[0] for line in listed] == VERBS


def test_version(run: Run) -> None:
    assert run("--version").out == f"cofactor {cofactor.__version__}\n"


def test_help_imports_nothing_heavy() -> None:
    heavy = "torch sklearn scipy rich matplotlib PIL"
    code = (
        f"import atexit, sys; atexit.register(lambda: print('imported:', "
        f"[name for name in '{heavy}'.split() if name in sys.modules]))"
    )
    assert run_apart("fit", "--help", code=code).out.endswith("imported: []\n")


def test_python_m() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "cofactor", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("cofactor ")


# Bad input


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["frobnicate"], "No such command 'frobnicate' (see cofactor --help)"),
        (["--frobnicate"], "No such option '--frobnicate'"),
        (["fit"], "Missing argument 'STORE' (see cofactor fit --help)"),
        (["fit", "nowhere", "--rank", "3", "--out", "r"], "'nowhere' does not exist"),
        (["fit", "{store}", "--out", "r"], "Missing option '--rank'"),
        (["fit", "{store}", "--rank", "x", "--out", "r"], "'x' is not a valid integer"),
        (["fit", "{store}", "--rank", "0", "--out", "r"], "n_components=0 must be at least 1"),
        (["fit", "{fit}", "--rank", "3", "--out", "r"], "metadata.json"),
        (
            ["fit", "{store}", "--rank", "3", "--views", "layer9", "--out", "r"],
            "no view 'layer9', expected one of input.0, layer1, avgpool",
        ),
        (
            ["fit", "{store}", "--rank", "3", "--weights", "some", "--out", "r"],
            "'some' is not 'equal', 'balanced' or like layer4=1,avgpool=0.5",
        ),
        (
            ["fit", "{store}", "--rank", "3", "--weights", "layer9=1", "--out", "r"],
            "unknown view(s) 'layer9'",
        ),
        (["fit", "{store}", "--rank", "3", "--out", "{store}"], "something other than a fit"),
        (["fit", "{store}", "--rank", "3", "--out", "{fit}"], "give --overwrite"),
        (["encode", "{store}", "{store}", "--out", "W.npy"], "no fit.json"),
        (["encode", "{fit}", "{store}", "--out", "{store}"], "--out names a file"),
        (["encode", "{fit}", "{store}", "--out", "no/W.npy"], "no directory no"),
        (["report", "{fit}", "{store}", "--out", "{store}"], "not a report's"),
        (["info", "{fit}/W.npy"], "neither an activation store (metadata.json) nor a fit"),
        (["capture", "--data", "d"], "Missing option '--model'"),
        (["demo", "--rank", "0", "--out", "d"], "n_components must be at least 1"),
    ],
)
def test_bad_input_is_one_line(
    run: Run, store: Path, fit: Path, arguments: list[str], message: str
) -> None:
    assert message in run(*(text.format(store=store, fit=fit) for text in arguments)).error
    assert list(Path.cwd().iterdir()) == []


def test_a_missing_extra_is_one_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    arguments = ["--model", "m:f", "--data", "d", "--layers", "a", "--out", "acts"]
    assert "pip install 'cofactor[capture]'" in run("capture", *arguments).error


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (FileNotFoundError(2, "No such file or directory", "x.npy"), "x.npy: No such file or dir"),
        (OSError(28, "No space left on device"), "No space left on device"),
        (PermissionError("not allowed"), "not allowed"),
        (ValueError("two\n  lines"), "two lines"),
        (TypeError(), "TypeError"),
    ],
)
def test_errors_of_the_library_are_one_line(
    run: Run, fit: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, line: str
) -> None:
    def fail(path: Path) -> None:
        raise error

    monkeypatch.setattr("cofactor.nmf.load", fail)
    assert run("info", fit).error.startswith(line)
    monkeypatch.setenv("COFACTOR_TRACEBACK", "1")
    shown = run("info", fit)
    assert shown.status == 2
    assert shown.err.startswith("Traceback (most recent call last):")


def test_bugs_keep_their_traceback(run: Run, fit: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cofactor.nmf.load", lambda path: {}["a bug"])
    with pytest.raises(KeyError, match="a bug"):
        main(["info", str(fit)])


# Ctrl-C

_INTERRUPT_LATER = """
import os, signal, threading, time
def interrupt():
    while "cofactor.nmf" not in __import__("sys").modules: time.sleep(0.05)
    time.sleep(0.3)
    os.kill(os.getpid(), signal.SIGINT)
threading.Thread(target=interrupt, daemon=True).start()
"""


def test_ctrl_c_ends_a_fit_and_leaves_nothing(store: Path, tmp_path: Path) -> None:
    endless = ["--rank", 3, "--tol", 0, "--max-iter", 10**9]
    shown = run_apart("fit", store, *endless, "--out", tmp_path / "run", code=_INTERRUPT_LATER)
    assert (shown.status, shown.out, shown.err) == (130, "", "cofactor: interrupted\n")
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_before_the_verb(monkeypatch: pytest.MonkeyPatch, run: Run) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("cofactor.cli._group.cofactor.make_context", interrupt)
    assert run("info").status == 130


# Fit, encode, info


def test_fit_writes_what_the_library_does(run: Run, store: Path, fit: Path) -> None:
    shown = run("fit", store, "--rank", 3, "--out", "run")
    assert (shown.status, shown.err) == (0, "")
    assert "stopped by converged" in shown.out
    assert [line.split()[0] for line in shown.out.splitlines() if line.startswith(("i", "l"))]
    made, expected = cofactor.load("run"), cofactor.load(fit)
    np.testing.assert_array_equal(made.W_, expected.W_)
    assert f"{made.loss_history_[-1]:.6f}" in shown.out
    assert run("fit", store, "--rank", 2, "--overwrite", "-q", "--out", "run").out == ""
    assert cofactor.load("run").n_components == 2


def test_options_of_fit_reach_the_estimator(run: Run, store: Path) -> None:
    options = {
        "--rank": 2,
        "--views": "layer1,avgpool",
        "--weights": "layer1=0.5",
        "--init": "nndsvda",
        "--max-iter": 50,
        "--tol": 0.01,
        "--alpha-w": 0.001,
        "--alpha-h": 0.002,
        "--l1-ratio": 0.5,
        "--seed": 7,
        "--threads": 1,
        "--device": "cpu",
    }
    pairs = [part for pair in options.items() for part in pair]
    assert run("fit", store, *pairs, "--out", "run").status == 0
    nmf = cofactor.load("run")
    assert list(nmf.components_) == ["layer1", "avgpool"]
    assert nmf.weights_ == {"layer1": 0.5, "avgpool": 1.0}
    parameters = {
        "n_components": 2,
        "init": "nndsvda",
        "max_iter": 50,
        "tol": 0.01,
        "alpha_W": 0.001,
        "alpha_H": 0.002,
        "l1_ratio": 0.5,
        "random_state": 7,
        "n_threads": 1,
        "device": "cpu",
    }
    assert parameters.items() <= nmf.get_params().items()


def test_warnings_are_one_line() -> None:
    code = "import warnings; warnings.simplefilter('always')"
    main_code = (
        f"{code}\nfrom cofactor.cli import _run\n_run._show_warning(Warning('two\\n lines'))"
    )
    shown = run_apart("--version", code=main_code)
    assert shown.err == "cofactor: warning: two lines\n"


def test_a_fit_that_does_not_converge_warns(store: Path, tmp_path: Path) -> None:
    shown = run_apart("fit", store, "--rank", 3, "--max-iter", 1, "--out", tmp_path / "run")
    assert shown.status == 0
    assert shown.err.startswith("cofactor: warning: Maximum number of iterations 1 reached")
    assert shown.err.count("\n") == 1


def test_encode(run: Run, store: Path, fit: Path) -> None:
    shown = run("encode", fit, store, "--out", "W.npy")
    assert shown.out == "W.npy: 60 examples x 3 components, float32\n"
    activations = cofactor.ActivationStore(store)
    nmf = cofactor.load(fit)
    np.testing.assert_array_equal(np.load("W.npy"), nmf.transform(activations))
    assert run("-q", "encode", fit, store, "--views", "layer1", "--out", "W.npy").out == ""
    expected = nmf.transform(activations.select(views=["layer1"]))
    np.testing.assert_array_equal(np.load("W.npy"), expected)
    assert [path.name for path in Path.cwd().iterdir()] == ["W.npy"]


def test_a_store_may_hold_more_views_than_the_fit(run: Run, store: Path) -> None:
    assert run("fit", store, "--rank", 2, "--views", "layer1", "--out", "run").status == 0
    assert run("encode", "run", store, "--out", "W.npy").status == 0
    expected = cofactor.load("run").transform(
        cofactor.ActivationStore(store).select(views="layer1")
    )
    np.testing.assert_array_equal(np.load("W.npy"), expected)

    other = {"other": {"shape": (4,), "dtype": "float32"}}
    with cofactor.ActivationStore.create("foreign", other) as writer:
        writer.append({"other": np.ones((3, 4))})
    error = run("encode", "run", "foreign", "--out", "W.npy").error
    assert error == "foreign has none of the views of run: other against layer1"


def test_info(run: Run, store: Path, fit: Path) -> None:
    shown = run("info", store).out
    assert "60 examples" in shown
    assert "layer1" in shown
    shown = run("-q", "info", fit).out
    assert shown.startswith("3 components after")
    assert "avgpool" in shown
    facts = dict(line.split(maxsplit=1) for line in run("info").out.splitlines())
    assert facts["cofactor"] == cofactor.__version__
    assert int(facts["threads"]) >= 1


def test_report(run: Run, store: Path, fit: Path) -> None:
    for module in ("jinja2", "matplotlib", "PIL"):
        pytest.importorskip(module)
    assert run("fit", store, "--rank", 2, "--views", "layer1", "--out", "run").status == 0
    assert run("report", "run", store, "--out", "report").status == 0
    shown = run("report", fit, store, "--out", "report")
    assert shown.out == f"report: {(Path.cwd() / 'report' / 'index.html').as_uri()}\n"
    assert json.loads(Path("report/metrics.json").read_text())["n_concepts"] == 3


# Capture


@pytest.fixture
def network(run: Run) -> str:
    """Write a small network and images into the current directory."""
    pytest.importorskip("torch")
    Path("users_network.py").write_text(
        "import os, signal, numpy as np, torch\n"
        "from torch import nn\n"
        "def build(classes=3):\n"
        "    torch.manual_seed(0)\n"
        "    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(),\n"
        "                         nn.Linear(144, classes))\n"
        "class Stopped:\n"
        "    def __iter__(self):\n"
        "        for number in range(3):\n"
        "            if number == 2: os.kill(os.getpid(), signal.SIGINT)\n"
        "            yield np.zeros((4, 3, 8, 8), np.uint8)\n"
    )
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (10, 8, 8, 3), dtype=np.uint8)
    np.savez("d.npz", images=images, labels=np.arange(10) % 3, class_names=["a", "b", "c"])
    sys.modules.pop("users_network", None)
    return "users_network:build"


def test_capture(run: Run, network: str) -> None:
    import torch

    normalize = ["--mean", "0.5,0.4,0.3", "--std", "0.2,0.2,0.2"]
    required = ["--model", network, "--data", "d.npz", "--out", "acts"]
    shown = run("capture", *required, "--layers", "0,1", "--layer", "3", "--pixels", *normalize)
    assert (shown.status, shown.err) == (0, "")
    assert "accuracy of the network: 0." in shown.out
    store = cofactor.ActivationStore("acts")
    assert list(store.views) == ["input.0", "input.1", "input.2", "0", "1", "3"]
    assert store.attributes["class_names"] == ["a", "b", "c"]
    images = torch.from_numpy(np.load("d.npz")["images"]).permute(0, 3, 1, 2) / 255
    moments = [torch.tensor(moment).view(3, 1, 1) for moment in ([0.5, 0.4, 0.3], [0.2] * 3)]
    model: Any = sys.modules["users_network"].build()  # type: ignore[attr-defined]
    expected = model((images - moments[0]) / moments[1]).detach().numpy()
    np.testing.assert_allclose(store.read("3"), expected, rtol=2e-3, atol=1e-3)
    np.testing.assert_allclose(store.read("input.1"), images[:, 1].reshape(10, 64), atol=1e-6)

    assert "give --overwrite" not in run("capture", *required, "--layers", "1", "--overwrite").err
    assert list(cofactor.ActivationStore("acts").views) == ["1"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--layers", "relu"], "layer 'relu' matches no module of Sequential"),
        (["--layers", "1", "--mean", "0.5"], "--mean and --std go together"),
        (["--layers", "1", "--mean", "a", "--std", "1"], "'a' is not like 0.5,0.5,0.5"),
        (["--layers", "1", "--model-arg", "classes"], "'classes' is not like num_classes=10"),
        (["--layers", "1", "--model-arg", "colour=2"], "unexpected keyword argument 'colour'"),
        (["--layers", "1", "--weights", "no.pt"], "there is no weights file no.pt"),
        (["--layers", "1", "--data", "no.npz"], "no directory or .npz file no.npz"),
        (["--layers", "1", "--out", "d.npz"], "d.npz: is a file"),
        (["--layers", "1", "--mean", "0,0", "--std", "1,1"], "normalize has 2 numbers"),
    ],
)
def test_bad_input_to_capture(run: Run, network: str, options: list[str], message: str) -> None:
    required = ["--model", network, "--data", "d.npz", "--out", "acts"]
    assert message in run("capture", *required, *options).error
    assert not Path("acts").exists()


def test_arguments_of_the_model(run: Run, network: str) -> None:
    required = ["--model", network, "--data", "d.npz", "--out", "acts", "--layers", "3"]
    assert run("capture", *required, "--model-arg", "classes=7").status == 0
    assert cofactor.ActivationStore("acts").views["3"].n_columns == 7


def test_a_store_is_not_replaced_unasked(run: Run, network: str) -> None:
    required = ["--model", network, "--data", "d.npz", "--out", "acts", "--layers", "1"]
    assert run("capture", *required).status == 0
    assert "pass --overwrite" in run("capture", *required).error
    assert len(cofactor.ActivationStore("acts")) == 10


def test_ctrl_c_ends_a_capture_and_leaves_nothing(run: Run, network: str) -> None:
    data = network.replace("build", "Stopped")
    shown = run("capture", "--model", network, "--data", data, "--layers", "1", "--out", "acts")
    assert (shown.status, shown.out, shown.err) == (130, "", "cofactor: interrupted\n")
    assert not Path("acts").exists()


# Progress


def test_progress_is_on_standard_error_of_a_terminal(
    run: Run, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Terminal, "shows_progress", True)
    shown = run("fit", store, "--rank", 3, "--out", "run")
    assert "fit" in shown.err
    assert "loss 0." in shown.err
    assert run("encode", "run", store, "--out", "W.npy").status == 0
    assert "loss 0." not in shown.out


def test_signals_are_handled_as_before(run: Run) -> None:
    before = signal.getsignal(signal.SIGINT)
    run("--version")
    assert signal.getsignal(signal.SIGINT) is before
