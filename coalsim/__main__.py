"""`python -m coalsim` and the installed `coalsim` command."""

import sys

from coalsim.cli.main import run


def main() -> None:
    """Run the command line and leave with its exit code."""
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
