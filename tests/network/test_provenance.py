"""The training that made a model, as a record and as JSON."""

import json

from anystar_torch.network.provenance import Provenance


def test_what_is_not_known_is_not_stored():
    assert Provenance(seed=0, steps=12).as_dict() == {"seed": 0, "steps": 12}
    assert Provenance().as_dict() == {}


def test_entries_of_other_versions_are_kept_beside_the_fields():
    content = {"steps": 5, "commits": ["a", "b"], "hours": 7.7, "recipe": "mix"}
    read = Provenance.from_dict(json.loads(json.dumps(content)))
    assert (read.steps, read.recipe, read.seed) == (5, "mix", None)
    assert read.notes == {"commits": ["a", "b"], "hours": 7.7}
    assert read.as_dict() == content
