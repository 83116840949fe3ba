"""Sticky units' states: any split over journals, any order and repetition give the same, bit for bit."""

from hypothesis import given, settings
from hypothesis import strategies as st

from canary.stats.clustered import ClusterTest, cluster_evidence
from canary.stats.clusters import CLUSTERS, Clusters, Layer
from canary.stats.first_event import FirstEvent, FirstEvents, first_event_evidence, first_events_of
from canary.terms import Arm

ARMS = (Arm.CANDIDATE, Arm.STABLE)
JOURNALS = st.integers(1, 64)
WEIGHTS_BP = {7: 500, 8: 2_500}

Request = tuple[int, int, int, int, int]  # arm, cluster, segment, block, outcome
requests = st.lists(
    st.tuples(st.integers(0, 1), st.integers(0, CLUSTERS - 1), st.integers(7, 8), st.integers(0, 2), st.integers(0, 9)),
    min_size=1,
    max_size=60,
)
Event = tuple[int, int, int]  # user, start, segment; the arm stays with the user
events = st.lists(st.tuples(st.integers(0, 25), st.integers(0, 20), st.integers(7, 8)), min_size=1, max_size=60)


def counted(found: list[Request]) -> Clusters:
    clusters = Clusters()
    for arm, cluster, segment, block, outcome in found:
        clusters.add(Layer(segment, 0, block), ARMS[arm], cluster, outcome=outcome)
    return clusters


def everywhere(clusters: Clusters) -> Clusters:
    """With enough of everything beside it that no burn-in holds the evidence back."""
    found = counted([(arm, cluster, 7, 0, (cluster * 7 + arm) % 5) for arm in (0, 1) for cluster in range(40)])
    found.add_all(clusters)
    return found


@settings(max_examples=60)
@given(data=st.data(), found=requests, journals=JOURNALS)
def test_clusters_add_up_in_any_order(data: st.DataObject, found: list[Request], journals: int) -> None:
    places = data.draw(st.lists(st.integers(0, journals - 1), min_size=len(found), max_size=len(found)))
    merged = Clusters()
    for journal in data.draw(st.permutations(sorted(set(places)))):
        merged.add_all(counted([request for request, at in zip(found, places, strict=True) if at == journal]))
    assert merged == counted(found)
    test = ClusterTest(effect=0.1, rho=1.1, delta=0.01)
    mine, theirs = cluster_evidence(everywhere(merged), test), cluster_evidence(everywhere(counted(found)), test)
    assert theirs.abstains == ""
    assert mine == theirs


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
    merged = first_events_of(shuffled, most=most)
    assert [((row.start_at_us, int.from_bytes(unit, "big")), row.segment) for unit, row in merged.rows()] == expected
    whole = kept(found, most=most)
    said = [
        first_event_evidence(state, WEIGHTS_BP, rho=1.1, delta=0.001, lowest_stable_rate=0.01, users=26)
        for state in (merged, whole)
    ]
    assert said[0] == said[1]
