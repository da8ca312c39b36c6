"""An extension of Griffe: references of Sphinx in docstrings become links of the site."""

import re
from html import escape
from typing import Any

import griffe

ROLE = re.compile(r":(?:func|class|data|meth|mod|attr|exc|obj):`(~?)([\w.]+)`")


class SphinxReferences(griffe.Extension):
    """Replaces ``:func:`name``` by a link to the documentation of ``name``, where the site has it."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite the docstring of an object, after it was read."""
        if obj.docstring is None:
            return
        text = ROLE.sub(lambda match: _link(obj, *match.groups()), obj.docstring.value)
        obj.docstring.value = re.sub(r"::$", ":", text, flags=re.MULTILINE)


def _link(obj: griffe.Object, short: str, name: str) -> str:
    shown = name.rpartition(".")[2] if short else name
    try:
        target = name if name.startswith("anystar_torch.") else obj.resolve(name)
    except griffe.NameResolutionError:
        target = name
    return f'<autoref identifier="{escape(target)}" optional><code>{escape(shown)}</code></autoref>'
