"""The words that this project does not use, what stands in their place, and the allowed uses."""

import re
from dataclasses import dataclass
from typing import NamedTuple


class Rule(NamedTuple):
    """A forbidden expression.

    Attributes:
        pattern: a regular expression, matched without regard to case.
        instead: the term to use.
        allowed: expressions around a match that make it correct.
        where: a regular expression for the paths the rule holds for; empty for all of them.
    """

    pattern: str
    instead: str
    allowed: tuple[str, ...] = ()
    where: str = ""


INFERENCE = r"inference|cli/|docs/(predict|best_practices|model_card|results)|benchmarks/|README"

# In docstrings, comments, messages and pages. Spaces in a pattern also match line breaks.
PROSE = (
    # "ground texture", "hollow" and "window" in quotes are names of random streams. A stream is a hash of its name, so
    # another name would change the samples.
    Rule(r"grounds?", "background", (r"ground truth", r"ground texture")),
    Rule(r"surround", "background", (r"(that|which|to|objects|voxels) surround",)),
    Rule(r"haz[ey]|hazes", "out-of-focus light"),
    Rule(r"hollows?", "displaced background", (r'"hollow"',)),
    Rule(r"lit|shin(e|es|ing)|shone", "emitting (or absorbing) voxels"),
    Rule(
        r"worlds?",
        "scene; number of processes",
        # NIfTI's and DICOM's term for the patient's axes; torch.distributed's name for the number of processes.
        (r"world (size|coordinates?|axes|space)", r"real[- ]world"),
    ),
    Rule(
        r"looks?",
        "pass, coarse pass; see, appear",
        (r"look(s|ed|ing)? (up|like)", r"(does|do) not look like"),
    ),
    Rule(r"further away|from afar", "coarse pass; at a coarser scale"),
    Rule(r"eyes?", "TileNetwork, network", (r"by eye", r"(human|naked) eye")),
    Rule(r"flips", "test-time augmentation (tta), mirrored inputs", where=INFERENCE),
    Rule(r"consensus", "shape averaging", where=INFERENCE),
    Rule(r"stretch(es)?", "training stage", where=r"training|configs/experiment|configs/callbacks"),
    # "ahead of time" is the field's word for compiling before running.
    Rule(r"ahead", "prefetch; before, beforehand", (r"ahead[- ]of[- ]time",)),
    Rule(r"ranks?", "dense ids", (), r"inference|geometry|io/|kernels"),
    Rule(
        r"windows?",
        "intensity range; crop, box",
        # The screen's windows, the operating system, window functions, and the field's name for tiled inference.
        (
            r"(napari|new|sliding|hann|gaussian|weighting|boxcar)[- ]windows?",
            r"(?-i:Windows)",
            r"window (function|cent(re|er)|width)",
            r'"window"',
        ),
    ),
    Rule(r"crumbs?", "debris, small fragments"),
    Rule(r"whoever|whatever", "'the caller', 'any'", (), r"^(?!.*(io|cli)/)"),
)

# Whole words inside of identifiers, keys of YAML files and names of files: random_haze, RandomHaze, haze.py.
NAMES = (
    Rule(r"ground", "background"),
    Rule(r"haze", "out_of_focus"),
    Rule(r"hollow", "displaced_background"),
    Rule(r"lit|shining|shines?", "emitting"),
    Rule(r"worlds?", "scene; processes", (r"world_?size", r"WORLD_SIZE", r"world_to_data", r"data_to_world")),
    Rule(r"looks?", "passes", (r"lookup",)),
    Rule(r"eyes?", "tile_network"),
    Rule(r"consensus", "shape_averaging"),
    Rule(r"ahead", "prefetch"),
    Rule(r"ranks", "dense_ids", (), r"inference|geometry|io/|kernels"),
    # napari's viewer has a window
    Rule(
        r"windows?",
        "intensity_range, crop",
        (r"sliding_?windows?", r"(on_|Pure)Windows"),
        r"^(?!.*make_napari_pictures)",
    ),
    Rule(r"crumbs?", "debris"),
    Rule(r"stretch(es)?", "stage", (), r"training|configs/experiment|configs/callbacks"),
    Rule(r"flips", "tta", (), INFERENCE),
)

# Words of a diary, which belong to docs/history.md.
DIARY = (
    Rule(r"(is|was|are|were|be|been) wanted|wanted:", "state the requirement or the result"),
    Rule(
        r"(was|were|is|are|just|narrowly) missed|misses the (target|goal)",
        "state the result; false negatives",
    ),
    Rule(r"(was|were|is|are|been) not run|not been run|not (yet )?measured", "leave it out or measure it"),
    Rule(r"no longer|any longer|any more|not any more", "state what holds"),
    Rule(r"(was|were|been) tried|tried (out|and)|we tried", "docs/history.md"),
    Rule(r"turned out|turns out", "state the result"),
    Rule(r"used to (be|have|do|take|need)|until now|so far|by now|as yet|not yet", "state what holds"),
    Rule(r"did not help|made no difference|gave up|given up", "docs/history.md"),
    Rule(r"(was|were) (dropped|abandoned|replaced|rewritten|removed)", "docs/history.md"),
    Rule(
        r"(before|since|until) (this|the last|the previous) (change|commit|version|week)", "docs/history.md"
    ),
)

WORDS_OF_A_SENTENCE = 40


@dataclass(frozen=True)
class Fault:
    """One fault: where it is, and what to do."""

    path: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.message}"


def banned(text: str, path: str, rules: tuple[Rule, ...]) -> list[tuple[int, str, str]]:
    """Offset, expression and replacement of every match of ``rules`` that no allowed use covers."""
    found = []
    for rule in rules:
        if rule.where and not re.search(rule.where, path):
            continue
        allowed = [m.span() for use in rule.allowed for m in _expression(use).finditer(text)]
        for match in _expression(rule.pattern).finditer(text):
            if not any(start <= match.start() and match.end() <= end for start, end in allowed):
                found.append((match.start(), match.group(), rule.instead))
    return found


def _expression(pattern: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w-])({pattern.replace(' ', chr(92) + 's+')})(?!\w)", re.IGNORECASE)


def parts_of(name: str) -> str:
    """The words of an identifier: ``RandomHaze_2`` -> ``random haze 2``."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|[_\W]+", " ", name)
    return spaced.lower()


def banned_names(name: str, path: str) -> list[tuple[str, str]]:
    """Word and replacement for every forbidden word of an identifier."""
    found = []
    for rule in NAMES:
        if rule.where and not re.search(rule.where, path):
            continue
        if any(re.search(use, name, re.IGNORECASE) for use in rule.allowed):
            continue
        found += [
            (match.group(), rule.instead) for match in _expression(rule.pattern).finditer(parts_of(name))
        ]
    return found


def long_sentences(text: str) -> list[tuple[int, int]]:
    """Offset and number of words of every sentence with more than :data:`WORDS_OF_A_SENTENCE`."""
    found, start = [], 0
    for end in re.finditer(r"(?<!e\.g)(?<!i\.e)(?<!cf)(?<!vs)(?<! al)[.!?][\"'`)*_\]]*(\s+|$)|$", text):
        words = [word for word in text[start : end.end()].split() if re.search(r"\w", word)]
        if len(words) > WORDS_OF_A_SENTENCE:
            found.append((start, len(words)))
        start = end.end()
    return found
