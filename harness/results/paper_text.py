"""Tables as LaTeX (booktabs) and Markdown: text from users is escaped, numbers are typeset, no −∞ or NaN is printed."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from harness.base.text import MINUS, number
from harness.results.paper_table import ABLATIONS, PaperTable, TableCell
from harness.results.stored_runs import StoredRun
from harness.vocabulary import Protocol, Split, Verdict


@dataclass(frozen=True, slots=True)
class NumberText:
    """A cell's number: ``mean`` and ``sd`` as text of equal decimals, ``n`` where it is to be said, lost trials."""

    mean: str
    sd: str = ""
    n: int | None = None
    lost: int = 0
    bold: bool = False
    sign: str = ""


Entry = str | NumberText
"""A cell: text as somebody gave it, or a number."""


@dataclass(frozen=True, slots=True)
class TextTable:
    """Head, rows and a caption of sentences, before they are written in a language."""

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
    sign = cell.mark.sign if cell.mark is not None else ""
    sd = "" if cell.sd is None else _written(cell.sd, decimals)
    return NumberText(_written(cell.mean, decimals), sd, cell.n if say_n else None, cell.lost, cell.best, sign)


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
    text = number(value).replace(MINUS, "-") if decimals is None else f"{value:.{decimals}f}"
    return text.removeprefix("-") if float(text) == 0 else text  # no −0.00


def _caption(table: PaperTable, counts: set[int]) -> str:
    """What a reader must know to read the table alone."""
    facts = table.metric
    told = ", ".join(filter(None, (facts.unit, f"{facts.better} is better" if facts.better else "")))
    tuned = table.protocol == Protocol.TUNED
    protocol = ", each arm with the hyper-parameters that it chose at equal budgets" if tuned else ""
    spread = any(cell.sd is not None for cell in table.cells)
    what = "mean ± standard deviation over seeds" if spread else "one seed"
    n = f" (n = {next(iter(counts))})" if len(counts) == 1 and spread else ""
    sentences = [
        f"{facts.name}{f' ({told})' if told else ''} on {table.split}, suite {table.suite} at scale {table.scale}"
        f"{', ablations' if table.part == ABLATIONS else ''}"
        f"{protocol}: {what}{n}.",
        "Bold: the best mean of a row; it is no verdict." if any(cell.best for cell in table.cells) else "",
        _signs(table),
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


def _signs(table: PaperTable) -> str:
    """What the marks of this table mean, the most favourable verdict first."""
    marks = [cell.mark for cell in table.cells if cell.mark is not None]
    if not marks:
        return ""
    words: dict[str, dict[Verdict, None]] = {}
    for mark in sorted(marks, key=lambda mark: -mark.verdict.rank):
        words.setdefault(mark.sign, {})[mark.verdict] = None
    told = "; ".join(f"{sign} {' or '.join(verdicts)}" for sign, verdicts in words.items())
    return f"Beside a number, the verdict of the claim about the arm: {told}."


def markdown(table: TextTable) -> str:
    """A Markdown table with its caption above; bars and markup in names are escaped."""
    head = [_markdown_text(name) for name in table.head]
    cells = [[_markdown(entry) for entry in row] for row in table.rows]
    rule = ["---" if at < table.right else "---:" for at in range(len(head))]
    lines = [f"| {' | '.join(row)} |" for row in (head, rule, *cells)]
    return "\n".join([*([_markdown_text(table.caption), ""] if table.caption else []), *lines]) + "\n"


def _markdown_text(text: str) -> str:
    return re.sub(r"([\\`*_{}\[\]<>|#~$])", r"\\\1", one_line(text))


def _markdown(entry: Entry) -> str:
    if isinstance(entry, str):
        return _markdown_text(entry)
    number = f"{entry.mean} ± {entry.sd}" if entry.sd else entry.mean
    number = number.replace("-", "−")
    parts = [
        f"**{number}**" if entry.bold else number,
        entry.sign,
        "" if entry.n is None else f"(n {entry.n})",
        f"†{entry.lost}" if entry.lost else "",
    ]
    return " ".join(filter(None, parts))


def latex(table: TextTable) -> str:
    r"""A floating table for ``\usepackage{booktabs}``: caption, label, one line a row."""
    columns = "l" * table.right + "r" * (len(table.head) - table.right)
    rows = [" & ".join(map(_latex, row)) + r" \\" for row in table.rows]
    lines = [
        r"% needs \usepackage{booktabs}",
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{latex_text(table.caption)}}}",
        rf"\label{{{table.label}}}",
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        " & ".join(map(latex_text, table.head)) + r" \\",
        r"\midrule",
        *rows,
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


