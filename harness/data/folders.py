"""Check of the users' folders before anything runs: one message, not a failure a trial."""

from collections.abc import Iterable

from harness import registry
from harness.data.checksums import sha256_of
from harness.data.roots import data_root
from harness.errors import HarnessError
from harness.trial.options import build
from harness.trial.seeds import Streams
from harness.trial.spec import Part, TrialSpec

_read: set[str] = set()  # readable ones: later plans of a run have the same folders


def check_folders(specs: Iterable[TrialSpec]) -> None:
    """Read each folder that the trials name, as their first trial would.

    Most layouts decode into the cache, so that the trials themselves find the work done.

    Raises:
        HarnessError: one line for each folder that its layout cannot read, or that leaves nothing to score.
    """
    broken: dict[str, str] = {}
    for spec in specs:
        data = spec.data
        if registry.entry("data", data.name).metadata.origin != "folder":
            continue
        key = sha256_of([data.to_json(), spec.content])
        if key in _read or key in broken:
            continue
        try:
            _load(data, spec.seed)
        except HarnessError as error:
            broken[key] = str(error)
        except Exception as error:  # whatever a reader or a decoder says of what it was not made for
            broken[key] = f"{data.name}: {data.values['path']} cannot be read: {type(error).__name__}: {error}"
        else:
            _read.add(key)
    if broken:
        raise HarnessError("\n".join(dict.fromkeys(broken.values())))


def _load(data: Part, seed: int) -> None:
    from harness.trial.contracts import DataRequest  # brings torch: only where there is a folder to read

    source = registry.load("data", data.name)
    options = build(source.options, data.values)
    loaded = source.target(DataRequest(options, data_root(), Streams(seed), data.name))
    splits = getattr(loaded, "splits", None)
    if splits is not None and "test" not in splits:
        where = f"{data.name}: {data.values['path']}"
        raise HarnessError(f"{where} has nothing to score on: no test and no validation split")
