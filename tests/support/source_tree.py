"""The repository as text and as syntax trees, for the tests that keep the house in order."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
TEXT_SUFFIXES = frozenset(
    (
        ".py",
        ".md",
        ".toml",
        ".yaml",
        ".yml",
        ".json",
        ".sh",
        ".txt",
        ".ini",
        ".cfg",
        ".c",
        ".h",
        ".html",
        ".css",
        ".js",
        ".svg",
        "",
    )
)
FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class Defined:
    """A function or class with the place where it stands."""

    file: str
    node: FunctionNode | ast.ClassDef
    qualified: str
    in_class: ast.ClassDef | None
    is_nested: bool  # inside a function

    @property
    def place(self) -> str:
        """`file:line name`, as an editor finds it."""
        return f"{self.file}:{self.node.lineno} {self.qualified}"


def _is_ours(path: Path) -> bool:
    parts = path.relative_to(REPOSITORY).parts
    hidden = any(part.startswith(".") and part != ".ci" for part in parts[:-1])
    return not hidden and not {"__pycache__", "build", "dist", "results"} & set(parts) and not parts[0].endswith(".egg-info")


def python_files(*folders: str) -> list[Path]:
    """Every Python file below these folders of the repository."""
    return sorted(path for folder in folders for path in (REPOSITORY / folder).rglob("*.py") if _is_ours(path))


def text_files() -> list[Path]:
    """Every text file of the repository that people keep by hand."""
    kept = (path for path in REPOSITORY.rglob("*") if path.is_file() and path.suffix in TEXT_SUFFIXES and _is_ours(path))
    return sorted(path for path in kept if path.name not in {".git", ".coverage"})


def name_of(path: Path) -> str:
    """The path as seen from the repository's root."""
    return path.relative_to(REPOSITORY).as_posix()


@cache
def tree_of(path: Path) -> ast.Module:
    """The file's syntax tree, parsed once."""
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def definitions(path: Path) -> Iterator[Defined]:
    """Every class and function of the file, nested ones too."""
    yield from _walk(tree_of(path), name_of(path), prefix="", in_class=None, is_nested=False)


def _walk(node: ast.AST, file: str, *, prefix: str, in_class: ast.ClassDef | None, is_nested: bool) -> Iterator[Defined]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef):
            yield Defined(file, child, prefix + child.name, in_class, is_nested)
            yield from _walk(child, file, prefix=f"{prefix}{child.name}.", in_class=child, is_nested=is_nested)
        elif isinstance(child, FunctionNode):
            yield Defined(file, child, prefix + child.name, in_class, is_nested)
            yield from _walk(child, file, prefix=f"{prefix}{child.name}.", in_class=None, is_nested=True)
        else:
            yield from _walk(child, file, prefix=prefix, in_class=in_class, is_nested=is_nested)
