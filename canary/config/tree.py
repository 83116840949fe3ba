"""YAML text to plain values with the place of each: duplicate keys, foreign tags and bombs are found here."""

import re
from collections.abc import Mapping
from typing import Final

import yaml

from canary.terms import Frozen

MAX_TEXT: Final = 262_144  # characters; a routing file of a thousand routes is smaller
MAX_DEPTH: Final = 32
MAX_NODES: Final = 50_000  # after aliases are followed: what a "billion laughs" file would blow up

Path = tuple[str | int, ...]
Value = None | str | list["Value"] | dict[str, "Value"]

_PLAIN_NULL: Final = {"", "~", "null", "Null", "NULL"}
_TAGS: Final = {
    f"tag:yaml.org,2002:{t}" for t in ("str", "int", "float", "bool", "null", "map", "seq", "timestamp", "merge", "value")
}
_VARIABLE: Final = re.compile(r"\$(?:(\$)|\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}|(\{[^}]*\}?))")


class Problem(Frozen, frozen=True, kw_only=True):
    """One mistake with its place; lines and columns count from 1."""

    line: int
    column: int
    message: str


class Places:
    """Where each key and each value stands, by path."""

    def __init__(self) -> None:
        self.keys: dict[Path, tuple[int, int]] = {}
        self.values: dict[Path, tuple[int, int]] = {}

    def of_value(self, path: Path) -> tuple[int, int]:
        """Place of the value at a path, or of its nearest ancestor."""
        while path and path not in self.values:
            path = path[:-1]
        return self.values.get(path, (1, 1))

    def of_key(self, path: Path) -> tuple[int, int]:
        """Place of the key that leads to a path, or else of the value."""
        return self.keys.get(path) or self.of_value(path)


class Tree:
    """One parsed text: its value, places and the problems met on the way.

    Scalars stay text, whatever they look like: the schema says what a field is, so `build: 0123` is no number.
    """

    def __init__(self, text: str, env: Mapping[str, str]) -> None:
        self.value: Value = None
        self.places = Places()
        self.problems: list[Problem] = []
        self._env = env
        self._nodes = 0
        node = self._compose(text)
        if node is not None:
            try:
                self.value = self._convert(node, (), ())
            except _TooLarge as error:
                self._report(error.node, str(error))

    def problem(self, place: tuple[int, int], message: str) -> None:
        """Adds one mistake."""
        self.problems.append(Problem(line=place[0], column=place[1], message=message))

    def _report(self, node: yaml.Node, message: str) -> None:
        self.problem(_place(node.start_mark), message)

    def _compose(self, text: str) -> yaml.Node | None:
        if len(text) > MAX_TEXT:
            self.problem((1, 1), f"the file has {len(text)} characters, at most {MAX_TEXT} are read")
            return None
        try:
            if _depth(text) > MAX_DEPTH:
                self.problem((1, 1), f"nested deeper than {MAX_DEPTH} levels")
                return None
            return yaml.compose(text, Loader=yaml.SafeLoader)
        except yaml.MarkedYAMLError as error:
            self.problem(_place(error.problem_mark or error.context_mark), _yaml_words(error))
        except yaml.reader.ReaderError as error:
            before = text[: error.position]
            column = error.position - (before.rfind("\n") + 1) + 1
            self.problem((before.count("\n") + 1, column), f"character {error.character!r} is not allowed in YAML")
        return None

    def _convert(self, node: yaml.Node, path: Path, above: tuple[int, ...]) -> Value:
        self._nodes += 1
        if self._nodes > MAX_NODES or len(above) > MAX_DEPTH or id(node) in above:
            raise _TooLarge(node)
        self.places.values[path] = _place(node.start_mark)
        if node.tag not in _TAGS:
            self._report(node, f"the tag {node.tag} is not supported")
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node)
        inner = (*above, id(node))
        if isinstance(node, yaml.SequenceNode):
            return [self._convert(child, (*path, i), inner) for i, child in enumerate(node.value)]
        assert isinstance(node, yaml.MappingNode)
        return self._mapping(node, path, inner)

    def _mapping(self, node: yaml.MappingNode, path: Path, above: tuple[int, ...]) -> dict[str, Value]:
        own: dict[str, Value] = {}
        merged: dict[str, Value] = {}
        for key, child in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self._report(key, "a key is a plain word")
            elif key.tag == "tag:yaml.org,2002:merge":
                merged |= self._merge(child, path, above)
            elif key.value in own:
                self._report(key, f"the key {key.value!r} stands here twice")
            else:
                here = (*path, key.value)
                self.places.keys[here] = _place(key.start_mark)
                own[key.value] = self._convert(child, here, above)
        return {**merged, **own}

    def _merge(self, node: yaml.Node, path: Path, above: tuple[int, ...]) -> dict[str, Value]:
        """`<<`: keys of another mapping, below one's own."""
        sources = node.value if isinstance(node, yaml.SequenceNode) else [node]
        result: dict[str, Value] = {}
        for source in reversed(sources):
            if not isinstance(source, yaml.MappingNode):
                self._report(source, "<< takes a mapping")
                continue
            if id(source) in above:
                raise _TooLarge(source)
            result |= self._mapping(source, path, (*above, id(source)))
        return result

    def _scalar(self, node: yaml.ScalarNode) -> str | None:
        text: str = node.value
        if node.style is None and text in _PLAIN_NULL:
            return None
        return _VARIABLE.sub(lambda found: self._variable(found, node), text) if "$" in text else text

    def _variable(self, found: re.Match[str], node: yaml.ScalarNode) -> str:
        escaped, name, default, broken = found.groups()
        if escaped:
            return "$"
        if broken:
            self._report(node, f"expected ${{NAME}} or ${{NAME:-default}}, found ${broken} ($$ stands for a dollar sign)")
            return ""
        value = self._env.get(name, "")
        if value or (name in self._env and default is None):
            return value
        if default is None:
            self._report(node, f"the environment variable {name} is not set (a default is written ${{{name}:-value}})")
            return ""
        return str(default)


class _TooLarge(Exception):
    """The tree is recursive or grows beyond all bounds."""

    def __init__(self, node: yaml.Node) -> None:
        super().__init__(f"the file is recursive or has more than {MAX_NODES} values once its aliases are followed")
        self.node = node


def _depth(text: str) -> int:
    """Deepest nesting, counted on events: the parser keeps no stack of calls, the composer does."""
    depth = deepest = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            deepest = max(deepest, depth)
            if deepest > MAX_DEPTH:
                break
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
    return deepest


def _place(mark: yaml.Mark | None) -> tuple[int, int]:
    return (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)


def _yaml_words(error: yaml.MarkedYAMLError) -> str:
    said = error.problem or error.context or "not YAML"
    if "'\\t'" in said:
        return "a tab cannot indent YAML: use spaces"
    if "expected a single document" in str(error):
        return "one document is expected, a second one starts here"
    return f"not YAML: {said}"
