"""Tables as LaTeX (booktabs) and Markdown, written by pandas; text from users is escaped."""

import math
import re
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import pandas as pd

from harness.base.text import MINUS, number
from harness.exports.paper_table import ABLATIONS, PaperTable, TableCell
from harness.results.current import StoredRun
from harness.vocabulary import Protocol, Split


@dataclass(frozen=True, slots=True)
class NumberText:
    """A cell's number: ``mean`` and ``sd`` as text of equal decimals, ``n`` where it is printed, lost trials."""

    mean: str
    sd: str = ""
    n: int | None = None
    lost: int = 0
    bold: bool = False


Entry = str | NumberText
"""A cell: a user's text, or a number."""


@dataclass(frozen=True, slots=True)
class TextTable:
    """Head, rows and caption, independent of the output format."""

    head: tuple[str, ...]
    rows: tuple[tuple[Entry, ...], ...]
    caption: str
    label: str
    right: int = 1
    """Columns from here on stand to the right."""


def as_text(table: PaperTable) -> TextTable:
    """A paper's table with its numbers typeset and its caption written."""
    counts = {cell.n for cell in table.cells}
    rows = []
    for row in table.rows:
        decimals = _decimals(row.cells.values())
        entries: list[Entry] = [", ".join(row.benchmarks)]
        for arm in table.arms:
            cell = row.cells.get(arm)
            entries.append("" if cell is None else _number(cell, decimals, say_n=len(counts) > 1))
        rows.append(tuple(entries))
    return TextTable(("benchmark", *table.arms), tuple(rows), _caption(table, counts), f"tab:{name_of(table)}")


def name_of(table: PaperTable) -> str:
    """``suite-scale-metric``, and what sets the table apart from others of the metric."""
    apart = (
        "" if table.split == Split.TEST else table.split,
        "" if table.protocol == Protocol.PUBLISHED else table.protocol,
        table.part if table.part == ABLATIONS else "",
    )
    return slug("-".join(filter(None, (table.suite, table.scale, table.metric.name, *apart))))


def _number(cell: TableCell, decimals: int | None, *, say_n: bool) -> NumberText:
    sd = "" if cell.sd is None else _written(cell.sd, decimals)
    return NumberText(_written(cell.mean, decimals), sd, cell.n if say_n else None, cell.lost, cell.best)


def _decimals(cells: Iterable[TableCell]) -> int | None:
    """Decimals of a row: two digits of its largest standard deviation, or four of its largest mean; None: powers."""
    cells = list(cells)
    spread = max((cell.sd for cell in cells if cell.sd), default=0.0)
    size, digits = (spread, 2) if spread else (max(abs(cell.mean) for cell in cells), 4)
    if size == 0.0:
        return 2
    decimals = digits - 1 - math.floor(math.log10(size))
    large = max(abs(cell.mean) for cell in cells) >= 1e7
    return None if decimals > 6 or large else max(0, min(decimals, 4))


def _written(value: float, decimals: int | None) -> str:
    if decimals is None:
        return number(value)
    text = f"{value:.{decimals}f}"
    return text.replace("-", "" if float(text) == 0 else MINUS)  # no −0.00


def _caption(table: PaperTable, counts: set[int]) -> str:
    """The facts that make a table readable by itself."""
    facts = table.metric
    unit = ", ".join(filter(None, (facts.unit, f"{facts.better} is better" if facts.better else "")))
    tuned = table.protocol == Protocol.TUNED
    protocol = ", each arm with the hyper-parameters that it chose at equal budgets" if tuned else ""
    spread = any(cell.sd is not None for cell in table.cells)
    what = "mean ± standard deviation over seeds" if spread else "one seed"
    n = f" (n = {next(iter(counts))})" if len(counts) == 1 and spread else ""
    sentences = [
        f"{facts.name}{f' ({unit})' if unit else ''} on {table.split}, suite {table.suite} at scale {table.scale}"
        f"{', ablations' if table.part == ABLATIONS else ''}"
        f"{protocol}: {what}{n}.",
        "Bold: the best mean of a row; not a verdict." if any(cell.best for cell in table.cells) else "",
        "A dagger counts trials that diverged or failed." if any(cell.lost for cell in table.cells) else "",
        f"Measured on stand-ins: {'; '.join(table.stand_ins)}." if table.stand_ins else "",
        *(f"Left out: {text}." for text in table.left_out),
        f"Of {'run' if len(table.runs) == 1 else 'runs'} {', '.join(map(_run, table.runs))}.",
    ]
    return " ".join(filter(None, sentences))


