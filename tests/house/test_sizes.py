"""Nothing grows past what one reads in a sitting."""

import ast

from tests.support.source_tree import REPOSITORY, FunctionNode, definitions, name_of, python_files

FILE_LINES = 400
FUNCTION_LINES = 60
PARAMETERS = 6
FOLDERS = ("canary", "tests", "migrations")


def test_no_file_is_too_long() -> None:
    files = python_files(*FOLDERS) + sorted((REPOSITORY / "tests/bench/c").glob("*.[ch]"))
    lengths = {name_of(path): len(path.read_text(encoding="utf-8").splitlines()) for path in files}
    assert {name: lines for name, lines in lengths.items() if lines > FILE_LINES} == {}


def test_no_function_is_too_long() -> None:
    too_long = {}
    for path in python_files(*FOLDERS):
        for found in definitions(path):
            lines = (found.node.end_lineno or found.node.lineno) - found.node.lineno + 1
            if isinstance(found.node, FunctionNode) and lines > FUNCTION_LINES:
                too_long[found.place] = lines
    assert too_long == {}


def parameters(node: FunctionNode, *, is_method: bool) -> int:
    """How many a caller may give; `self` and `cls` are not counted."""
    given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    static = any(isinstance(mark, ast.Name) and mark.id == "staticmethod" for mark in node.decorator_list)
    return len(given) - (1 if is_method and not static and given else 0)


def test_no_function_takes_too_much() -> None:
    takes = {
        found.place: parameters(found.node, is_method=found.in_class is not None)
        for path in python_files("canary", "migrations")
        for found in definitions(path)
        if isinstance(found.node, FunctionNode)
    }
    assert {place: count for place, count in takes.items() if count > PARAMETERS} == {}
