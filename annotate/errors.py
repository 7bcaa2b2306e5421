"""The one exception that a user can cause, and a stranger's words made fit for a message.

Imports no sibling.
"""

from __future__ import annotations

import re


class AnnotateError(Exception):
    """A run that cannot be done: no images, an unreadable model, a foreign output.

    The message is one line for people: what was found, what was expected, what to do next.
    The command line prints it and exits with code 1, without a traceback.
    """


def one_line(said: object, limit: int = 200) -> str:
    """What an exception says, as one printable line of at most `limit` characters.

    Addresses of objects are taken out: the same input must give the same row every time.
    """
    text = re.sub(r" at 0x[0-9a-fA-F]+", "", _text(said))
    text = "".join(char if char.isprintable() else " " for char in text)
    text = " ".join(text.split()) or type(said).__name__
    return text if len(text) <= limit else text[: limit - 1] + "…"


def shown(value: object, limit: int = 80, *, quote: bool = True) -> str:
    """A stranger's value, such as a name, in about `limit` characters: nothing of it is lost.

    What is not printable, line ends too, is shown as an escape.
    """
    text = _text(value)
    if len(text) > limit:
        text = text[: limit - 1] + "…"
    text = "".join(char if char.isprintable() else _escaped(char) for char in text)
    return f"'{text}'" if quote and isinstance(value, str) else text


def _escaped(char: str) -> str:
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def _text(value: object) -> str:
    try:
        return str(value)
    except ValueError:  # Python refuses to print integers of more than 4,300 digits
        return type(value).__name__
