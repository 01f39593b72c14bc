"""The content of a trial: everything that decides its numbers, without names of suites or arms."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Self

from harness.trial.options import Values


@dataclass(frozen=True, slots=True)
class Part:
    """A data source, model or method: its name and the value of every option."""

    name: str
    values: Values = field(default_factory=Values)

    def to_json(self) -> Values:
        return Values({"name": self.name, **self.values})

    @classmethod
    def from_json(cls, plain: Values) -> Self:
        return cls(str(plain["name"]), Values({key: value for key, value in plain.items() if key != "name"}))


@dataclass(frozen=True, slots=True)
class FilledSlots:
    """The methods of an arm by slot, or by ``slot.place`` (``norm.encoder``)."""

    methods: Mapping[str, Part] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Part]:
        return iter(self.methods.values())

    def of(self, slot: str) -> FilledSlots:
        return FilledSlots({key: part for key, part in self.methods.items() if key.partition(".")[0] == slot})

    def to_json(self) -> Values:
        """Plain data: a slot has a method, or methods by place."""
        plain = Values()
        for key, part in self.methods.items():
            slot, dot, place = key.partition(".")
            if dot:
                plain.setdefault(slot, {})[place] = part.to_json()
            else:
                plain[slot] = part.to_json()
        return plain

    @classmethod
    def from_json(cls, plain: Values) -> Self:
        methods: dict[str, Part] = {}
        for slot, filled in plain.items():
            places = {slot: filled} if "name" in filled else {f"{slot}.{place}": part for place, part in filled.items()}
            methods.update({key: Part.from_json(part) for key, part in places.items()})
        return cls(methods)


@dataclass(frozen=True, slots=True)
class Start:
    """A network that a trial starts from: the reference arm's, or a dependency's.

    Trained weights are those of ``trial_id``, or a published source ``weights`` with its identity ``content``;
    published weights may need no model.
    """

    model: Part | None
    slots: FilledSlots = field(default_factory=FilledSlots)
    trial_id: str | None = None
    weights: str | None = None
    content: Values | None = None

    def to_json(self) -> Values:
        model = {} if self.model is None else self.model.to_json()
        if self.weights is not None:
            return Values(weights=self.weights, content=self.content, model=model)
        plain = Values(model=model, slots=self.slots.to_json())
        return plain if self.trial_id is None else Values(trial_id=self.trial_id, **plain)

    @classmethod
    def from_json(cls, plain: Values) -> Self:
        model = Part.from_json(plain["model"]) if plain["model"] else None
        slots = FilledSlots.from_json(plain.get("slots", {}))
        return cls(model, slots, plain.get("trial_id"), plain.get("weights"), plain.get("content"))


@dataclass(frozen=True, slots=True)
class TrialSpec:
    """The content that a worker runs a trial from.

    ``content`` is the data's identity (version and checksums), ``recipe`` has every key, the task's own among them,
    ``reference`` is the network whose initial weights the arm's model copies, where that is another one.
    """

    task: str
    data: Part
    content: Values
    model: Part
    recipe: Values
    slots: FilledSlots
    seed: int
    scale: str
    prerequisites: Mapping[str, Start] = field(default_factory=dict)
    reference: Start | None = None

    def to_json(self) -> Values:
        plain = Values(
            task=self.task,
            data={**self.data.to_json(), "content": self.content},
            model=self.model.to_json(),
            recipe=dict(self.recipe),
            slots=self.slots.to_json(),
            seed=self.seed,
            scale=self.scale,
            prerequisites={name: start.to_json() for name, start in self.prerequisites.items()},
        )
        return plain if self.reference is None else Values(**plain, reference=self.reference.to_json())

    @classmethod
    def from_json(cls, plain: Values) -> Self:
        data = Part.from_json(Values({key: value for key, value in plain["data"].items() if key != "content"}))
        starts = {name: Start.from_json(start) for name, start in plain["prerequisites"].items()}
        reference = Start.from_json(plain["reference"]) if "reference" in plain else None
        return cls(
            str(plain["task"]),
            data,
            Values(plain["data"].get("content", {})),
            Part.from_json(plain["model"]),
            Values(plain["recipe"]),
            FilledSlots.from_json(plain["slots"]),
            int(plain["seed"]),
            str(plain["scale"]),
            starts,
            reference,
        )
