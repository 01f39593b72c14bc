"""Metadata of methods, tasks, data sources and models: frozen records of plain data.

The registry reads them from syntax trees, so that files are validated and planned without importing torch.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import InitVar, dataclass, field
from types import MappingProxyType
from typing import Any, Literal

Slot = Literal["optimizer", "norm", "objective", "adaptation"]
Role = Literal["method", "baseline"]
Value = None | bool | int | float | str | tuple[float, ...] | tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Uniform:
    """A real hyper-parameter in [low, high]; ``log`` samples its logarithm."""

    low: float
    high: float
    log: bool = False


@dataclass(frozen=True, slots=True)
class Integer:
    """A whole hyper-parameter in [low, high]; ``log`` samples its logarithm."""

    low: int
    high: int
    log: bool = False


@dataclass(frozen=True, slots=True)
class Choice:
    """A hyper-parameter that takes one of a few values."""

    values: tuple[Value, ...]


Range = Uniform | Integer | Choice


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodMetadata:
    """Metadata of a method, which the registry reads without importing it.

    Args:
        of: the class or factory. It gives ``target`` and ``defaults``, and, if it has attributes of these
            names, ``name``, ``slot``, ``family`` and ``needs``; explicit arguments take precedence.

    Attributes:
        name: key in suite files, lower case (``adamp``).
        title: the field's spelling (``AdamP``).
        slot: the slot it fills.
        role: proposed by one of the papers (``method``) or a comparator (``baseline``).
        family: methods of one family share the recipe's hyper-parameters (``adam``, ``sgd``, ``sequence``, …).
        paper: citation: authors, title, venue, year, arXiv number.
        target: name in this module of the class or factory that builds it.
        summary: one line for ``harness list methods``.
        defaults: every optional hyper-parameter that it accepts, with its default.
        required: hyper-parameters without a default (SGD's ``lr``).
        options: hyper-parameters with a closed list of values, such as ``("released", "paper")``.
        search_space: the ranges that a sweep draws from.
        needs: inputs that the task must provide (``teacher``, ``feature``, ``mask``, ``target_data``, …).
        diagnostics: names of the ``mechanism.*`` quantities that it reports itself.

    Raises:
        ValueError: no name, slot, family or target, or a range of an unknown hyper-parameter.
    """

    of: InitVar[Callable[..., Any] | None] = None
    name: str = ""
    title: str
    slot: Slot | Literal[""] = ""
    role: Role = "baseline"
    family: str = ""
    paper: str
    target: str = ""
    summary: str
    defaults: Mapping[str, Value] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    options: Mapping[str, tuple[Value, ...]] = field(default_factory=dict)
    search_space: Mapping[str, Range] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    diagnostics: tuple[str, ...] = ()

    def __post_init__(self, of: Callable[..., Any] | None) -> None:
        if of is not None:
            own = {name: getattr(of, name, "") for name in ("name", "slot", "family", "needs")}
            for name, value in {**own, "target": of.__name__, "defaults": defaults_of(of)}.items():
                if value and not getattr(self, name):
                    object.__setattr__(self, name, value)
        missing = [name for name in ("name", "slot", "family", "target") if not getattr(self, name)]
        if missing:
            raise ValueError(f"the metadata of '{self.title}' lacks {', '.join(missing)}")
        for name in ("defaults", "options", "search_space"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))
        unknown = (set(self.options) | set(self.search_space)) - set(self.defaults) - set(self.required)
        if unknown:
            raise ValueError(f"method '{self.name}': {sorted(unknown)} have a range but are not hyper-parameters")


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """Fields of the metadata of tasks, data sources and models.

    Attributes:
        name: key in benchmark files; of a data source, by content (``cifar100-subset-100``).
        target: in the module: a class (a ``harness.trial.contracts.Task``), ``load(request: DataRequest) -> splits``,
            or ``build(request: ModelRequest) -> nn.Module``.
        summary: one line for ``harness list``.
        options: the dataclass of its recipe keys beyond those that every recipe has, or of what a benchmark may set;
            None in a metadata record that was read from the index, where ``Entry.options`` says what it declares.
    """

    name: str
    target: str
    summary: str
    options: type[Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskMetadata(Metadata):
    """Metadata of a task.

    Attributes:
        slots: the slots an arm may fill here.
        metrics: final metrics that it reports.
        reads: kinds of data it takes (``DataMetadata.content``).
        program: it runs an external program (``harness.trial.programs``): no loop, no length, any metric.
        elsewhere: nothing runs here: results come from elsewhere (``harness import``); any metric, any arm.
    """

    slots: tuple[str, ...]
    metrics: tuple[str, ...]
    reads: tuple[str, ...]
    program: bool = False
    elsewhere: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DataMetadata(Metadata):
    """A data source: content, home, licence, size, version, and where its bytes lie.

    Attributes:
        origin: ``real``, ``generated`` or ``folder`` (a user's own).
        content: what it yields (``images``, ``text``, ``boxes``, …).
        layout: the published layout that is read.
        home, licence, size: for people.
        version: changes whenever the content that is yielded may change.
        files: what it is made of: ``module:pydoc_data.topics`` (a Python module's source),
            ``package:sklearn/datasets/data/digits.csv.gz`` or ``data:cifar100/cifar100.zip`` (below HARNESS_DATA).
        sha256: checksum by entry of ``files``, where it is fixed.
        fetch: how to get it: ``shipped``, ``http:URL``, ``torchvision:NAME``, ``hub:NAME`` or ``hand:INSTRUCTIONS``.
        pool: number of items that each seed splits again into training, validation and test by the options ``train``
            and ``validation``, or by ``split``; by value of an option where they differ. 0: none, or not known.
    """

    origin: Literal["real", "generated", "folder"]
    content: str
    layout: str
    home: str
    licence: str
    version: str
    size: str = ""
    files: tuple[str, ...] = ()
    sha256: Mapping[str, str] = field(default_factory=dict)
    fetch: str = "shipped"
    pool: int | Mapping[str, int] = 0

    def test_to_train(self, options: Mapping[str, Any]) -> float:
        """n_test/n_train of splits of one pool with these options; 0: seeds share no pool, or it is not known."""
        pool = self.pool
        if not isinstance(pool, int):
            pool = next((size for value, size in pool.items() if value in options.values()), 0)
        if not pool:
            return 0.0
        if "train" in options:
            train, held = options["train"], options["validation"]
            test = pool - train - held
        elif not all(isinstance(size, int | float) for size in options["split"].values()):
            return 0.0  # the trial reports it
        else:
            wanted = {name: size * pool if size < 1 else size for name, size in options["split"].items()}
            test = sum(size for name, size in wanted.items() if not name.lower().startswith("val"))
            train = pool - sum(wanted.values())
        return max(0.0, test / train) if train > 0 else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelMetadata(Metadata):
    """A model family; ``source`` is the paper that defines it, ``slots`` those that reach into it (``norm``).

    ``files``: options that name a file of the user's own, absolute or below HARNESS_DATA. For each, as for ``weights``,
    there is an option ``weights_sha256``, which a plan fills in: another file is another trial.
    """

    source: str
    slots: tuple[str, ...] = ()
    files: tuple[str, ...] = ()


def defaults_of(target: Callable[..., Any], *, without: tuple[str, ...] = ()) -> dict[str, Value]:
    """Optional hyper-parameters of a class or factory with their defaults; ``without`` are none."""
    parameters = inspect.signature(target).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not p.empty and p.name not in without}
