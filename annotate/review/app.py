"""The app: a session and its pictures in, the pages, JSON and JPEGs that a browser asks for out.

Rows are asked for by number, and never by path.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from flask import Flask, Response, abort, render_template, request
from werkzeug.exceptions import HTTPException

from annotate.errors import AnnotateError, shown
from annotate.matching import MAX_FACES
from annotate.records import FLAGS
from annotate.review.desk import FACE_PX, Row
from annotate.review.filters import Filters
from annotate.review.guard import HEADER, Guard
from annotate.review.pictures import Pictures
from annotate.review.session import Session


def make_app(session: Session, pictures: Pictures, guard: Guard, name: str) -> Flask:
    """The pages of a review. name: of the output, for people."""
    app = Flask(__name__, static_url_path=f"/{guard.token}/static")
    app.debug = False  # whatever FLASK_DEBUG says
    app.url_map.merge_slashes = False
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    guard.protect(app)
    root = f"/{guard.token}"

    def drawn(draw: Callable[[Row], bytes | None], row: int) -> bytes | None:
        faces = session.faces
        return draw(faces.picture(row)) if faces.has_picture[_known(session, row)] else None

    @app.get(f"{root}/")
    def page() -> Response:
        text = render_template(
            "review.html",
            name=name,
            word=guard.word,
            header=HEADER,
            statuses=session.listing.statuses,
            flags=FLAGS,
            folders=session.listing.folders,
            gone=len(session.gone),
            rows=len(session.faces),
            faces=int(session.faces.is_face.sum()),
        )
        return guard.welcome(Response(text, mimetype="text/html"))

    @app.get(f"{root}/api/rows")
    def rows() -> dict[str, Any]:
        try:
            filters = Filters.of(request.args)
        except ValueError as error:
            abort(400, str(error))
        page_number = request.args.get("page", 0, type=int)
        return session.page(filters, page_number, request.args.get("view", type=int))

    @app.get(f"{root}/api/picture/<int:row>")
    def picture(row: int) -> dict[str, Any]:
        rows = session.faces.beside(_known(session, row))[:MAX_FACES]
        return {
            "rows": session.described(rows),
            "is_there": drawn(pictures.photograph, row) is not None,
        }

    @app.get(f"{root}/photograph/<int:row>.jpg")
    def photograph(row: int) -> Response:
        return _jpeg(drawn(pictures.photograph, row))

    @app.get(f"{root}/face/<int:row>.jpg")
    def face(row: int) -> Response:
        return _jpeg(drawn(pictures.face, row))

    @app.post(f"{root}/api/say/<int:row>")
    def say(row: int) -> dict[str, Any]:
        change = request.get_json()
        try:
            if not isinstance(change, dict):
                raise ValueError(f"{shown(change)}: expected what is said of the face")
            return session.say(_known(session, row), change)
        except ValueError as error:
            abort(400, str(error))

    @app.post(f"{root}/api/undo")
    def undo() -> dict[str, Any]:
        return session.undo() or {"row": None, **session.tally()}

    @app.errorhandler(AnnotateError)
    def not_kept(error: AnnotateError) -> tuple[dict[str, str], int]:
        return {"error": str(error)}, 507

    @app.errorhandler(HTTPException)
    def refused(error: HTTPException) -> tuple[dict[str, str], int]:
        return {"error": error.description or error.name}, error.code or 500

    return app


def _known(session: Session, row: int) -> int:
    """A row's number, if there is such a row."""
    if row >= len(session.faces):
        abort(404, f"row {row}: there are {len(session.faces)}")
    return row


def _jpeg(data: bytes | None) -> Response:
    return Response(data or _no_picture(), mimetype="image/jpeg")


@lru_cache(maxsize=1)
def _no_picture() -> bytes:
    """What stands where a picture is gone, is another one by now, or never was one."""
    from PIL import Image, ImageDraw, ImageFont

    image = Image.new("RGB", (FACE_PX, FACE_PX), "#dfe3e8")
    font = ImageFont.load_default(FACE_PX / 12)
    middle = (FACE_PX / 2, FACE_PX / 2)
    ImageDraw.Draw(image).text(middle, "no picture", "#5a6270", font, "mm")
    data = io.BytesIO()
    image.save(data, "JPEG", quality=90)
    return data.getvalue()
