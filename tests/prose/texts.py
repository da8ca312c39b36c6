"""The texts and names of a file: docstrings, comments, messages, paragraphs; identifiers and keys."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple


class Text(NamedTuple):
    """A piece of prose with its line breaks, and the line of the file that it begins in."""

    line: int
    text: str


class Name(NamedTuple):
    """An identifier or key, and its line."""

    line: int
    name: str


NEW_BLOCK = re.compile(
    r"\s*([-*+]|\d+[.)])\s"  # an item of a list
    r"|\s*(Args|Attributes|Returns|Raises|Yields|Note|Example|Examples|Source|Sources):"
    r"|\s+[\w*`.\[\], ]{1,60}: "  # an argument of a docstring
    r"|\s*#+ "  # a heading
    r"|\s*>>>"
)
CODE = re.compile(r"(`+)(?!`)(.+?)(?<!`)\1(?!`)", re.DOTALL)

OTHERS = re.compile(
    r"\b(torch|np|numpy)\.$"
)  # before a name of a library: the identity matrix of torch and numpy


def blocks(first: int, lines: list[str]) -> Iterator[Text]:
    """Paragraphs, items of lists and arguments, each as one :class:`Text`.

    Args:
        first: the line of the file that the first of ``lines`` stands in.
        lines: consecutive lines.
    """
    start, block = first, []
    for number, line in enumerate(lines, first):
        if block and (not line.strip() or NEW_BLOCK.match(line)):
            yield Text(start, "\n".join(block))
            block = []
        if line.strip():
            start = start if block else number
            block.append(line)
    if block:
        yield Text(start, "\n".join(block))


def without_examples(docstring: str, indent_of_examples: int = 4) -> list[str]:
    """The lines of a docstring without its common indent; indented paragraphs, which are examples, are empty."""
    first, *rest = docstring.split("\n")
    indent = min((len(line) - len(line.lstrip()) for line in rest if line.strip()), default=0)
    lines = [first, *(line[indent:] for line in rest)]
    example = False
    for number, line in enumerate(lines):
        if not line.startswith(" " * indent_of_examples) and line.strip():
            example = False
        elif line.strip() and number and not lines[number - 1].strip():
            example = True
        if example:
            lines[number] = ""
    return lines


def is_program(text: str) -> bool:
    """Whether a string is the source of a program."""
    try:
        return text.count("\n") > 2 and bool(ast.parse(text))
    except SyntaxError:
        return False


def without_code(text: str) -> str:
    """``text`` with every piece of inline code replaced by one word, its line breaks kept."""
    return CODE.sub(lambda match: "CODE" + "\n" * match.group().count("\n"), text)


def of_python(source: str) -> Iterator[Text | Name]:
    """Docstrings, comments and messages; the identifiers of a module."""
    tree = ast.parse(source)
    yield from _docstrings_and_messages(tree)
    comment: list[str] = []
    first = last = 0
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.NAME and not OTHERS.search(token.line[: token.start[1]]):
            yield Name(token.start[0], token.string)
        if token.type != tokenize.COMMENT or token.string.startswith(("#!", "# type:")):
            continue
        alone = not token.line[: token.start[1]].strip()
        if comment and not (alone and token.start[0] == last + 1):
            yield from blocks(first, without_examples("\n".join(comment), 2))
            comment = []
        first = first if comment else token.start[0]
        last = token.start[0] if alone else -1
        comment.append(token.string.lstrip("#").removeprefix(" "))
    yield from blocks(first, without_examples("\n".join(comment), 2))


def _docstrings_and_messages(tree: ast.Module) -> Iterator[Text]:
    docstrings = set()
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        for statement in body if isinstance(body, list) else []:
            value = statement.value if isinstance(statement, ast.Expr) else None
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                docstrings.add(id(value))
                yield from blocks(statement.lineno, without_examples(value.value))
    inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = [part.value if isinstance(part, ast.Constant) else "VALUE" for part in node.values]
            text = "".join(str(part) for part in parts)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            if id(node) in docstrings or id(node) in inside:
                continue
            text = node.value
        else:
            continue
        if (
            len(text.split()) > 1 and text[:1] != " " and not is_program(text)
        ):  # jaxtyping's shapes begin with a space
            yield from blocks(node.lineno, text.splitlines())


def of_yaml(source: str) -> Iterator[Text | Name]:
    """Comments and keys."""
    yield from of_comments(source)
    for number, line in enumerate(source.splitlines(), 1):
        if match := re.match(r"\s*(?:- )?([\w./@-]+):(\s|$)", line):
            yield Name(number, match.group(1))


def of_comments(source: str, mark: str = "#") -> Iterator[Text]:
    """Comments that begin with ``mark``; those on consecutive lines of their own are one text."""
    lines, first = [], 0
    for number, line in enumerate(source.splitlines(), 1):
        match = re.search(rf"(^|\s){mark}+(?!!)\s?(.*)$", line)
        alone = bool(match) and not line[: match.start()].strip() and line.strip().startswith(mark[0])
        if lines and not alone:
            yield from blocks(first, without_examples("\n".join(lines), 2))
            lines = []
        if match and alone:
            first = first if lines else number
            lines.append(match.group(2))
        elif match:
            yield from blocks(number, [match.group(2)])
    yield from blocks(first, without_examples("\n".join(lines), 2))


def of_markdown(source: str) -> Iterator[Text | Name]:
    """Paragraphs, items and cells outside of blocks of code; the names in inline code."""
    fence = re.compile(r"^(\s*)(```|~~~).*?^\s*\2\s*$", re.DOTALL | re.MULTILINE)
    source = fence.sub(lambda match: "\n" * match.group().count("\n"), source)
    source = re.sub(
        r"<!--.*?-->|^---\n.*?^---$", lambda m: "\n" * m.group().count("\n"), source, flags=re.S | re.M
    )
    for match in CODE.finditer(source):
        for name in re.findall(r"[A-Za-z_]\w+", match.group(2)):
            yield Name(source.count("\n", 0, match.start()) + 1, name)
    source = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", without_code(source))
    for text in blocks(1, re.sub(r"<[^>\n]*>", "", source).splitlines()):
        rows = text.text.split("\n")
        if not rows[0].lstrip().startswith("|"):
            yield text
            continue
        for number, row in enumerate(rows, text.line):
            yield from (Text(number, cell) for cell in row.split("|") if cell.strip())


def of_file(path: Path) -> Iterator[Text | Name]:
    """The texts and names of ``path``, with its kind taken from its suffix."""
    source = path.read_text()
    match path.suffix:
        case ".py":
            yield Name(1, path.stem)
            for piece in of_python(source):
                yield piece if isinstance(piece, Name) else Text(piece.line, without_code(piece.text))
        case ".yaml" | ".yml":
            yield Name(1, path.stem)
            yield from of_yaml(source)
        case ".md":
            yield from of_markdown(source)
        case ".hpp" | ".cpp" | ".h":
            yield from of_comments(source, "//")
        case _:
            yield from of_comments(source)
