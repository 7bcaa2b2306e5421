"""The server: an output in, its review in a browser of this machine, until Ctrl-C.

Listens on 127.0.0.1 alone.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
import webbrowser
from collections.abc import Callable, Iterator, Mapping
from types import FrameType
from typing import Any

from annotate.errors import AnnotateError, shown
from annotate.review.faces import open_faces
from annotate.review.journal import locked_journal
from annotate.review.pictures import Pictures
from annotate.review.session import Session
from annotate.review.telling import remarks
from annotate.signals import handled_by

LOOPBACK = "127.0.0.1"

Told = Callable[[str], None]


def review(
    out: str | os.PathLike[str], *, port: int = 0, open_browser: bool = True, tell: Told
) -> Mapping[str, int]:
    """Serve the review of an output until SIGINT or SIGTERM. Of the main thread.

    port: 0 for any that is free. tell: called with what a person has to know.
    Returns of how many faces what was said: "gender", "age" and VERDICTS. Raises AnnotateError
    where there is nothing to review, another review has the output, or Flask is missing.
    """
    _check_flask()
    from annotate.review.app import make_app
    from annotate.review.guard import Guard

    faces = open_faces(out)
    with (
        locked_journal(out) as journal,
        contextlib.closing(_listening(port)) as listener,
        contextlib.closing(Pictures()) as pictures,
    ):
        session = Session(faces, journal)
        guard = Guard(listener.getsockname()[1])
        name = shown(os.path.basename(os.path.abspath(out)), 300, quote=False)
        server = _make_server(make_app(session, pictures, guard, name), listener)
        _tell_all(session, guard.address, name, tell)
        with _ended_by_signals(server.shutdown):
            if open_browser and _has_display():
                # A browser of the terminal returns only when it is left.
                threading.Thread(target=webbrowser.open, args=(guard.address,), daemon=True).start()
            server.serve_forever()
        session.end()
        server.server_close()
        return session.kinds()


def _check_flask() -> None:
    try:
        import flask  # noqa: F401
    except ImportError as error:
        raise AnnotateError(
            f"annotate review shows its page with Flask, which is missing ({error}):"
            " pip install 'annotate[review]'"
        ) from error


def _listening(port: int) -> socket.socket:
    """A socket that listens. Raises AnnotateError where the port is not to be had."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        if os.name == "posix":  # elsewhere it lets two programs have one port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((LOOPBACK, port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise AnnotateError(
            f"cannot listen on port {port} of {LOOPBACK}: {error.strerror}; --port 0 takes a free"
            " one"
        ) from error
    return listener


def _make_server(app: Any, listener: socket.socket) -> Any:
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Quiet(WSGIRequestHandler):
        """Says nothing of each request."""

        def log(self, type: str, message: str, *args: Any) -> None:
            pass

    host, port = listener.getsockname()
    return make_server(host, port, app, threaded=True, request_handler=Quiet, fd=listener.fileno())


def _tell_all(session: Session, address: str, name: str, tell: Told) -> None:
    tally = session.tally()
    count = int(session.faces.is_face.sum())
    before = tally["corrected"] + tally["skipped"]
    seen = f", {before:,} of them seen before" if before else ""
    tell(f"reviewing {count:,} face{'' if count == 1 else 's'} of {name}{seen}: {address}")
    for remark in remarks(session.journal.path, session.journal.unreadable, session.gone):
        tell(remark)
    tell("every correction is kept as it is made; Ctrl-C ends the review")


def _has_display() -> bool:
    """Whether a browser would have a window. A browser of the terminal would take that over."""
    if sys.platform in ("darwin", "win32") or "BROWSER" in os.environ:
        return True
    return any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))


@contextlib.contextmanager
def _ended_by_signals(stop: Callable[[], None]) -> Iterator[None]:
    """Within, SIGINT and SIGTERM call `stop`, in another thread: it waits for the main one."""

    def handle(number: int, frame: FrameType | None) -> None:
        threading.Thread(target=stop, daemon=True).start()

    with handled_by(handle):
        yield
