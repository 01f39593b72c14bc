"""One text of a number: in the terminal, on the page, in Markdown and in LaTeX."""

import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tables_support import run, table_of

from harness.base.text import interval, listed, number, probability, setting
from harness.cli.group import run_main
from harness.store import open_reader


@pytest.mark.parametrize(
    ("value", "sign", "text"),
    [
        (1.234567, False, "1.23"),
        (-0.5, True, "−0.500"),
        (0.5, True, "+0.500"),
        (0.0, False, "0.00"),
        (12345.6, True, "+12346"),
        (1e-9, False, "1.00e−09"),
        (2.5e7, True, "+2.50e+07"),
        (math.inf, False, "∞"),
        (-math.inf, True, "−∞"),
        (math.nan, False, "–"),
        (None, False, "–"),
        (1234567, False, "1\u202f234\u202f567"),
        (True, False, "yes"),
        (999.96, False, "1000"),
        (0.00012, False, "0.000120"),
    ],
)
def test_numbers_read_as_people_write_them(value: float | None, sign: bool, text: str) -> None:
    assert number(value, sign=sign) == text


@settings(deadline=None, max_examples=50)
@given(st.floats(allow_nan=False, allow_infinity=False, min_value=-1e12, max_value=1e12))
def test_a_number_keeps_three_digits(value: float) -> None:
    assert float(number(value).replace("−", "-")) == pytest.approx(value, rel=0.006, abs=1e-300)


def test_texts_made_of_numbers() -> None:
    assert interval(-math.inf, 2.0) == "[−∞, +2.00]"
    assert interval(None, 2.0) == interval(1.0, math.nan) == "–"
    assert (probability(0.0004), probability(0.0214), probability(None)) == ("< 0.001", "0.021", "–")
    assert (setting(-1e-05), setting(9)) == ("−1e−05", "9")
    assert (listed([]), listed(["a"]), listed(["a", "b", "c"])) == ("", "a", "a, b and c")


@pytest.mark.parametrize("effect", [3.0, 12345.6])
def test_all_four_outputs_print_a_verdict_alike(
    tiny: Path, tmp_path: Path, database: Path, capsys: pytest.CaptureFixture[str], effect: float
) -> None:
    tiny.write_text(tiny.read_text(encoding="utf-8").replace("effect: 3.0", f"effect: {effect}"), encoding="utf-8")
    run(tiny)
    with open_reader(database) as reader:
        ((difference, low, high),) = reader.query("SELECT difference, ci_low, ci_high FROM verdicts").rows
    texts = (number(difference, sign=True), interval(low, high))
    capsys.readouterr()
    assert run_main(["claims", str(tiny)]) == 0
    terminal = capsys.readouterr().out
    assert run_main(["report", str(tiny), "--out", str(tmp_path / "site")]) == 0
    page = "".join(path.read_text(encoding="utf-8") for path in (tmp_path / "site").rglob("*.html"))
    for form in ("markdown", "latex"):
        assert run_main(["export", "--to", form, str(tmp_path)]) == 0
    markdown = table_of(tmp_path / "tiny-mini-verdicts.md")["tiny-better"]
    latex = (tmp_path / "tiny-mini-verdicts.tex").read_text(encoding="utf-8")
    for text in texts:
        assert text in terminal
        assert text in page
        assert text in {cell.replace("\\", "") for cell in markdown.values()}
        assert text in latex.replace("{[}", "[").replace("{]}", "]").replace("$-$", "−").replace(r"$\infty$", "∞")