def _run(run: StoredRun) -> str:
    parts = [f"commit {run.commit}" if run.commit else "", f"--set {run.changed}" if run.changed else ""]
    more = ", ".join(filter(None, parts))
    return f"{run.run_id}{f' ({more})' if more else ''}"


def markdown(table: TextTable) -> str:
    """A Markdown table with its caption above; bars and markup in names are escaped."""
    cells = [[_markdown(entry) for entry in row] for row in table.rows]
    text = pd.DataFrame(cells).to_markdown(
        index=False,
        headers=[_markdown_text(name) for name in table.head],
        colalign=["left"] * table.right + ["right"] * (len(table.head) - table.right),
        disable_numparse=True,
    )
    return "\n".join([*([_markdown_text(table.caption), ""] if table.caption else []), text]) + "\n"


def _markdown_text(text: str) -> str:
    return re.sub(r"([\\`*_{}\[\]<>|#~$])", r"\\\1", one_line(text))


def _markdown(entry: Entry) -> str:
    if isinstance(entry, str):
        return _markdown_text(entry)
    number = f"{entry.mean} ± {entry.sd}" if entry.sd else entry.mean
    parts = [
        f"**{number}**" if entry.bold else number,
        "" if entry.n is None else f"(n {entry.n})",
        f"†{entry.lost}" if entry.lost else "",
    ]
    return " ".join(filter(None, parts))


def latex(table: TextTable) -> str:
    r"""A floating table for ``\usepackage{booktabs}``: caption, label, one line a row."""
    head: dict[object, str] = {column: latex_text(name) for column, name in enumerate(table.head)}
    styler = pd.DataFrame([[_latex(entry) for entry in row] for row in table.rows]).style.hide(axis="index")
    text = styler.format_index(head.__getitem__, axis="columns").to_latex(
        hrules=True,
        caption=latex_text(table.caption),
        label=table.label,
        position_float="centering",
        column_format="l" * table.right + "r" * (len(head) - table.right),
    )
    return "% needs \\usepackage{booktabs}\n" + text


_SYMBOLS = {
    MINUS: "$-$",
    "±": r"$\pm$",
    "×": r"$\times$",
    "·": r"$\cdot$",
    "≈": r"$\approx$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "↗": r"$\nearrow$",
    "○": r"$\circ$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "∞": r"$\infty$",
    "→": r"$\rightarrow$",
    "†": r"$\dagger$",
    "–": "--",
    "—": "---",
    "…": r"\dots{}",
    "\u202f": r"\,",
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "[": "{[}",
    "]": "{]}",
    "*": "{*}",
    **{special: f"\\{special}" for special in "&%$#_{}"},
}
"""Characters with a meaning in LaTeX, and symbols that text fonts lack; other letters stay as they are."""


def latex_text(text: str) -> str:
    """Text that LaTeX prints as it stands; letters of other alphabets need a font that has them."""
    return "".join(_SYMBOLS.get(character, character) for character in one_line(text))


def _latex(entry: Entry) -> str:
    if isinstance(entry, str):
        return latex_text(entry)
    number = _latex_number(entry.mean) + (rf" \pm {_latex_number(entry.sd)}" if entry.sd else "")
    shown = rf"\mathbf{{{number}}}" if entry.bold else number
    beside = ([] if entry.n is None else [f"n={entry.n}"]) + ([rf"\dagger {entry.lost}"] if entry.lost else [])
    return f"${shown}$" + (rf" {{\scriptsize $({', '.join(beside)})$}}" if beside else "")


def _latex_number(text: str) -> str:
    """A number's text within mathematics: 1.00e−09 has a power of ten."""
    mantissa, power, exponent = text.replace(MINUS, "-").partition("e")
    return rf"{mantissa} \cdot 10^{{{int(exponent)}}}" if power else mantissa


def one_line(text: str) -> str:
    """Text without line breaks and control characters."""
    flat = re.sub(r"[^\S\u202f]+", " ", text)
    return "".join(letter for letter in flat if unicodedata.category(letter) not in ("Cc", "Cf", "Cs"))


def slug(text: str) -> str:
    """Text as a file name or a label has it."""
    return re.sub(r"[^A-Za-z0-9.+-]+", "-", text).strip("-.") or "table"


WRITERS: dict[str, tuple[str, Callable[[TextTable], str]]] = {"latex": ("tex", latex), "markdown": ("md", markdown)}
"""Suffix and function by form."""
