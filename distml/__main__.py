"""`python -m distml` is `distml`."""

import sys

from distml.cli import main

__all__: list[str] = []

if __name__ == "__main__":
    sys.exit(main())
