"""A real run onto a disk that fills up, in a mount namespace of its own.

`unshare --map-root-user --mount python tests/small_disk.py FOLDER COMMAND...`: mounts a small disk
in memory over FOLDER, runs the command until the disk is full, makes it larger, and runs it again;
then makes it read-only and runs it with --overwrite. Prints what happened as JSON, with the
output's rows and what lies beside it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

SMALL, LARGE = "96k", "8m"


def mount(folder: str, *options: str) -> None:
    """Mount or remount a disk in memory."""
    subprocess.run(["mount", "-t", "tmpfs", *options, "tmpfs", folder], check=True)


def main(folder: str, *command: str) -> None:
    """See above."""
    from annotate.readers import read_table

    mount(folder, "-o", f"size={SMALL}")
    target = command[command.index("-o") + 1]

    def run(*more: str) -> dict[str, object]:
        done = subprocess.run([*command, *more], capture_output=True, text=True)
        return {"code": done.returncode, "said": done.stderr, "files": sorted(os.listdir(folder))}

    full = run()
    mount(folder, "-o", f"remount,size={LARGE}")
    went_on = run()
    rows = read_table(target).select(["path", "status", "age"]).to_pylist()
    mount(folder, "-o", f"remount,ro,size={LARGE}")
    read_only = run("--overwrite")
    kept = read_table(target).num_rows
    found = {"full": full, "went_on": went_on, "read_only": read_only, "kept": kept, "rows": rows}
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