_ESCAPED = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    "*": "{*}",
    "`": r"\textasciigrave{}",
    "'": "'",
    "[": "{[}",
    "]": "{]}",
    "±": r"$\pm$",
    "−": "$-$",
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
    "–": "--",
    "—": "---",
    "…": r"\dots{}",
    "’": "'",
    "‘": "`",
    "“": "``",
    "”": "''",
    "ß": r"\ss{}",
    "æ": r"\ae{}",
    "Æ": r"\AE{}",
    "ø": r"\o{}",
    "Ø": r"\O{}",
    "œ": r"\oe{}",
    "ł": r"\l{}",
    "Ł": r"\L{}",
    "ı": r"\i{}",
    "†": r"$\dagger$",
    "²": "$^2$",
    "³": "$^3$",
    "°": r"$^\circ$",
    "µ": r"$\mu$",
    "α": r"$\alpha$",
    "β": r"$\beta$",
    "γ": r"$\gamma$",
    "δ": r"$\delta$",
    "ε": r"$\epsilon$",
    "η": r"$\eta$",
    "θ": r"$\theta$",
    "κ": r"$\kappa$",
    "λ": r"$\lambda$",
    "μ": r"$\mu$",
    "ν": r"$\nu$",
    "π": r"$\pi$",
    "ρ": r"$\rho$",
    "σ": r"$\sigma$",
    "τ": r"$\tau$",
    "φ": r"$\phi$",
    "χ": r"$\chi$",
    "ψ": r"$\psi$",
    "ω": r"$\omega$",
    "Δ": r"$\Delta$",
    "Σ": r"$\Sigma$",
}


_ACCENTS = {
    "\u0300": "`",
    "\u0301": "'",
    "\u0302": "^",
    "\u0303": "~",
    "\u0304": "=",
    "\u0306": "u",
    "\u0307": ".",
    "\u0308": '"',
    "\u030a": "r",
    "\u030b": "H",
    "\u030c": "v",
    "\u0327": "c",
}


def latex_text(text: str) -> str:
    """Text in ASCII that any engine and font encoding prints; what has no such form is named by its number."""
    return "".join(map(_latex_character, one_line(text)))


def _latex_character(character: str) -> str:
    if character in _ESCAPED:
        return _ESCAPED[character]
    if character.isascii():
        return character
    apart = unicodedata.normalize("NFKD", character)
    letter, accent = apart[:1], apart[1:]
    if letter.isascii() and letter.isalnum() and accent in _ACCENTS:
        return rf"\{_ACCENTS[accent]}{{{letter}}}"
    return letter if letter.isascii() and letter.isalnum() and not accent else f"(U+{ord(character):04X})"


def _latex(entry: Entry) -> str:
    if isinstance(entry, str):
        return latex_text(entry)
    number = _latex_number(entry.mean) + (rf" \pm {_latex_number(entry.sd)}" if entry.sd else "")
    sign = _ESCAPED[entry.sign].strip("$") if entry.sign else ""
    parts = [rf"\mathbf{{{number}}}" if entry.bold else number, rf"^{{{sign}}}" if sign else ""]
    beside = ([] if entry.n is None else [f"n={entry.n}"]) + ([rf"\dagger {entry.lost}"] if entry.lost else [])
    return f"${''.join(parts)}$" + (rf" {{\scriptsize $({', '.join(beside)})$}}" if beside else "")


def _latex_number(text: str) -> str:
    mantissa, power, exponent = text.partition("e")
    return rf"{mantissa} \cdot 10^{{{int(exponent)}}}" if power else mantissa


def one_line(text: str) -> str:
    """Text without line breaks and control characters."""
    flat = re.sub(r"\s+", " ", text)
    return "".join(letter for letter in flat if unicodedata.category(letter) not in ("Cc", "Cf", "Cs"))


def slug(text: str) -> str:
    """Text as a file name or a label has it."""
    return re.sub(r"[^A-Za-z0-9.+-]+", "-", text).strip("-.") or "table"


WRITERS: dict[str, tuple[str, Callable[[TextTable], str]]] = {"latex": ("tex", latex), "markdown": ("md", markdown)}
"""Suffix and function by form."""
