"""Tables for a paper: arms as columns, mean ± sd, bold, verdict marks; LaTeX and Markdown whatever the names are."""

import re
import statistics
from pathlib import Path

import pytest
from store_support import event_of, outcome, planned_line, run_event
from tables_support import run, run_ids, table_of

from harness.cli.group import run_main
from harness.exports.paper_text import NumberText, TextTable, latex, latex_text, markdown
from harness.results.current import ResultFilter, current_results
from harness.store import Writer, open_reader

NASTY = "a_b & 50 % of $x #1 {y} ~ ^ \\ <i> [1] *bold* |bar| é ß ł 中 α ± −"


def export(folder: Path, form: str, *more: str, code: int = 0) -> dict[str, str]:
    assert run_main(["export", "--to", form, str(folder), *more]) == code
    return {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()} if folder.exists() else {}


def sound_latex(text: str) -> None:
    """Check braces, bare specials and the lengths of rows."""
    bare = re.sub(r"\\[^A-Za-z]", "", text.replace("\\\\", "")).replace("\n% needs", "")
    depth = 0
    for letter in bare:
        depth += (letter == "{") - (letter == "}")
        assert depth >= 0
    assert depth == 0
    body = text[text.index("\\toprule") : text.index("\\bottomrule")]
    counts = {len(re.findall(r"(?<!\\)&", line)) for line in body.splitlines() if line.endswith(r"\\")}
    (columns,) = re.findall(r"\\begin\{tabular\}\{(\w+)\}", text)
    assert counts == {len(columns) - 1}
    outside = re.sub(r"\$[^$]*\$", "", bare)
    assert "$" not in outside
    assert not re.search(r"[_^#%]", "\n".join(outside.splitlines()[1:])), "bare special outside of mathematics"


def test_arms_are_columns_with_mean_sd_and_best(tiny: Path, database: Path, tmp_path: Path) -> None:
    run(tiny)
    text = export(tmp_path / "md", "markdown", "--suite", "tiny", "--metric", "score")["tiny-mini-score.md"]
    cells = table_of(tmp_path / "md" / "tiny-mini-score.md")["known"]
    assert list(cells) == ["base", "better"]
    with open_reader(database) as reader:
        result = current_results(reader, ResultFilter(metric="score", split="test"))
    for arm, cell in cells.items():
        values = [item.value for item in result if item.arm == arm]
        mean, sd = re.findall(r"\d+\.\d+", cell)
        assert float(mean) == pytest.approx(statistics.fmean(values), abs=0.06)
        assert float(sd) == pytest.approx(statistics.stdev(values), abs=0.06)
    assert cells["better"].startswith("**")
    assert "**" not in cells["base"]
    caption = text.splitlines()[0]
    for message in (
        "score (points, higher is better) on test",
        "suite tiny at scale mini",
        "(n = 3)",
        "Bold: the best mean of a row",
        run_id(database),
    ):
        assert message in caption, message


def run_id(database: Path) -> str:
    with open_reader(database) as reader:
        return str(reader.query("SELECT run_id FROM runs ORDER BY started_at DESC").rows[0][0])


def test_lower_can_be_better_and_an_unknown_direction_has_no_best(tiny: Path, database: Path, tmp_path: Path) -> None:
    lower = tiny.read_text().replace("better: higher}", "better: lower}").replace("better: higher\n", "better: lower\n")
    tiny.write_text(
        lower.replace("{method: 53, baseline: 50, difference: 3}", "{method: 47, baseline: 50, difference: -3}")
    )
    run(tiny)
    export(tmp_path / "md", "markdown")
    cells = table_of(tmp_path / "md" / "tiny-mini-score.md")["known"]
    assert cells["base"].startswith("**")
    text = export(tmp_path / "md", "markdown", "--metric", "distance")["tiny-mini-distance.md"]
    assert "**" not in text
    assert "Bold" not in text


def test_seeds_of_unequal_number_and_lost_ones_are_said(tiny: Path, tmp_path: Path) -> None:
    text = tiny.read_text().replace("seeds: {min: 3", "seeds: {min: 2")
    third = "third: {role: baseline, optimizer: {name: sgd, lr: 0.3}, set: {diverges_above: 0.2}}"
    tiny.write_text(text.replace("better: {role: method", f"{third}\n  better: {{role: method"))
    run(tiny)
    run(tiny, "--arm", "better", "--seeds", 3)
    written = export(tmp_path / "md", "markdown")["tiny-mini-score.md"]
    cells = table_of(tmp_path / "md" / "tiny-mini-score.md")["known"]
    assert cells["base"].endswith("(n 2)")
    assert cells["better"].endswith("(n 3)")
    assert "third" not in cells, "an arm without any score has no column"
    assert not re.search(r"\b(nan|inf|None)\b", written)


