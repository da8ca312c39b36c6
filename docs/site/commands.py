"""The reference page of the command line, made from the commands themselves."""

from collections.abc import Iterator
from enum import Enum
from inspect import cleandoc
from typing import Any

import typer.main

from anystar_torch.cli import app

INTRODUCTION = """\
# Command line

This page is made from the commands; `anystar COMMAND --help` prints the same text. Exit status is 0 after success, 2
after an error, which is described in one line, and 130 after Ctrl-C. [Segmenting a volume](predict.md),
[training](training.md) and [export](export.md) explain the commands with examples.
"""


def commands() -> dict[str, Any]:
    """The commands of ``anystar`` by name, in the order of ``anystar --help``."""
    group: Any = typer.main.get_command(app)
    return dict(group.commands)


def page() -> str:
    """Markdown of the page: a section for each command, with its arguments and options."""
    lines = [INTRODUCTION]
    for name, command in commands().items():
        lines += section(name, command)
    return "\n".join(lines)


def section(name: str, command: Any) -> Iterator[str]:
    """Lines of the section of one command.

    Args:
        name: of the command.
        command: what typer made of it.
    """
    kinds: dict[str, list[Any]] = {"argument": [], "option": []}
    for parameter in command.params:
        if not parameter.hidden:
            kinds[parameter.param_type_name].append(parameter)
    usage = [usage_of(parameter) for parameter in kinds["argument"]]
    yield from (f"## {name}", "", cleandoc(command.help), "", "```text")
    yield from (" ".join(["anystar", name, *(["[OPTIONS]"] if kinds["option"] else []), *usage]), "```", "")
    for kind, parameters in kinds.items():
        if parameters:
            yield from (f"| {kind} | meaning |", "| --- | --- |")
            yield from (f"| {spelling(parameter)} | {meaning(parameter)} |" for parameter in parameters)
            yield ""


def usage_of(argument: Any) -> str:
    """An argument as the usage line shows it, in brackets where it may be left out."""
    name = str(argument.metavar or argument.name.upper())
    return name if argument.required or name.startswith("[") else f"[{name}]"


def spelling(parameter: Any) -> str:
    """All spellings of an option with its value, or the name of an argument."""
    if parameter.param_type_name == "argument":
        return f"`{usage_of(parameter)}`"
    names = "<br>".join(f"`{name}`" for name in [*parameter.opts, *parameter.secondary_opts])
    value = value_of(parameter).replace("|", "\\|")
    return names if parameter.is_flag else f"{names} `{value}`"


def value_of(option: Any) -> str:
    """What stands behind an option that takes a value."""
    descriptor = getattr(option, "type_descriptor", None)
    annotation = getattr(descriptor, "annotation", None)
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return "|".join(str(choice.value) for choice in annotation)
    choices = getattr(getattr(option, "type", None), "choices", ())
    if choices:
        return "|".join(str(getattr(choice, "value", choice)) for choice in choices)
    return str(option.metavar or option.name.upper())


def meaning(parameter: Any) -> str:
    """The help of a parameter as a cell of a table, with its default where the help does not say it."""
    text = " ".join((parameter.help or "").split()).replace("|", "\\|")
    default = parameter.default
    if parameter.required or parameter.multiple or default in (None, False, ()) or "Default:" in text:
        return text
    if default is True:
        return f"{text} Default: on."
    shown = " ".join(map(str, default)) if isinstance(default, tuple | list) else default
    return f"{text} Default: `{shown}`."
