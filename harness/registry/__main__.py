"""``python -m harness.registry``: write the index again; ``--check`` compares it with the cards."""

import sys

from harness.registry.generate import collect, render, write_or_check
from harness.registry.index import INDEX

if __name__ == "__main__":
    sys.exit(write_or_check(INDEX, render(collect()), "python -m harness.registry", sys.argv[1:]))
