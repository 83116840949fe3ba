"""One idea, one word: public things say what they are, and nothing is called by a word that the glossary took away."""

import ast
import re
from collections.abc import Iterator

from tests.support.source_tree import Defined, FunctionNode, definitions, name_of, python_files, tree_of

# Words of the glossary's "not" column that have no honest other use here, with the word to take in their place.
NEVER = {
    "endpoint": "route",
    "microservice": "route",
    "baseline": "stable",
    "treatment": "candidate",
    "challenger": "candidate",
    "champion": "stable",
    "exposure": "assignment",
    "blame": "fault",
    "flakiness": "noise",
    "kpi": "metric",
    "pvalue": "e_value",
    "slo": "guardrail",
}
# Words that are fine in a sentence or for somebody else's thing, but name no class of ours.
NO_CLASS = {
    "Service": "route",
    "Backend": "version",
    "Release": "version",
    "Experiment": "rollout",
    "Treatment": "candidate",
    "Group": "arm",
    "Strategy": "plan",
    "Score": "evidence",
    "Agent": "courier",
    "Quota": "budget",
    "Manager": "what it does",
    "Helper": "what it does",
    "Util": "what it does",
}
DUNDER = re.compile(r"__\w+__$")
FOREIGN_CALLS = re.compile(r"(?:on_[a-z_]+|[a-z]+_(?:made|lost|received|writing))$")  # named and told by asyncio and httptools


def identifiers(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Every name that the file gives: to functions, classes, parameters, variables, attributes."""
    for node in ast.walk(tree):
        if isinstance(node, FunctionNode | ast.ClassDef):
            yield node.name, node.lineno
        elif isinstance(node, ast.arg):
            yield node.arg, node.lineno
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id, node.lineno
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr, node.lineno


def words(identifier: str) -> set[str]:
    """`weightPercent` and `weight_percent` alike in lower-case words; `p_value` becomes `pvalue`."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", identifier).lower().replace("p_value", "pvalue")
    return set(spaced.split("_"))


def test_no_name_is_a_word_that_the_glossary_took_away() -> None:
    wrong = [
        f"{name_of(path)}:{line} {name}: say {NEVER[word]}"
        for path in python_files("canary")
        for name, line in identifiers(tree_of(path))
        for word in sorted(words(name) & NEVER.keys())
    ]
    assert wrong == []


def test_no_class_is_called_by_another_word() -> None:
    wrong = []
    for path in python_files("canary"):
        for found in definitions(path):
            if isinstance(found.node, ast.ClassDef):
                parts = set(re.findall(r"[A-Z][a-z0-9]*", found.node.name))
                wrong += [f"{found.place}: say {NO_CLASS[part]}" for part in sorted(parts & NO_CLASS.keys())]
    assert wrong == []


def is_public(found: Defined) -> bool:
    """Meant for readers elsewhere: not private by name or place, and not told what to be by a foreign protocol."""
    name = found.node.name
    private = any(part.startswith("_") and not DUNDER.match(part) for part in found.qualified.split("."))
    foreign = found.in_class is not None and (DUNDER.match(name) or FOREIGN_CALLS.match(name))
    return not private and not found.is_nested and not foreign


def is_silent(found: Defined) -> bool:
    """No docstring, where one is owed: setters and overloads owe none, nor do a protocol's attributes."""
    marks = {ast.unparse(mark).rpartition(".")[2] for mark in found.node.decorator_list}
    protocol = found.in_class is not None and any("Protocol" in ast.unparse(parent) for parent in found.in_class.bases)
    owes_none = marks & {"overload", "setter", "override"} or (protocol and "property" in marks)
    return ast.get_docstring(found.node) is None and not owes_none


def test_every_public_thing_says_what_it_is() -> None:
    silent = [
        found.place for path in python_files("canary") for found in definitions(path) if is_public(found) and is_silent(found)
    ]
    assert silent == []
