"""Two public training programs as arms of the suite in docs/your-own-code.md."""

import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.store import open_reader

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("pykeen", "rl_zoo3")
Harness = Callable[..., "subprocess.CompletedProcess[str]"]


def install(environment: Path) -> str | None:
    """An environment that has the packages on top of this one's; why it cannot be made."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
    inside = next((environment / "lib").iterdir()) / "site-packages"
    (inside / "parent.pth").write_text(sysconfig.get_paths()["purelib"])
    pip = [sys.executable, "-m", "pip", "--python", str(environment / "bin" / "python"), "install", "--quiet"]
    done = subprocess.run([*pip, *PACKAGES], capture_output=True, text=True, check=False, timeout=400)
    return None if done.returncode == 0 else (done.stderr.strip().splitlines() or ["no message"])[-1]


def suite_text() -> str:
    text = (ROOT / "docs" / "your-own-code.md").read_text(encoding="utf-8")
    begin = text.index("# public.yaml")
    return text[begin : text.index("```", begin)]


@pytest.mark.slow  # two packages are fetched; it takes four minutes
@pytest.mark.ray
@pytest.mark.timeout(900)
def test_two_programs_that_are_not_ours_are_run_and_judged(tmp_path: Path, database: Path, harness: Harness) -> None:
    if (trouble := install(tmp_path / "programs")) is not None:
        pytest.skip(f"the package index does not give {' and '.join(PACKAGES)}: {trouble}")
    (tmp_path / "programs.txt").write_text("\n".join(PACKAGES))
    (tmp_path / "public.yaml").write_text(suite_text())
    assert harness("validate", "public.yaml").returncode == 0
    done = harness("run", "public.yaml", "--seeds", "3", "--no-report", "--quiet", "--db", database, timeout=800)
    assert done.returncode == 0, done.stdout[-1500:] + done.stderr[-3000:]
    with open_reader(database) as reader:
        rows = reader.query("SELECT benchmark, arm, seed, metric, value FROM current_results").rows
        verdicts = dict(reader.query("SELECT claim_id, verdict FROM verdicts").rows)
        steps = reader.query("SELECT DISTINCT step FROM metrics WHERE name = 'reward' ORDER BY step").rows
    result = {(benchmark, arm, seed): value for benchmark, arm, seed, _, value in rows}
    assert len(result) == 12
    assert {metric for _, _, _, metric, _ in rows} == {"mrr", "reward"}
    assert all(0 < value < 1 for (benchmark, _, _), value in result.items() if benchmark == "nations")
    assert len(set(result.values())) > 8  # the seeds that are passed on are used
    assert [step for (step,) in steps] == [400, 800]
    assert set(verdicts) == {"distmult", "ppo"}
    assert "not run" not in verdicts.values()
