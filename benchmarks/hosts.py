"""The time per iteration that docs/scale.md predicts, against that on hosts made for the purpose.

    python benchmarks/hosts.py predict benchmarks/predictions.json
    python benchmarks/hosts.py run benchmarks/predictions.json

Hosts are network namespaces, one process of one thread in each. What is sent from one to the other
arrives after a delay, at no more than a bandwidth (network_hosts.py); this needs root. `predict`
measures one process, and messages between the hosts, and writes the parameters and what the model
makes of them. `run` fits on the hosts, writes the measured times beside the predicted ones, and
says by how much they are off.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path
from statistics import median
from typing import Any

from messages import iteration_times, leave, measure_link, measure_process, write_store
from network_hosts import Hosts
from scale_model import Link, iteration_seconds, message_bytes, message_seconds

import cofactor as cf
from cofactor import distributed

K = 20
COLUMNS = 8192
EXAMPLES = 20_480
# Delay one way in milliseconds, and megabits per second.
LINKS = [(1, 200), (10, 200), (10, 50)]
# Around the message of the fit, 1.3 MB.
SIZES = [1 << 16, 1 << 18, 1 << 20, 1 << 21]
PAUSE = 0.05
N_SCALARS = 3


def on_hosts(delay: float, megabits: float, *arguments: str) -> str:
    """Run this program as a process on each of two hosts; return what the first printed."""
    with Hosts(2, delay * 1e-3, megabits * 1e6 / 8) as hosts:
        return hosts.run([sys.executable, __file__, *arguments])[0]


def predict(path: Path, rounds: int) -> None:
    """Measure, and write what the model says."""
    with tempfile.TemporaryDirectory(prefix="hosts-") as folder:
        store = write_store(Path(folder, "acts"), COLUMNS, EXAMPLES)
        # The fits find their files in the page cache.
        process = replace(measure_process(store, K, 1, 5, rounds), bytes_per_example=0)
    n_bytes = message_bytes(K, COLUMNS, N_SCALARS)
    links = []
    for delay, megabits in LINKS:
        found = json.loads(on_hosts(delay, megabits, "measure", str(5 * rounds)))
        link = Link(**found["link"])
        links.append(
            {
                "delay_ms": delay,
                "megabits": megabits,
                **found,
                "predicted_message": message_seconds(n_bytes, 2, link),
                "predicted": iteration_seconds(EXAMPLES, 2, n_bytes, process, link),
            }
        )
    document = {
        "date": time.strftime("%Y-%m-%d"),
        "k": K,
        "columns": COLUMNS,
        "examples": EXAMPLES,
        "processes": 2,
        "message_bytes": n_bytes,
        "process": {
            "seconds_per_example": process.seconds_per_example,
            "fixed_seconds": process.fixed_seconds,
        },
        "one_process": process.seconds(EXAMPLES),
        "links": links,
    }
    path.write_text(json.dumps(document, indent=1) + "\n")


def run(path: Path, rounds: int) -> dict[str, Any]:
    """Fit on the hosts, the links in turn, and write the times beside the predictions."""
    document: dict[str, Any] = json.loads(path.read_text())
    times: list[list[float]] = [[] for _ in document["links"]]
    with tempfile.TemporaryDirectory(prefix="hosts-") as folder:
        write_store(Path(folder, "acts"), COLUMNS, EXAMPLES)
        for _ in range(rounds):
            for link, found in zip(document["links"], times, strict=True):
                told = on_hosts(link["delay_ms"], link["megabits"], "fit", f"{folder}/acts")
                found += json.loads(told)
    for link, found in zip(document["links"], times, strict=True):
        link["measured"] = median(found)
        link["measured_range"] = [min(found), max(found)]
        link["measured_over_predicted"] = link["measured"] / link["predicted"]
    path.write_text(json.dumps(document, indent=1) + "\n")
    return document


def show(document: dict[str, Any]) -> None:
    print("| delay, ms | Mbit/s | predicted, s | measured, s | measured over predicted |")
    print("|---|---|---|---|---|")
    for link in document["links"]:
        measured, ratio = link.get("measured"), link.get("measured_over_predicted")
        print(
            f"| {link['delay_ms']} | {link['megabits']} | {link['predicted']:.3f} | "
            + ("| |" if measured is None else f"{measured:.3f} | {ratio:.2f} |")
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["predict", "run", "measure", "fit"])
    parser.add_argument("argument")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    if options.what in ("predict", "run"):
        path = Path(options.argument)
        (predict if options.what == "predict" else run)(path, options.rounds)
        show(json.loads(path.read_text()))
        return
    # On a host.
    distributed.init_process_group(120)
    if options.what == "measure":
        link, found = measure_link(SIZES, int(options.argument), PAUSE)
        result: Any = {"link": asdict(link), "messages": found}
    else:
        result = iteration_times(cf.ActivationStore(options.argument), K, threads=1, n=10)
    if distributed.rank() == 0:
        print(json.dumps(result))
    leave()


if __name__ == "__main__":
    main()
