"""First events of sticky units: any split over journals, any order and repetition give the same."""

from hypothesis import given, settings
from hypothesis import strategies as st

from canary.stats.first_event import FirstEvent, FirstEvents
from canary.terms import Arm

ARMS = (Arm.CANDIDATE, Arm.STABLE)
JOURNALS = st.integers(1, 64)

Event = tuple[int, int, int]  # user, start, segment; the arm stays with the user
events = st.lists(st.tuples(st.integers(0, 25), st.integers(0, 20), st.integers(7, 8)), min_size=1, max_size=60)


def kept(found: list[Event], *, most: int) -> FirstEvents:
    events = FirstEvents(most=most)
    for user, start, segment in found:
        events.add(user.to_bytes(8, "big"), FirstEvent(start, segment, ARMS[user % 2]))
    return events


@settings(max_examples=100)
@given(data=st.data(), found=events, journals=JOURNALS, most=st.integers(1, 12))
def test_first_events_are_the_same_in_any_order_and_number(
    data: st.DataObject, found: list[Event], journals: int, most: int
) -> None:
    earliest: dict[int, tuple[int, int]] = {}
    for user, start, segment in found:
        earliest[user] = min(earliest.get(user, (start, segment)), (start, segment))
    expected = sorted(((start, user), segment) for user, (start, segment) in earliest.items())[:most]
    places = data.draw(st.lists(st.integers(0, journals - 1), min_size=len(found), max_size=len(found)))
    parts = [[event for event, at in zip(found, places, strict=True) if at == journal] for journal in sorted(set(places))]
    parts += data.draw(st.lists(st.sampled_from(parts), max_size=5), label="again")
    shuffled = [kept(data.draw(st.permutations(part)), most=most) for part in data.draw(st.permutations(parts))]
    merged, whole = FirstEvents(most=most), kept(found, most=most)
    for part in shuffled:
        merged.add_all(part)
    assert [((row.start_at_us, int.from_bytes(unit, "big")), row.segment) for unit, row in merged.rows()] == expected
    assert (merged.rows(), merged.counts(), merged.is_full) == (whole.rows(), whole.counts(), whole.is_full)
