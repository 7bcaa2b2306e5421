"""The guard: who may ask what. Only the person at this machine who was told the address.

Any page in any browser here can send requests to a loopback port, so nothing is believed of one
but what a page of another origin cannot know or set.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Mapping

from flask import Flask, Request, Response, abort, request

COOKIE = "annotate_review"
HEADER = "X-Annotate-Review"
"""The header that a change must carry, with the word that only our own page knows."""

MAX_BODY_BYTES = 16 * 1024

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';"
    " img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none';"
    " require-trusted-types-for 'script'; trusted-types 'none'"
)

HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    # Faces are nobody's business once the program has ended: the browser keeps none.
    "Cache-Control": "no-store",
}


class Guard:
    """What an address, a cookie and a header must say; all of it is new in each session.

    token: the first part of every address, which the person is told. port: that is listened on.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.token = secrets.token_urlsafe(24)
        self.word = secrets.token_urlsafe(24)
        self._cookie = secrets.token_urlsafe(24)
        self._hosts = tuple(f"{name}:{port}" for name in ("127.0.0.1", "localhost"))

    @property
    def address(self) -> str:
        """Of the page."""
        return f"http://{self._hosts[0]}/{self.token}/"

    def protect(self, app: Flask) -> None:
        """Have every request to an app checked, and every answer carry HEADERS."""
        app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
        app.before_request(self._check)
        app.after_request(_with_headers)

    def welcome(self, response: Response) -> Response:
        """Give the browser the cookie that all else asks for.

        Browsers send cookies to every port of a host, so it is only for this path, which a server
        on another port does not know.
        """
        response.set_cookie(
            COOKIE, self._cookie, path=f"/{self.token}/", httponly=True, samesite="Strict"
        )
        return response

    def _check(self) -> None:
        """Refuse a request that is not our page's own."""
        token = request.path.split("/")[1]
        if not _same(token, self.token):
            abort(404, "open the address that the terminal shows")
        is_page = request.path == f"/{self.token}/"
        # Else another name may have been made to mean this machine.
        if request.host not in self._hosts:
            abort(403, "another host")
        if not self._is_own_origin(request, is_page=is_page):
            abort(403, "another origin")
        if is_page and request.method in ("GET", "HEAD"):
            return
        if not _same(request.cookies.get(COOKIE, ""), self._cookie):
            abort(403, "open the address that the terminal shows")
        if request.method == "POST" and not _same(request.headers.get(HEADER, ""), self.word):
            abort(403, "not from the page")

    def _is_own_origin(self, asked: Request, *, is_page: bool) -> bool:
        """Whether what the browser says of where a request comes from is right."""
        origin = asked.headers.get("Origin")
        if origin is None:
            if asked.method == "POST":
                return False
        elif origin != f"http://{asked.host}":
            return False
        # The page may be opened from a link, in a terminal that is a web page, say.
        site = asked.headers.get("Sec-Fetch-Site", "none")
        return is_page or site in ("same-origin", "none")


def _same(said: str, known: str) -> bool:
    return hmac.compare_digest(said.encode("utf-8", "replace"), known.encode())


def _with_headers(response: Response) -> Response:
    response.headers.update(HEADERS)
    return response
