"""Plans and verdicts of imported trials, under the protocol ``imported``.

An imported trial is in no plan of the suite; the plan made here links to imported trials alone.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.errors import HarnessError
from harness.judge.detail import ImportedResults
from harness.judge.judging import Judgement, claim_rows, judge, record_judgement
from harness.judge.resampled import is_resampled, resampled_test
from harness.judge.rows import VerdictRow
from harness.plan.imported import ENVIRONMENT, FINGERPRINT, Imported, Origin, imported_spec
from harness.plan.planning import Link, Plan, Selection, Trial, arms_of, must_exist
from harness.store import Reader, Writer, open_reader
from harness.store.events import ClaimsEvent
from harness.store.queries import Queries
from harness.suite import Suite
from harness.suite.cells import Setting, setting
from harness.suite.models import Claim
from harness.vocabulary import Protocol

PAIRED = "paired by seed as the file says: what equal seeds share is not checked here"
UNSTATED = "'{}' pairs the results, taken as independent: import again with --resampled RATIO or --independent"
CHECKED = "a check of code decides it, and results from elsewhere do not show it"

Cell = tuple[str, str]


@dataclass(frozen=True, slots=True)
class StoredImport:
    """A trial of an import (``run_id``), its names and its file.

    ``resampled`` is n_test/n_train of seeds that split one data set; ``unstated`` the name of a column of splits or
    folds whose import stated neither a ratio nor independence, as former versions allowed.
    """

    run_id: str
    benchmark: str
    arm: str
    seed: int
    trial_id: str
    path: str
    origin: Origin
    resampled: float = 0.0
    unstated: str = ""


def stored_imports(reader: Queries, suite: str, scale: str) -> list[StoredImport]:
    """The imported trials of a suite at a scale; of each file its newest import."""
    rows = reader.query(
        """
        WITH imports AS (
            SELECT run_id, started_at, spec->>'$.imported.path' AS path, spec->>'$.imported.file' AS file,
                spec->>'$.imported.sha256' AS sha256, spec->>'$.imported.words' AS words,
                TRY_CAST(spec->>'$.imported.mapping.resampled' AS DOUBLE) AS resampled,
                CASE WHEN spec->>'$.imported.mapping.independent' IS NULL THEN
                    spec->>'$.imported.mapping.seed.column' END AS pairs
            FROM runs WHERE suite = ? AND scale = ? AND environment_id = ? AND status = 'done'
            QUALIFY sha256 = first_value(sha256) OVER (PARTITION BY path ORDER BY started_at DESC, run_id DESC)
        )
        SELECT run_id, k.benchmark, k.arm, t.seed, k.trial_id, i.path, i.file, i.sha256, i.words,
            i.resampled, i.pairs
        FROM imports i JOIN run_trials k USING (run_id) JOIN trials t USING (trial_id)
        ORDER BY i.started_at, run_id, k.benchmark, k.arm, t.seed
        """,
        (suite, scale, ENVIRONMENT),
    ).rows
    result = [
        StoredImport(
            run,
            benchmark,
            arm,
            seed,
            trial,
            path,
            Origin(file, sha256, words or ""),
            ratio or 0.0,
            pairs if pairs and not ratio and is_resampled(pairs) else "",
        )
        for run, benchmark, arm, seed, trial, path, file, sha256, words, ratio, pairs in rows
    ]
    newest = {(item.path, item.benchmark, item.arm): item.run_id for item in result}
    return [item for item in result if newest[item.path, item.benchmark, item.arm] == item.run_id]


def unused_imports(suite: str, scale: str, database: Path) -> int:
    """Number of imported trials, which the suite's verdicts do not use."""
    if not database.exists():
        return 0
    with open_reader(database) as reader:
        return len({item.trial_id for item in stored_imports(reader, suite, scale)})


def imported_plan(suite: Suite, selection: Selection, reader: Reader) -> Plan:
    """A plan of imported trials alone.

    Raises:
        HarnessError: there is none, or the selection names what the suite does not have.
    """
    must_exist("benchmark", selection.benchmarks, suite.benchmarks)
    must_exist("arm", selection.arms, suite.model.arms)
    stored = stored_imports(reader, suite.name, selection.scale)
    if not stored:
        raise HarnessError(
            f"nothing is imported for '{suite.name}' at the scale '{selection.scale}'; 'harness import FILE --suite "
            f"{suite.path}' takes results in"
        )
    names = selection.benchmarks or tuple(suite.benchmarks)
    settings = _settings(suite, names, selection.scale)
    chosen, notes = _one_each([trial for trial in stored if _asked(trial, suite, settings, selection)])
    trials = {item.trial_id: _trial(suite, settings[item.benchmark], item) for item in chosen}
    links = [Link(item.benchmark, item.arm, item.seed, item.trial_id) for item in chosen]
    resampled: dict[Cell, float] = defaultdict(float)
    for item in chosen:
        resampled[item.benchmark, item.arm] = max(resampled[item.benchmark, item.arm], item.resampled)
    imported = Imported({item.trial_id: item.origin for item in chosen}, notes, resampled)
    absent = tuple(name for name in names if name in suite.benchmarks and name not in settings)
    arms = dict(suite.model.arms)
    return Plan(suite.name, selection.scale, tuple(trials.values()), tuple(links), settings, absent, arms, imported)


def _settings(suite: Suite, names: Iterable[str], scale: str) -> dict[str, Setting]:
    existing = {name: base for name in suite.benchmarks if (base := setting(suite, name, scale)) is not None}
    return {name: existing[name] for name in names if name in existing}


