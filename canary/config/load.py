"""Text of a canary.yaml to one checked value, or all of its mistakes at once as file:line:column: message."""

from collections.abc import Mapping

import msgspec
from pydantic import ValidationError

from canary.config.build import build
from canary.config.checks import findings, warnings
from canary.config.document import ConfigFile
from canary.config.schema import FileModel
from canary.config.tree import Problem, Tree
from canary.config.words import problems_of
from canary.errors import ConfigError
from canary.terms import Frozen


class Reading(Frozen, frozen=True, kw_only=True):
    """What came of a text: the file, or the problems that stand in its way."""

    file: ConfigFile | None
    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()  # of a file that is good


def read(text: str, *, env: Mapping[str, str]) -> Reading:
    """Parses and checks; problems are in the order of the file. DATABASE_URL in `env` wins over `database`."""
    tree = Tree(text, env)
    if tree.value is None and not tree.problems:
        tree.problem((1, 1), "the file is empty: at least one route is needed (canary init writes an example)")
    model = _validated(tree) if tree.value is not None else None
    database = env.get("DATABASE_URL", "") or (model.database if model else "")
    if not database.startswith(("postgresql://", "postgres://")) and database not in {"embedded", ""}:
        tree.problem((1, 1), "DATABASE_URL (in the environment): expected postgresql://user@host/database")
    file = build(model, database=database) if model is not None and not tree.problems else None
    for plan in file.config.plans if file is not None else ():
        place = tree.places.of_key(("plans", plan.name))
        for message in plan.problems():  # the rollout room's own word on what can be followed
            tree.problem(place, f"plans.{plan.name}: {message}")
    if tree.problems or file is None:
        return Reading(file=None, problems=tuple(sorted(set(tree.problems), key=_order)))
    return Reading(file=file, warnings=_warnings(tree))


def load(text: str, *, path: str, env: Mapping[str, str]) -> ConfigFile:
    """The checked file; raises ConfigError with every problem as `path:line:column: message`, one a line."""
    reading = read(text, env=env)
    if reading.file is None:
        lines = [f"{path}:{p.line}:{p.column}: {p.message}" for p in reading.problems]
        raise ConfigError("\n".join(lines), hint="canary config schema prints what the file may hold")
    if not reading.warnings:
        return reading.file
    said = tuple(f"{path}:{p.line}:{p.column}: {p.message}" for p in reading.warnings)
    return msgspec.structs.replace(reading.file, warnings=said)


def _validated(tree: Tree) -> FileModel | None:
    model = None
    try:
        model = FileModel.model_validate(tree.value)
    except ValidationError as error:
        tree.problems.extend(problems_of(error, tree.places))
    for path, at_key, message in findings(tree.value):
        place = tree.places.of_key(path) if at_key else tree.places.of_value(path)
        tree.problem(place, f"{'.'.join(map(str, path))}: {message}")
    return model


def _warnings(tree: Tree) -> tuple[Problem, ...]:
    """What is allowed and was probably not meant, in the order of the file."""
    found = []
    for path, at_key, message in warnings(tree.value):
        line, column = tree.places.of_key(path) if at_key else tree.places.of_value(path)
        found.append(Problem(line=line, column=column, message=f"{'.'.join(map(str, path))}: {message}"))
    return tuple(sorted(found, key=_order))


def _order(problem: Problem) -> tuple[int, int, str]:
    return problem.line, problem.column, problem.message
