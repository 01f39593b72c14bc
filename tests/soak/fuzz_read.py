"""Read a hostile file as a trial would: ``python -m fuzz_read layout|weights JSON``; exit code 2 with one message."""

import json
import sys
from pathlib import Path

from harness import registry
from harness.cli.streams import visible
from harness.data.locate import data_identity
from harness.data.roots import data_root
from harness.errors import HarnessError
from harness.trial.contracts import DataRequest
from harness.trial.options import build
from harness.trial.seeds import Streams
from harness.trial.spec import Part


def main() -> int:
    """Read what the arguments name."""
    kind, content = sys.argv[-2:]
    wanted = json.loads(content)
    try:
        if kind == "weights":
            from suites.models.fine_tuned import read_weights

            read_weights(Path(wanted["path"]))
        else:
            name = wanted.pop("name")
            files = data_identity(Part(name, wanted))["sha256"]
            source = registry.load("data", name)
            source.target(DataRequest(build(source.options, wanted), data_root(), Streams(0), name, files))
    except HarnessError as error:
        print(f"error: {visible(str(error))}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
