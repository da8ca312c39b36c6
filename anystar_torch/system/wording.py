"""Numbers of things in messages."""


def number_of(number: int, thing: str) -> str:
    """A number and what it counts: `1 object`, `3 objects`, `0 held-out objects`.

    Args:
        number: of things.
        thing: what is counted, in the singular; its plural ends with s.
    """
    return f"{number} {thing}{'' if number == 1 else 's'}"
