"""External results as their programs and clients write them."""

import csv
import json
import logging
import os
import random
import struct
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

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


def write_csv(path: Path, table: Sequence[Mapping[str, Any]] | None = None, delimiter: str = ",") -> Path:
    table = rows() if table is None else table
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(table[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(table)
    return path


# MLflow


def mlflow() -> Any:
    """MLflow's client module; a test without it is skipped."""
    result = pytest.importorskip("mlflow", reason="needs the extra 'trackers'")
    os.environ["MLFLOW_ALLOW_FILE_STORE"] = os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    logging.getLogger("alembic").setLevel(logging.ERROR)
    return result


def write_mlflow(uri: str, metric: str, seeds: int = SEEDS, steps: int = 3) -> Any:
    """Log an experiment with a run for each arm and seed; returns the client."""
    client = mlflow().MlflowClient(uri)
    experiment = client.create_experiment("digits")
    for arm, seed in each(seeds):
        run = client.create_run(experiment, run_name=f"run of {arm}", tags={"group/inner": "x"}).info.run_id
        client.log_param(run, "optimizer", arm)
        client.log_param(run, "seed", seed)
        for step in range(steps):
            client.log_metric(run, metric, score(arm, seed, step), step=step)
        client.set_terminated(run)
    return client


def write_mlruns(root: Path, seeds: int = SEEDS) -> Path:
    write_mlflow(root.as_uri(), "val/acc", seeds)
    return root


def write_mlflow_database(path: Path, seeds: int = SEEDS) -> Path:
    plain = path.with_name("plain.db")  # the name may mean something in an address
    write_mlflow(f"sqlite:///{plain}", "acc", seeds)
    return plain.rename(path)


# protocol buffers, as W&B writes them


def varint(value: int) -> bytes:
    created = b""
    while True:
        value, low = value >> 7, value & 0x7F
        if not value:
            return created + bytes([low])
        created += bytes([low | 0x80])


def message(*fields: tuple[int, int | bytes | str | float]) -> bytes:
    created = b""
    for number, value in fields:
        if isinstance(value, float):
            created += varint(number << 3 | 5) + struct.pack("<f", value)
        elif isinstance(value, int):
            created += varint(number << 3) + varint(value)
        else:
            data = value.encode() if isinstance(value, str) else value
            created += varint(number << 3 | 2) + varint(len(data)) + data
    return created


# W&B


def wandb_record(kind: int, body: bytes) -> bytes:
    return message((1, 1), (kind, body))


def wandb_items(values: Mapping[str, Any], nested: bool = True) -> bytes:
    """Items of history: newer versions write the name in parts (2), older ones whole (1)."""
    created: tuple[tuple[int, bytes], ...] = ()
    for key, value in values.items():
        names = [(2, part) for part in (key,)] if nested else [(1, key)]
        created += ((1, message(*names, (16, json.dumps(value)))),)
    return message(*created)


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
    last = {"acc": score(arm, seed, steps - 1), "_step": steps - 1}
    summary = last | {"_runtime": 12.5, "note": "text", "nested": {"f1": 0.5}}
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
    value = [
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
    return write_csv(path, value)


def write_wandb_chart(path: Path, seeds: int = SEEDS, steps: int = 3) -> Path:
    """The curves that a chart of the web page exports: a column a run, and the ends of its range."""
    values = []
    for step in range(steps):
        row: dict[str, Any] = {"Step": step}
        for arm, seed in each(seeds):
            value = "" if (arm, seed, step) == ("adam", 0, 1) else score(arm, seed, step)
            row |= {f"{arm}-s{seed} - acc{end}": value for end in ("", "__MIN", "__MAX")}
        values.append(row)
    return write_csv(path, values)


# TensorBoard


def write_events(folder: Path, points: Iterable[tuple[int, Mapping[str, float]]], suffix: str = "") -> Path:
    """An event file of scalars, written by TensorBoard; a test without it is skipped."""
    writer = pytest.importorskip("tensorboard.summary.writer.event_file_writer", reason="needs the extra 'trackers'")
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary

    file = writer.EventFileWriter(str(folder), filename_suffix=suffix)
    for step, scalars in points:
        values = [Summary.Value(tag=tag, simple_value=value) for tag, value in scalars.items()]
        file.add_event(Event(wall_time=1.7e9, step=step, summary=Summary(value=values)))
    file.close()
    return next(path for path in sorted(folder.iterdir()) if path.name.endswith(suffix))


def write_tensorboard(root: Path, seeds: int = SEEDS, steps: int = 3) -> Path:
    """Shares, as trainings log them: the mapping multiplies by 100."""
    for arm, seed in each(seeds):
        curve = [(step, {"val/acc": score(arm, seed, step) / 100, "lr": 0.1}) for step in range(steps)]
        write_events(root / arm / f"seed{seed}", curve)
    return root
