"""The registry of peers: `@peer(library, pattern)` on a function that takes a row's match and returns what to time.

A function may return a pair (run, note) to say what differs.
"""
import re

REGISTRY = []


def peer(library, pattern):
    compiled = re.compile(pattern + r"$")

    def register(make):
        REGISTRY.append((library, compiled, make))
        return make

    return register


def find(library, row):
    for name, pattern, make in REGISTRY:
        if name == library and (match := pattern.match(row)):
            return lambda: make(match)
    return None