def test_a_diverged_seed_is_counted_beside_the_others(database: Path, tmp_path: Path) -> None:
    with Writer(database) as owner:
        owner.record(run_event("r1", spec={"arms": {"adamp": {"role": "method"}}, "benchmarks": {}}))
        for seed, (trial, value) in enumerate({"t0": 1.5, "t1": float("nan"), "t2": float("-inf"), "t3": 2.5}.items()):
            owner.record(event_of(planned_line("r1", trial, seed=seed)))
            owner.record(outcome(trial, results=[{"split": "test", "metric": "top1-accuracy", "value": value}]))
        owner.record(event_of(planned_line("r1", "t4", seed=4)))
        owner.record(outcome("t4", status="diverged", results=[]))
    written = export(tmp_path / "md", "markdown")
    assert table_of(tmp_path / "md" / "adamp-mini-top1-accuracy.md")["digits"]["adamp"] == "2.00 ± 0.71 †3"
    assert "A dagger counts trials that diverged or failed" in written["adamp-mini-top1-accuracy.md"]
    shown = export(tmp_path / "tex", "latex")["adamp-mini-top1-accuracy.tex"]
    assert r"$2.00 \pm 0.71$ {\scriptsize $(\dagger 3)$}" in shown
    sound_latex(shown)


def test_arms_of_another_plan_are_left_out(tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(tiny)
    run(tiny, "--set", "level=10", "--arm", "better")
    first, second = run_ids(capsys)
    written = export(tmp_path / "md", "markdown", "--metric", "score")["tiny-mini-score.md"]
    assert list(table_of(tmp_path / "md" / "tiny-mini-score.md")["known"]) == ["better"]
    assert f"Left out: base on known: measured by run {first}, without --set level=10; --run {first} shows" in written
    assert f"Of run {second}" in written
    assert "--set level=10)" in written
    export(tmp_path / "one", "markdown", "--run", first, "--metric", "score")
    cells = table_of(tmp_path / "one" / "tiny-mini-score.md")["known"]
    assert list(cells) == ["base", "better"]
    assert float(re.findall(r"\d+\.\d+", cells["better"])[0]) > 40
    # equal plans of several runs do stand side by side
    run(tiny, "--arm", "base")
    run(tiny, "--arm", "better")
    written = export(tmp_path / "two", "markdown", "--metric", "score")["tiny-mini-score.md"]
    assert list(table_of(tmp_path / "two" / "tiny-mini-score.md")["known"]) == ["base", "better"]
    assert "Of runs " in written
    assert "Left out" not in written


def test_verdicts_that_rest_on_nothing_have_no_row(tiny: Path, tmp_path: Path) -> None:
    text = tiny.read_text()
    fact = text[text.index("  - id: tiny-better") : text.index("claims:")]
    text = text.replace("claims:", fact.replace("tiny-better", "tiny-unbound") + "claims:")
    tiny.write_text(text + "  - {id: tiny-unbound, unbound: nobody can measure this here}\n")
    assert run_main(["claims", str(tiny)]) == 0
    assert export(tmp_path / "none", "markdown", code=2) == {}
    run(tiny)
    shown = export(tmp_path / "md", "markdown")["tiny-mini-verdicts.md"]
    assert "tiny-better" in shown
    assert "tiny-unbound" not in shown
    assert "not run" not in shown
    assert "Measured on stand-ins: nothing, not Known truth" in shown
    sound_latex(export(tmp_path / "tex", "latex")["tiny-mini-verdicts.tex"])


def test_every_text_of_a_user_is_escaped(tiny: Path, tmp_path: Path) -> None:
    names = {"base": "ba_se & 1%", "better": "be$t #{1} ~^|x*"}
    text = tiny.read_text()
    for arm, name in names.items():
        text = text.replace(f"  {arm}: {{role", f"  '{name}': {{role")
    text = text.replace("arm: better, against: [base]", f"arm: '{names['better']}', against: ['{names['base']}']")
    tiny.write_text(text)
    run(tiny, "--set", "level=40")
    shown = export(tmp_path / "tex", "latex")
    for written in shown.values():
        sound_latex(written)
    assert (
        r"ba\_se \& 1\% & be\$t \#\{1\} \textasciitilde{}\textasciicircum{}\textbar{}x{*} \\"
        in shown["tiny-mini-score.tex"]
    )
    head = export(tmp_path / "md", "markdown")["tiny-mini-score.md"].splitlines()[2]
    assert head.split()[3:-1] == [r"ba\_se", r"&", r"1%", r"|", r"be\$t", r"\#\{1\}", r"\~^\|x\*"]


def test_tables_of_any_text_are_whole() -> None:
    number = NumberText("−1.50", "0.25", 3, 1, True)
    table = TextTable(("x", NASTY), ((NASTY, number), ("*starred", "")), f"{NASTY}\n\nlast", "tab:x")
    shown = latex(table)
    sound_latex(shown)
    assert r"$\mathbf{-1.50 \pm 0.25}$ {\scriptsize $(n=3, \dagger 1)$}" in shown
    assert r"é ß ł 中 α $\pm$ $-$" in shown
    lines = markdown(table).splitlines()
    assert [len(re.findall(r"(?<!\\)\|", line)) for line in lines if line.startswith("|")] == [3] * 4
    assert "**−1.50 ± 0.25** (n 3) †1" in lines[-2]


def test_control_characters_are_dropped() -> None:
    assert latex_text("a\u200bb\x00c") == "abc"
