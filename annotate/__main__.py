"""`python -m annotate` is the `annotate` command."""

import sys

if sys.version_info < (3, 11):  # noqa: UP036 - pip refuses it, a folder on the path cannot
    sys.exit(
        f"annotate: this is Python {sys.version.split()[0]}, 3.11 is the oldest that does: start"
        " annotate with a newer one"
    )

from annotate.cli import main  # which older ones cannot even read

if __name__ == "__main__":
    main()
