"""The one exception that a user can cause: a run that cannot be done."""


class AnnotateError(Exception):
    """A run that cannot be done: no images, an unreadable model, a foreign output.

    The message is one line for people: what was found, what was expected, what to do next.
    The command line prints it and exits with code 1, without a traceback.
    """
