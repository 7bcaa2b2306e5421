"""`python -m annotate`, and the `annotate` command: starts the command line, and minds Ctrl-C."""

import sys
import threading

if sys.version_info < (3, 11):  # noqa: UP036 - pip refuses it, a folder on the path cannot
    sys.exit(
        f"annotate: this is Python {sys.version.split()[0]}, 3.11 is the oldest that does: start"
        " annotate with a newer one"
    )


def main() -> None:
    """Run the command line. Imports are part of it: Ctrl-C may come while they run."""
    try:
        from annotate.signals import interrupt_from_now_on

        if threading.current_thread() is threading.main_thread():
            interrupt_from_now_on()
        from annotate.cli import main as command_line  # which older Pythons cannot even read

        command_line()
    except KeyboardInterrupt:
        sys.stderr.write("annotate: interrupted\n")
        sys.exit(130)


if __name__ == "__main__":
    main()
