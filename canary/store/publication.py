"""What a newly published file changes about who is in charge, and what it may not take away."""

from collections.abc import Mapping, Sequence

from canary.config.document import Config
from canary.errors import Conflict, VersionInUse
from canary.rollout.state import RolloutState
from canary.split.spec import UnitSpec


def published_meanwhile(read: int, latest: int) -> Conflict:
    """Why nothing begins that was checked against an older file: what it names may be gone."""
    return Conflict(
        f"file revision {latest} was published while this was checked against revision {read}",
        hint="Ask again: it is checked against the new file then.",
    )


def stable_after(
    config: Config, latest: Config | None, *, in_charge: Mapping[str, str], active: Sequence[RolloutState]
) -> dict[str, str]:
    """Route -> version in charge once `config` is in force.

    A new route takes the file's stable; one whose `stable` in the file was edited takes it as an operator's order; otherwise
    the stable in charge stays. Raises VersionInUse with every problem.
    """
    after = {route.name: _stable(route.name, route.stable, latest, in_charge) for route in config.routes}
    problems = [
        *(text for state in active for text in _rollout_problems(state, config, latest, after.get(state.route), in_charge)),
        *(text for route, stable in after.items() for text in _stable_problems(route, stable, config, latest)),
    ]
    if problems:
        raise VersionInUse(
            "the file cannot be published: " + "; ".join(problems),
            hint="Give a changed definition a new name, or end the rollout first.",
        )
    return after


def _stable(route: str, in_file: str, latest: Config | None, in_charge: Mapping[str, str]) -> str:
    before = latest.route(route) if latest else None
    if before is None or before.stable != in_file:
        return in_file
    return in_charge.get(route, in_file)


def _rollout_problems(
    state: RolloutState, config: Config, latest: Config | None, stable: str | None, in_charge: Mapping[str, str]
) -> list[str]:
    if config.route(state.route) is None:
        return [f"route {state.route} is removed, and rollout {state.id} is active on it"]
    problems = []
    if stable != in_charge.get(state.route, stable):
        problems.append(f"stable of route {state.route} is changed to {stable}, and rollout {state.id} is active on it")
    hashes = _hashes(config, state.route)
    for name, hash_ in ((state.stable, state.stable_hash), (state.candidate, state.candidate_hash)):
        if hashes.get(name) != hash_:
            done = "changed" if name in hashes else "removed"
            problems.append(f"version {name} of route {state.route} is {done}, and rollout {state.id} uses it")
    if _unit(config, state.route) != _unit(latest or config, state.route):
        # What is a coin of its own for one unit is known beforehand for another: evidence of both adds up to nothing.
        problems.append(f"the unit of route {state.route} is changed, and rollout {state.id} counts by the present one")
    before = latest.plan(state.plan.name) if latest else None
    if before is not None and config.plan(state.plan.name) != before:
        problems.append(f"plan {state.plan.name} is removed or changed, and rollout {state.id} follows it")
    return problems


def _unit(config: Config, route: str) -> UnitSpec | None:
    spec = config.route(route)
    return spec.unit if spec else None


def _stable_problems(route: str, stable: str, config: Config, latest: Config | None) -> list[str]:
    now, before = _hashes(config, route), _hashes(latest, route)
    if stable not in now:
        return [f"version {stable} of route {route} is removed, and it is in charge"]
    if stable in before and before[stable] != now[stable]:
        return [f"version {stable} of route {route} is changed, and it is in charge"]
    return []


def _hashes(config: Config | None, route: str) -> dict[str, str]:
    """Name of a version -> its hash; empty where there is no such route."""
    spec = config.route(route) if config else None
    return {version.name: version.hash for version in spec.versions} if spec else {}
