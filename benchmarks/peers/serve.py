"""The loop of the programs in this folder; standard library only, as some run in other environments."""

import json
import sys


def case():
    """The settings that the program was started with."""
    return json.loads(sys.argv[1])


def serve(answer):
    """Answer requests, a line of JSON each, until the input ends."""
    print("READY", flush=True)
    for line in sys.stdin:
        print("ANSWER", json.dumps(answer(json.loads(line))), flush=True)
