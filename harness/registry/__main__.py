"""``python -m harness.registry``: write the index again; ``--check`` compares it with the cards."""

import sys

from harness.registry.generate import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
