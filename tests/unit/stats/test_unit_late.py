"""First failures since each block: by their definition, in any order; and why a bet that begins anew is a fair one."""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from canary.stats import unit_late
from canary.stats.first_event import FirstEvent, evidence_of_users
from canary.stats.sticky import restarted_log_e, starts_of
from canary.stats.unit_late import Counts, LateFirsts
from canary.terms import Arm


class Failure(NamedTuple):
    """One failure of one user."""

    at: int
    user: int
    block: int
    segment: int = 7


FAILURES = st.builds(
    lambda at, user: Failure(at, user, at // 10, 7 if at < 25 else 8),
    st.integers(0, 59),
    st.integers(0, 5),
)


def hash_of(user: int) -> bytes:
    return user.to_bytes(8, "big")


def arm_of(user: int) -> Arm:
    return Arm.CANDIDATE if user % 2 else Arm.STABLE


def filled(found: Sequence[Failure]) -> LateFirsts:
    late = LateFirsts()
    for one in found:
        late.add(one.block, hash_of(one.user), FirstEvent(one.at, one.segment, arm_of(one.user)))
    return late


def by_definition(found: Sequence[Failure]) -> dict[int, Counts]:
    counts = {}
    for head in {one.block for one in found}:
        first: dict[int, Failure] = {}
        for one in sorted(found):
            if one.block >= head:
                first.setdefault(one.user, one)
        counts[head] = {
            segment: (
                sum(arm_of(one.user) is Arm.CANDIDATE for one in first.values() if one.segment == segment),
                sum(arm_of(one.user) is Arm.STABLE for one in first.values() if one.segment == segment),
            )
            for segment in {one.segment for one in first.values()}
        }
    return counts


@given(found=st.lists(FAILURES, min_size=1, max_size=40), data=st.data())
def test_of_each_block_the_users_with_a_failure_since_it_are_counted_in_any_order(
    found: list[Failure], data: st.DataObject
) -> None:
    again = data.draw(st.permutations([*found, *found[:5]]))
    late = filled(again)
    assert late.counts() == by_definition(found)
    late.forget(3)
    assert late.counts() == {head: counts for head, counts in by_definition(found).items() if head >= 3}


def test_no_more_users_than_are_ever_needed_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unit_late, "MOST_SINCE", 3)
    late = filled([Failure(at, user, at // 10) for at, user in enumerate(range(0, 40, 2))])
    assert {head: sum(map(sum, counts.values())) for head, counts in late.counts().items()} == {0: 3, 1: 3}


def test_blocks_without_a_failure_lend_their_larger_share_to_the_next_one() -> None:
    assert starts_of([100, 101, 105], first=100) == {100: 1, 101: 2, 105: 3}
    assert starts_of([103], first=100) == {103: 4}  # what stood before it may have been forgotten
    assert starts_of([98, 101], first=100) == {101: 1}  # a slow clock dates 98: nobody failed from 100 on before 101


def test_the_best_bet_within_its_share_is_the_value() -> None:
    assert restarted_log_e(3.0, {}) == pytest.approx(3.0 - math.log(2))
    assert restarted_log_e(0.0, {3: 9.0, 4: 9.2}) == pytest.approx(9.0 - math.log(2 * 3 * 4))
    assert restarted_log_e(8.0, {3: 9.0}) == pytest.approx(8.0 - math.log(2))


WEIGHT_BP = 3_000
WEIGHT = WEIGHT_BP / 10_000
USERS = 5
BLOCKS = 3
Story = tuple[frozenset[int], ...]
"""Of each user the blocks in which he fails."""


def log_e_of(counts: Counts) -> float:
    return evidence_of_users(counts, {7: WEIGHT_BP}, rho=1.0, delta=0.0, lowest_stable_rate=0.0).log_e


def failures(stable: Story, candidate: Story, arms: Sequence[Arm]) -> list[tuple[Failure, Arm]]:
    """In the order of time; `arms` says whose story a user lives."""
    stories = [candidate[user] if arm is Arm.CANDIDATE else stable[user] for user, arm in enumerate(arms)]
    found = [Failure(10 * block + user, user, block) for user, story in enumerate(stories) for block in story]
    return [(one, arms[one.user]) for one in sorted(found)]


Values = Callable[[Sequence[tuple[Failure, Arm]]], dict[int, float]]


def anew(found: Sequence[tuple[Failure, Arm]]) -> dict[int, float]:
    """Log value of the bet that begins with each block: what is built."""
    late = LateFirsts()
    for one, arm in found:
        late.add(one.block, hash_of(one.user), FirstEvent(one.at, 7, arm))
    return {head: log_e_of(counts) for head, counts in late.counts().items()}


def leaving_out(found: Sequence[tuple[Failure, Arm]]) -> dict[int, float]:
    """The same of users that had not failed before the block: what would be wrong."""
    firsts: dict[int, tuple[Failure, Arm]] = {}
    for one, arm in found:
        firsts.setdefault(one.user, (one, arm))
    return anew([*firsts.values()])


def mean_of(stable: Story, candidate: Story, values: Values, block: int) -> float:
    """Of the bet's value at the end, over all arms that the users may have."""
    total = 0.0
    for arms in itertools.product((Arm.CANDIDATE, Arm.STABLE), repeat=USERS):
        chance = math.prod(WEIGHT if arm is Arm.CANDIDATE else 1 - WEIGHT for arm in arms)
        total += chance * math.exp(values(failures(stable, candidate, arms)).get(block, 0.0))
    return total


STORIES = st.lists(st.frozensets(st.integers(0, BLOCKS - 1)), min_size=USERS, max_size=USERS).map(tuple)


@settings(max_examples=25, deadline=None)
@given(stable=STORIES, spared=STORIES, block=st.integers(0, BLOCKS - 1))
def test_the_mean_of_each_bet_over_all_coins_is_1_at_most_for_a_candidate_that_is_never_worse(
    stable: Story, spared: Story, block: int
) -> None:
    """Exact: every story of five users in three blocks may come; the candidate spares each of them some failures, or none."""
    candidate = tuple(story - less for story, less in zip(stable, spared, strict=True))
    # Bets of a head stand for the blocks before it in which nobody failed; a block after the last failure has bet nothing.
    assert mean_of(stable, stable, anew, block) == pytest.approx(1.0, abs=1e-12)
    heads = {block for story in stable for block in story} | {block}
    for head in heads:
        assert mean_of(stable, candidate, since(head), head) <= 1 + 1e-12


def since(head: int) -> Values:
    """The bet that begins with a block, whether anybody failed in that block itself or not."""

    def values(found: Sequence[tuple[Failure, Arm]]) -> dict[int, float]:
        later = [(one._replace(block=head), arm) for one, arm in found if one.block >= head]
        return anew(later)

    return values


def test_leaving_out_users_that_had_failed_before_would_convict_a_candidate_that_was_better() -> None:
    """All users fail in the first block and in the last; the candidate spares its own the first one, and is as bad later."""
    always = tuple(frozenset({0, 2}) for _ in range(USERS))
    spared = tuple(frozenset({2}) for _ in range(USERS))
    assert mean_of(always, always, leaving_out, 0) == pytest.approx(1.0, abs=1e-12)
    assert mean_of(always, spared, leaving_out, 2) > 3
    assert mean_of(always, spared, anew, 2) == pytest.approx(1.0, abs=1e-12)


def ever_crosses(stable: Story, candidate: Story, need: float) -> float:
    """Chance that the value of all bets together reaches `need` after any of the failures."""
    total = 0.0
    for arms in itertools.product((Arm.CANDIDATE, Arm.STABLE), repeat=USERS):
        found = failures(stable, candidate, arms)
        chance = math.prod(WEIGHT if arm is Arm.CANDIDATE else 1 - WEIGHT for arm in arms)
        for end in range(1, len(found) + 1):
            log_e = anew(found[:end])
            from_start = log_e[min(log_e)]
            places = starts_of(log_e, first=0)
            if restarted_log_e(from_start, {place: log_e[head] for head, place in places.items()}) >= math.log(need):
                total += chance
                break
    return total


@settings(max_examples=25, deadline=None)
@given(stable=STORIES, spared=STORIES)
def test_all_bets_together_ever_reach_a_threshold_with_at_most_the_chance_it_stands_for(stable: Story, spared: Story) -> None:
    candidate = tuple(story - less for story, less in zip(stable, spared, strict=True))
    for need in (1.5, 2.0, 4.0, 8.0):
        assert ever_crosses(stable, candidate, need) <= 1 / need + 1e-12
