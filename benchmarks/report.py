"""The header and the tables of a benchmark: printed as Markdown, written as JSON."""

import argparse
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from anystar_torch.system.allocator import keep_freed_memory
from benchmarks.header import Header

Row = Mapping[str, Any]


class Report:
    """Tables below one header.

    Args:
        header: what the figures are measured on; printed at once.
        path: JSON file that is written again after every table; None for none.
    """

    def __init__(self, header: Header, path: Path | None = None) -> None:
        self.header, self.path = header, path
        self.tables: dict[str, list[Row]] = {}
        print(header, flush=True)

    def table(self, title: str, rows: Iterable[Row], *, show: bool = True) -> None:
        """Print a table and keep it; one with the same title is replaced.

        Args:
            title: what the rows are.
            rows: column -> value; the first column names the row.
            show: whether it is printed.
        """
        self.tables[title] = list(rows)
        if show:
            print(f"\n{title}\n\n{markdown(self.tables[title])}", flush=True)
        self.write()

    def resume(self) -> None:
        """Take over the tables of the JSON file, if there is one."""
        if self.path is not None and self.path.is_file():
            self.tables = json.loads(self.path.read_text())["tables"]

    def write(self) -> None:
        """Write the JSON file, if there is one."""
        if self.path is not None:
            content = {"header": self.header.as_dict(), "tables": self.tables}
            self.path.write_text(json.dumps(content, indent=1) + "\n")


def markdown(rows: Iterable[Row]) -> str:
    """A Markdown table of ``rows``; what a row lacks stays empty."""
    rows = list(rows)
    columns = list(dict.fromkeys(column for row in rows for column in row))
    lines = [columns, ["---"] * len(columns)]
    lines += [[figure(row.get(column, "")) for column in columns] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def figure(value: Any) -> str:
    """A cell: numbers with three digits, the rest as it is."""
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return "" if value is None else str(value).replace("|", "/").replace("\n", " ")


def parser(description: str | None, *, repeats: int | None = None) -> argparse.ArgumentParser:
    """A parser with the options of all benchmarks.

    Args:
        description: docstring of the command.
        repeats: default of ``--repeats``; None for a command that has none.
    """
    made = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of torch and of the peer")
    made.add_argument("--json", type=Path, help="write header and tables to this file")
    if repeats is not None:
        made.add_argument(
            "--repeats", type=int, default=repeats, help="measurements of each row; medians count"
        )
    return made


def begin(
    options: argparse.Namespace, *, weights: Path | str | None = None, packages: tuple[str, ...] = ()
) -> Report:
    """Set the threads and the allocator as the commands do, and print the header.

    Args:
        options: of :func:`parser`.
        weights: the model's folder, where a trained network is used.
        packages: others whose versions matter.
    """
    os.environ["OMP_NUM_THREADS"] = str(options.threads)  # StarDist's OpenMP reads it when it is loaded
    torch.set_num_threads(options.threads)
    keep_freed_memory()  # as anystar predict and train.py do
    return Report(Header.now(weights=weights, packages=packages), options.json)