def _asked(stored: StoredImport, suite: Suite, settings: Mapping[str, Setting], selection: Selection) -> bool:
    base = settings.get(stored.benchmark)
    # MIN..MAX adds no seeds here
    seeds = selection.seeds if selection.cap is None else range(selection.cap)
    if base is None or (seeds is not None and stored.seed not in seeds):
        return False
    return stored.arm in arms_of(base, suite.model.arms, replace(selection, added_arms={}))


def _one_each(stored: Sequence[StoredImport]) -> tuple[list[StoredImport], dict[Cell, tuple[str, ...]]]:
    """The newest trial for each seed, with notes on several files."""
    chosen: dict[tuple[str, str, int], StoredImport] = {}
    notes: dict[Cell, list[str]] = defaultdict(list)
    files: dict[Cell, dict[str, None]] = defaultdict(dict)
    for item in stored:
        place, cell = (item.benchmark, item.arm, item.seed), (item.benchmark, item.arm)
        before = chosen.get(place)
        if before is not None and before.trial_id != item.trial_id:
            notes[cell].append(
                f"{item.benchmark}/{item.arm}: seed {item.seed} stands in {before.origin.file} too, imported before"
            )
        chosen[place] = item
    for item in chosen.values():
        files[item.benchmark, item.arm][item.origin.short] = None
        if item.unstated and (text := UNSTATED.format(item.unstated)) not in notes[item.benchmark, item.arm]:
            notes[item.benchmark, item.arm].append(text)
    for cell, names in files.items():
        if len(names) > 1:
            notes[cell].insert(0, f"{'/'.join(cell)} is of {len(names)} files: {'; '.join(names)}")
    return list(chosen.values()), {cell: tuple(_few(text)) for cell, text in notes.items()}


def _few(notes: Sequence[str], most: int = 4) -> list[str]:
    return [*notes[:most], *([f"and {len(notes) - most} more seeds like that"] if len(notes) > most else [])]


def _trial(suite: Suite, base: Setting, stored: StoredImport) -> Trial:
    spec = imported_spec(stored.arm, stored.seed, base.scale)
    names = (suite.name, base.benchmark, stored.arm, stored.seed, base.scale, base.stand_in)
    return Trial(stored.trial_id, stored.trial_id, FINGERPRINT, *names, spec)


def imported_suite(suite: Suite) -> Suite:
    """The suite under the protocol of imports, without sweeps and tuned claims."""
    claims = [
        Claim(id=binding.id, unbound=CHECKED)
        if binding.check is not None
        else binding.model_copy(update={"protocol": Protocol.IMPORTED.value})
        for binding in suite.model.claims
    ]
    changed = {"claims": claims, "tuned": None, "sweep": None}
    return replace(suite, model=suite.model.model_copy(update=changed))


def judge_imported(suite: Suite, selection: Selection, database: Path) -> tuple[Plan, tuple[VerdictRow, ...]]:
    """Judge a suite's claims from imported trials and store the verdicts; HarnessError if there are none."""
    if not database.exists():
        raise HarnessError(f"there is no database {database}; 'harness import FILE --suite {suite.path}' makes it")
    with Writer(database) as owner:
        owner.record(ClaimsEvent(suite.name, claim_rows(suite)))
        owner.flush()
        with open_reader(database) as reader:
            plan = imported_plan(suite, selection, reader)
            sequential = selection.cap is not None
            derived = imported_suite(suite)
            judgement = labelled(judge(derived, plan, reader, sequential=sequential, compute_checks=False), plan)
        record_judgement(owner.record, suite.name, plan.scale, judgement)
    return plan, judgement.verdicts


def labelled(judgement: Judgement, plan: Plan) -> Judgement:
    """The verdicts under the protocol of imports, with their files."""
    imported = plan.imported
    if imported is None:
        return judgement
    protocol = Protocol.IMPORTED.value
    looked_at: dict[str, list[str]] = defaultdict(list)
    for row in judgement.trials:
        looked_at[row.claim_id].append(row.trial_id)
    cells = {link.trial_id: (link.benchmark, link.arm) for link in plan.links}
    verdicts = [
        replace(_with_origins(row, looked_at.get(row.claim_id, ()), imported, cells), protocol=protocol)
        for row in judgement.verdicts
    ]
    trials = tuple(replace(row, protocol=protocol) for row in judgement.trials)
    gates = tuple(replace(row, protocol=protocol) for row in judgement.gates)
    return Judgement(tuple(verdicts), trials, gates)


def _with_origins(
    row: VerdictRow, trials: Collection[str], imported: Imported, cells: Mapping[str, Cell]
) -> VerdictRow:
    counts: dict[Origin, int] = defaultdict(int)
    text: dict[str, None] = {}
    for trial in trials:
        if trial in imported.origins:
            counts[imported.origins[trial]] += 1
    for origin in counts:
        text[str(origin)] = None
    if counts:
        text[PAIRED] = None
    text |= {
        f"{resampled_test(block.resampled)} on {block.benchmark}": None
        for block in row.detail.blocks
        if block.resampled
    }
    for trial in trials:
        text |= dict.fromkeys(imported.notes.get(cells.get(trial, ("", "")), ())) if trial in imported.origins else {}
    if not counts:
        return row
    files = tuple(
        ImportedResults(file=origin.file, sha256=origin.sha256, mapping=origin.mapping, trials=count)
        for origin, count in counts.items()
    )
    warnings = tuple(dict.fromkeys([*text, *row.detail.warnings]))
    return replace(row, detail=replace(row.detail, warnings=warnings, imported=files))
