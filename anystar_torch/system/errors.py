"""Messages of errors in one line."""


def first_line(error: BaseException) -> str:
    """The first line of an error's message: the reason in errors of torch, which explain it below.

    Args:
        error: any error.
    """
    return _lines(error)[0]


def last_line(error: BaseException) -> str:
    """The last line of an error's message: the reason in errors of ITK and other readers of files.

    Args:
        error: any error.
    """
    return _lines(error)[-1]


def _lines(error: BaseException) -> list[str]:
    """The lines of the message that are not empty; the name of the error's class where there are none."""
    return [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
