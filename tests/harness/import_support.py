"""Results of others in the layouts in which their programs write them, made by hand: none of these is installed."""

from __future__ import annotations

import csv
import json
import random
import sqlite3
import struct
import zlib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

SUITE = """
suite: mine
arms: {adam: {}, adamp: {}}
benchmarks:
  digits: {task: imported, metrics: {accuracy: {unit: percent, better: higher}, loss: lower}}
compare: [{arm: adamp, against: [adam], metric: accuracy, primary: true}]
"""
TWO = """
suite: two
arms: {adam: {}, adamp: {}}
benchmarks:
  digits: {task: imported, metrics: {accuracy: {unit: percent, better: higher}}}
  letters: {task: imported, metrics: {accuracy: {unit: percent, better: higher}}}
compare: [{arm: adamp, against: [adam], metric: accuracy, primary: true}]
"""
SEEDS = 6


def write_suite(folder: Path, text: str = SUITE, name: str = "mine.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def score(arm: str, seed: int, step: int = 0) -> float:
    """An accuracy in percent: what a seed does to both arms is larger than the gain of adamp."""
    rng = random.Random(f"{arm}{seed}{step}")
    shared = random.Random(seed).gauss(0, 2)
    return round(80 + shared + (1.0 if arm == "adamp" else 0.0) + rng.gauss(0, 0.2), 4)


def each(seeds: int = SEEDS) -> Iterable[tuple[str, int]]:
    return ((arm, seed) for seed in range(seeds) for arm in ("adam", "adamp"))


def rows(seeds: int = SEEDS) -> list[dict[str, Any]]:
    return [{"optimizer": arm, "seed": seed, "acc": score(arm, seed), "loss": 0.5} for arm, seed in each(seeds)]


def write_csv(path: Path, given: Sequence[Mapping[str, Any]] | None = None, delimiter: str = ",") -> Path:
    given = rows() if given is None else given
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(given[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(given)
    return path


# MLflow


def write_mlruns(root: Path, seeds: int = SEEDS, steps: int = 3) -> Path:
    """``mlruns`` of MLflow's file store: an experiment, a run a folder, a line a value."""
    experiment = root / "417283"
    experiment.mkdir(parents=True)
    (experiment / "meta.yaml").write_text(
        f"artifact_location: file://{experiment}\ncreation_time: 1\nexperiment_id: '417283'\nlast_update_time: 1\n"
        "lifecycle_stage: active\nname: digits\n"
    )
    for arm, seed in each(seeds):
        write_mlflow_run(experiment, f"{arm}{seed:03d}", arm, seed, steps)
    return root


def write_mlflow_run(
    experiment: Path, run: str, arm: str, seed: int, steps: int = 3, status: int = 3, stage: str = "active"
) -> None:
    folder = experiment / run
    for part, files in {
        "params": {"optimizer": arm, "seed": str(seed), "lr": "0.001"},
        "tags": {"mlflow.runName": f"run of {arm}", "mlflow.user": "me", "group/inner": "x"},
        "metrics": {
            "val/acc": "".join(f"{1700000000000 + step} {score(arm, seed, step)} {step}\n" for step in range(steps)),
            "loss": "1700000000000 0.25 0\n",
        },
    }.items():
        for name, text in files.items():
            file = folder / part / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
    (folder / "meta.yaml").write_text(
        f"artifact_uri: file://{folder}/artifacts\nend_time: 2\nentry_point_name: ''\nexperiment_id: '417283'\n"
        f"lifecycle_stage: {stage}\nrun_id: {run}\nrun_name: run of {arm}\nrun_uuid: {run}\nsource_name: ''\n"
        f"source_type: 4\nsource_version: ''\nstart_time: 1\nstatus: {status}\ntags: []\nuser_id: me\n"
    )


def write_mlflow_database(path: Path, seeds: int = SEEDS) -> Path:
    """The tables of MLflow's SQL store that hold runs."""
    with closing(sqlite3.connect(path)) as db:
        db.executescript("""
            CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL);
            CREATE TABLE experiments (experiment_id INTEGER PRIMARY KEY, name VARCHAR(256) UNIQUE NOT NULL,
                artifact_location VARCHAR(256), lifecycle_stage VARCHAR(32), creation_time BIGINT);
            CREATE TABLE runs (run_uuid VARCHAR(32) PRIMARY KEY, name VARCHAR(250), source_type VARCHAR(20),
                user_id VARCHAR(256), status VARCHAR(9), start_time BIGINT, end_time BIGINT,
                lifecycle_stage VARCHAR(20), artifact_uri VARCHAR(200), experiment_id INTEGER);
            CREATE TABLE params (key VARCHAR(250), value VARCHAR(8000), run_uuid VARCHAR(32));
            CREATE TABLE tags (key VARCHAR(250), value VARCHAR(8000), run_uuid VARCHAR(32));
            CREATE TABLE metrics (key VARCHAR(250), value FLOAT, timestamp BIGINT, run_uuid VARCHAR(32), step BIGINT,
                is_nan BOOLEAN);
            CREATE TABLE latest_metrics (key VARCHAR(250), value FLOAT, timestamp BIGINT, step BIGINT, is_nan BOOLEAN,
                run_uuid VARCHAR(32));
            INSERT INTO experiments VALUES (1, 'digits', 'x', 'active', 1);
        """)
        for arm, seed in each(seeds):
            run = f"{arm}{seed:03d}"
            db.execute(
                "INSERT INTO runs VALUES (?, ?, 'LOCAL', 'me', 'FINISHED', ?, 2, 'active', 'x', 1)", (run, run, seed)
            )
            for key, value in (("optimizer", arm), ("seed", str(seed))):
                db.execute("INSERT INTO params VALUES (?, ?, ?)", (key, value, run))
            for step in range(3):
                values = ("acc", score(arm, seed, step), 1700 + step, run, step, False)
                db.execute("INSERT INTO metrics VALUES (?, ?, ?, ?, ?, ?)", values)
        db.commit()
    return path


# protocol buffers, as W&B and TensorBoard write them


def varint(value: int) -> bytes:
    made = b""
    while True:
        value, low = value >> 7, value & 0x7F
        if not value:
            return made + bytes([low])
        made += bytes([low | 0x80])


def message(*fields: tuple[int, int | bytes | str | float]) -> bytes:
    made = b""
    for number, value in fields:
        if isinstance(value, float):
            made += varint(number << 3 | 5) + struct.pack("<f", value)
        elif isinstance(value, int):
            made += varint(number << 3) + varint(value)
        else:
            data = value.encode() if isinstance(value, str) else value
            made += varint(number << 3 | 2) + varint(len(data)) + data
    return made


# W&B


def wandb_record(kind: int, body: bytes) -> bytes:
    return message((1, 1), (kind, body))


def wandb_items(values: Mapping[str, Any], nested: bool = True) -> bytes:
    """Items of history: newer versions write the name in parts (2), older ones whole (1)."""
    made: tuple[tuple[int, bytes], ...] = ()
    for key, value in values.items():
        names = [(2, part) for part in (key,)] if nested else [(1, key)]
        made += ((1, message(*names, (16, json.dumps(value)))),)
    return message(*made)


def wandb_log(records: Iterable[bytes]) -> bytes:
    """The log: a header, and records cut into blocks of 32 KiB."""
    data = struct.pack("<4sHB", b":W&B", 0xBEE1, 0)
    for record in records:
        first = True
        while first or record:
            room = 32768 - len(data) % 32768
            if room < 7:
                data += bytes(room)
                continue
            part, record = record[: room - 7], record[room - 7 :]
            kind = (1 if not record else 2) if first else (4 if not record else 3)
            checksum = zlib.crc32(part, zlib.crc32(bytes([kind])))
            data += struct.pack("<IHB", checksum, len(part), kind) + part
            first = False
            if not record:
                break
    return data


def write_wandb_run(
    root: Path, arm: str, seed: int, *, steps: int = 3, exit_code: int = 0, log: bool = True, big: bool = False
) -> Path:
    folder = root / f"offline-run-20260102_0304{seed:02d}-{arm}{seed}x"
    (folder / "files").mkdir(parents=True)
    (folder / "files" / "config.yaml").write_text(
        "wandb_version: 1\n\n_wandb:\n    desc: null\n    value:\n        cli_version: 0.17.0\noptimizer:\n"
        f"    desc: null\n    value: {arm}\nseed:\n    desc: null\n    value: {seed}\ntrain:\n    desc: null\n"
        "    value:\n        lr: 0.1\n"
    )
    summary = {
        "acc": score(arm, seed, steps - 1),
        "_step": steps - 1,
        "_runtime": 12.5,
        "note": "text",
        "nested": {"f1": 0.5},
    }
    (folder / "files" / "wandb-summary.json").write_text(json.dumps(summary))
    if log:
        about = message((1, f"{arm}{seed}x"), (3, "digits"), (6, "sweep-a"), (8, f"{arm}-s{seed}"))
        records = [wandb_record(17, about)]
        for step in range(steps):
            values: dict[str, Any] = {"acc": score(arm, seed, step), "_step": step, "_timestamp": 1.0}
            if big:
                values["picture"] = {"_type": "image-file", "path": "p" * 40_000}
            records.append(wandb_record(2, wandb_items(values, nested=bool(step % 2))))
        records.append(wandb_record(18, message((1, exit_code), (2, 12))))
        (folder / f"run-{arm}{seed}x.wandb").write_bytes(wandb_log(records))
    return folder


def write_wandb(root: Path, seeds: int = SEEDS) -> Path:
    for arm, seed in each(seeds):
        write_wandb_run(root / "wandb", arm, seed)
    return root


def write_wandb_table(path: Path, seeds: int = SEEDS, crashed: tuple[str, int] | None = None) -> Path:
    """The table of runs that the web page exports."""
    given = [
        {
            "Name": f"{arm}-s{seed}",
            "State": "crashed" if (arm, seed) == crashed else "finished",
            "Notes": "-",
            "User": "me",
            "Tags": "",
            "Created": "2026-01-02T03:04:05.000Z",
            "Runtime": 12,
            "Sweep": "",
            "optimizer": arm,
            "seed": seed,
            "acc": score(arm, seed),
        }
        for arm, seed in each(seeds)
    ]
    return write_csv(path, given)


def write_wandb_chart(path: Path, seeds: int = SEEDS, steps: int = 3) -> Path:
    """The curves that a chart of the web page exports: a column a run, and the ends of its range."""
    given = []
    for step in range(steps):
        row: dict[str, Any] = {"Step": step}
        for arm, seed in each(seeds):
            value = "" if (arm, seed, step) == ("adam", 0, 1) else score(arm, seed, step)
            row |= {f"{arm}-s{seed} - acc{end}": value for end in ("", "__MIN", "__MAX")}
        given.append(row)
    return write_csv(path, given)


# TensorBoard


def masked(data: bytes) -> int:
    """The checksum of TensorFlow's records: crc32c, rotated and shifted."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def event_record(data: bytes) -> bytes:
    length = struct.pack("<Q", len(data))
    return length + struct.pack("<I", masked(length)) + data + struct.pack("<I", masked(data))


def scalar_event(step: int, **tags: float) -> bytes:
    values = [(1, message((1, tag.replace("__", "/")), (2, float(value)))) for tag, value in tags.items()]
    time = varint(1 << 3 | 1) + struct.pack("<d", 1.7e9)
    return event_record(time + message((2, step), (5, message(*values))))


def write_events(folder: Path, points: Iterable[tuple[int, Mapping[str, float]]], number: int = 0) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    version = event_record(varint(1 << 3 | 1) + struct.pack("<d", 1.7e9) + message((3, "brain.Event:2")))
    file = folder / f"events.out.tfevents.17000000{number:02d}.host.1.0"
    file.write_bytes(version + b"".join(scalar_event(step, **dict(tags)) for step, tags in points))
    return file


def write_tensorboard(root: Path, seeds: int = SEEDS, steps: int = 3) -> Path:
    """Shares, as trainings log them: the mapping multiplies by 100."""
    for arm, seed in each(seeds):
        curve = [(step, {"val__acc": score(arm, seed, step) / 100, "lr": 0.1}) for step in range(steps)]
        write_events(root / arm / f"seed{seed}", curve)
    return root
