"""A trial's identity is its content and its code, not its names."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.data.checksums import canonical, sha256_of
from harness.errors import HarnessError
from harness.plan import fingerprint
from harness.plan.planning import Plan, Selection, make_plan
from harness.plan.programs import program_identity
from harness.plan.selecting import parse_seeds
from harness.suite import Suite, load_suite

ROOT = Path(fingerprint.__file__).parents[2]


def plan_of(path: Path, **selection: object) -> Plan:
    return make_plan(load_suite(path), Selection(**selection))  # type: ignore[arg-type]


def ids(plan: Plan) -> dict[tuple[str, str, int], str]:
    return {(link.benchmark, link.arm, link.seed): link.trial_id for link in plan.links}


def test_the_same_content_is_the_same_trial_and_one_hyper_parameter_touches_one_arm(tiny: Path) -> None:
    assert ids(plan_of(tiny)) == ids(plan_of(tiny))
    before = ids(plan_of(tiny))
    tiny.write_text(tiny.read_text().replace("lr: 0.1}, set: {noise_key: better", "lr: 0.2}, set: {noise_key: better"))
    after = ids(plan_of(tiny))
    assert {cell for cell in before if before[cell] != after[cell]} == {("known", "better", s) for s in range(3)}


def test_names_titles_and_claims_are_no_identity(tiny: Path) -> None:
    before = set(ids(plan_of(tiny)).values())
    text = tiny.read_text().replace("title: Known truth", "title: Other words").replace("known", "renamed")
    tiny.write_text(text.replace("tiny-better", "tiny-best"))
    assert set(ids(plan_of(tiny)).values()) == before


def test_equal_content_under_two_names_runs_once(tiny: Path) -> None:
    text = tiny.read_text().replace(
        "arms:\n", "arms:\n  again: {role: ablation, optimizer: {name: sgd, lr: 0.1}, set: {noise_key: base}}\n"
    )
    tiny.write_text(text)
    plan = plan_of(tiny)
    assert len(plan.links) == 9
    assert len(plan.trials) == 6
    assert plan.trial_ids("known", "again") == plan.trial_ids("known", "base")


def test_what_only_says_how_to_run_is_no_identity(tiny: Path) -> None:
    before = ids(plan_of(tiny))
    assert ids(plan_of(tiny, overrides={"timeout_seconds": 5})) == before
    assert ids(plan_of(tiny, overrides={"threads": 2})) != before
    assert ids(plan_of(tiny, overrides={"memory_layout": "channels_last"})) != before


def test_scale_and_seed_are_identity(tiny: Path) -> None:
    plan = plan_of(tiny)
    assert len({trial.trial_id for trial in plan.trials}) == 6
    smoke = plan_of(tiny, scale="smoke")
    assert len(smoke.trials) == 2
    assert smoke.trials[0].spec.recipe["max_steps"] == 4
    assert not {t.trial_id for t in smoke.trials} & {t.trial_id for t in plan.trials}


def test_seeds_as_they_are_asked_for(tiny: Path) -> None:
    assert parse_seeds("4") == ((0, 1, 2, 3), None)
    assert parse_seeds("3..12") == ((0, 1, 2), 12)
    assert parse_seeds(None) == (None, None)
    for text in ("0", "-1", "x", "5..3", "3..", "..3", "1001", "²"):
        with pytest.raises(HarnessError, match="MIN"):
            parse_seeds(text)
    assert len(plan_of(tiny, seeds=(0, 1)).trials) == 4
    tiny.write_text(tiny.read_text().replace("min: 3, max", "min: 3, primary: 6, max"))
    assert len(plan_of(tiny).trials) == 12


def test_canonical_numbers() -> None:
    assert canonical({"b": 1.0, "a": (1, 2)}) == '{"a":[1,2],"b":1}'
    assert sha256_of({"x": 1}) == sha256_of({"x": 1.0})
    assert sha256_of({"x": True}) != sha256_of({"x": 1})


@given(st.dictionaries(st.text(max_size=4), st.integers() | st.floats(allow_nan=False) | st.text(max_size=4)))
def test_canonical_text_does_not_hang_on_order(value: dict[str, object]) -> None:
    assert canonical(value) == canonical(dict(reversed(value.items())))
    assert json.loads(canonical(value)).keys() == value.keys()


Edit = Callable[[dict[str, tuple[str, str]]], None]


@pytest.fixture
def edit(monkeypatch: pytest.MonkeyPatch) -> Iterator[Edit]:
    """Replace texts of sources as the fingerprint reads them."""
    edits: dict[Path, tuple[bytes, bytes]] = {}
    content = fingerprint.content
    monkeypatch.setattr(fingerprint, "content", lambda path: content(path).replace(*edits.get(path, (b"", b"")), 1))

    def edit(changes: dict[str, tuple[str, str]]) -> None:
        for file, (old, new) in changes.items():
            assert old in (ROOT / file).read_text(), f"{file} no longer has the text that this test edits"
            edits[ROOT / file] = (old.encode(), new.encode())
        fingerprint.forget()

    yield edit
    monkeypatch.undo()
    fingerprint.forget()


@pytest.fixture(scope="module")
def shipped() -> Suite:
    return load_suite("adamp")


def planned(suite: Suite) -> dict[tuple[str, str], str]:
    """Trials that start from no trained weights: others change with the method of their backbone."""
    plan = make_plan(suite, Selection(seeds=(0,)))
    trained = {trial.trial_id for trial in plan.trials if trial.needs}
    return {(link.benchmark, link.arm): link.trial_id for link in plan.links if link.trial_id not in trained}


METHOD = ("METADATA = ", "EDITED = 1\n\nMETADATA = ")
IMPORT = ("\nimport ", "\nEDITED = 1\nimport ")
UNREACHED = ("harness/store/writer.py", "harness/cli/run.py", "harness/execute/dispatch.py")


@pytest.mark.parametrize(
    ("changes", "optimizers"),
    [
        ({"methods/optimizers/sgdp.py": METHOD}, {"sgdp"}),
        ({"methods/optimizers/adamp.py": METHOD}, {"adamp"}),
        (dict.fromkeys(UNREACHED, IMPORT), set()),
        ({"harness/trial/loop.py": ("LOGGED_STEPS = 200", "LOGGED_STEPS = 201")}, None),
    ],
    ids=["sgdp", "adamp", "unreached", "loop"],
)
def test_an_edit_re_runs_the_trials_that_reach_it(
    shipped: Suite, edit: Edit, changes: dict[str, tuple[str, str]], optimizers: set[str] | None
) -> None:
    before = planned(shipped)
    edit(changes)
    after = planned(shipped)
    changed = {place for place in before if before[place] != after[place]}
    if optimizers is None:
        assert changed == set(before)
    else:
        slots = [shipped.model.arms[arm].optimizer for _, arm in changed]
        assert {slot if isinstance(slot, str) else slot["name"] for slot in slots if slot} == optimizers


def test_re_exports_are_looked_through() -> None:
    reached = fingerprint.reached(("methods.optimizers.adamp",))
    assert "methods.optimizers.adamp" in reached
    assert "methods.optimizers.sgdp" not in reached
    assert not {name for name in reached if name.startswith(("harness.store", "harness.cli", "reports"))}


def test_editing_a_base_module_changes_what_reaches_it_and_nothing_else(edit: Edit) -> None:
    def fingerprints() -> list[str]:
        return [fingerprint.fingerprint([f"suites.data.{root}"]) for root in ("tables:table", "digits:digits")]

    table, digits = fingerprints()
    edit({"harness/base/tables.py": ("MOST_CELLS = 1_000_000_000", "MOST_CELLS = 1_000_000_001")})
    edited_table, edited_digits = fingerprints()
    assert table != edited_table
    assert digits == edited_digits


def with_teacher(tiny: Path, seeds: str) -> None:
    teacher = {
        "task": "synthetic",
        "model": {"name": "scalar", "start": 2.0},
        "recipe": {"steps": 10, "slots": {"optimizer": {"name": "sgd", "lr": 0.1}}},
        "seeds": seeds,
        "always": True,
    }
    block = json.dumps({"prerequisites": {"teacher": teacher}})[1:-1]
    tiny.write_text(tiny.read_text().replace("facts:\n", f"        {block}\nfacts:\n", 1))


@pytest.mark.parametrize(("seeds", "teachers"), [("shared", 1), ("paired", 3)])
def test_prerequisites_are_planned_once_and_before_what_needs_them(tiny: Path, seeds: str, teachers: int) -> None:
    with_teacher(tiny, seeds)
    plan = plan_of(tiny)
    created = [trial for trial in plan.trials if trial.arm == "prerequisite:teacher"]
    assert len(created) == teachers
    assert len(plan.trials) == 6 + teachers
    order = {trial.trial_id: number for number, trial in enumerate(plan.trials)}
    for trial in plan.trials:
        assert all(order[before] < order[trial.trial_id] for before in trial.needs.values())
    assert not {link.arm for link in plan.links} & {"prerequisite:teacher"}


def test_another_teacher_is_another_student(tiny: Path) -> None:
    with_teacher(tiny, "shared")
    before = ids(plan_of(tiny))
    tiny.write_text(tiny.read_text().replace('"start": 2.0', '"start": 3.0'))
    after = ids(plan_of(tiny))
    assert all(before[cell] != after[cell] for cell in before)


def test_a_program_is_its_code_its_lock_file_and_its_interpreter(tmp_path: Path) -> None:
    recipe = {"code": ["*.py"], "environment": "lock.txt", "python": "python"}
    files = [tmp_path / name for name in ("train.py", "lock.txt", "python", "notes.md")]
    for file in files:
        file.write_text("one")
    identities = [program_identity(recipe, tmp_path)]
    for file in files:
        file.write_text("two")
        identities.append(program_identity(recipe, tmp_path))
    assert len(set(identities[:4])) == 4
    assert identities[4] == identities[3]
    files[1].unlink()
    with pytest.raises(HarnessError, match=r"environment: no file .*lock\.txt"):
        program_identity(recipe, tmp_path)
