"""When a decision that moves nothing is written down."""

from canary.control.notes import QUIET_S, ROW_EVERY_S, ROWS, Notebook
from canary.rollout.state import Decision, MetricVerdict, Reason
from canary.terms import Action, Phase, Verdict
from tests.support.rollouts import a_state


def kept(because: str, reason: Reason = Reason.GATES, promote: Verdict = Verdict.UNDECIDED) -> Decision:
    """A KEEP with one metric."""
    verdict = MetricVerdict(metric="error", rollback=Verdict.UNDECIDED, promote=promote, because=because)
    return Decision(action=Action.KEEP, because=because, reason=reason, verdicts=(verdict,))


def test_the_first_word_is_news() -> None:
    book = Notebook()
    assert book.is_due(a_state(Phase.CANARYING), kept("e=2"), 100.0)
    assert book.is_news("r1", kept("e=2"), 200.0)


def test_new_numbers_alone_are_no_news_but_are_noted_after_a_while() -> None:
    book = Notebook()
    book.wrote("r1", kept("e=2"), 100.0)
    state = a_state(Phase.CANARYING, because="e=2")
    assert not book.is_due(state, kept("e=3"), 100.0 + QUIET_S - 0.1)
    assert book.is_due(state, kept("e=3"), 100.0 + QUIET_S)
    assert not book.is_news("r1", kept("e=3"), 200.0)


def test_what_stands_written_is_not_written_again() -> None:
    book = Notebook()
    book.wrote("r1", kept("e=2"), 100.0)
    assert not book.is_due(a_state(Phase.CANARYING, because="e=2"), kept("e=2"), 1_000.0)


def test_a_new_reason_or_verdict_is_news() -> None:
    book = Notebook()
    book.wrote("r1", kept("e=2"), 100.0)
    assert book.is_news("r1", kept("e=2", reason=Reason.STALE), 200.0)
    assert book.is_news("r1", kept("e=2", promote=Verdict.PASS), 200.0)


def test_a_word_that_flickers_is_not_written_each_second() -> None:
    book = Notebook()
    book.wrote("r1", kept("a"), 100.0)
    state = a_state(Phase.CANARYING, because="a")
    due = [second for second in range(101, 111) if book.is_due(state, kept("b", reason=Reason.STALE), second)]
    assert due == [105, 106, 107, 108, 109, 110]
    book.noted("r1", 105.0)
    assert not book.is_due(state, kept("b", reason=Reason.STALE), 109.0)


def test_what_is_over_is_forgotten() -> None:
    book = Notebook()
    book.wrote("r1", kept("a"), 100.0)
    book.wrote("r2", kept("a"), 100.0)
    book.forget_all_but({"r2"})
    assert (book.knows("r1"), book.knows("r2")) == (False, True)


def rows_written(book: Notebook, seconds: range) -> int:
    """Rows of a verdict that hovers: another word at every look, as the loop writes them down."""
    rows = 0
    for second in seconds:
        word = kept(f"e={second}", promote=Verdict.PASS if second % 2 else Verdict.UNDECIDED)
        if not book.is_due(a_state(Phase.CANARYING, because="before"), word, second):
            continue
        if book.is_news("r1", word, second):
            book.wrote("r1", word, second)
            rows += 1
        else:
            book.noted("r1", second)
    return rows


def test_a_verdict_that_hovers_all_day_writes_some_rows_and_no_thousands() -> None:
    assert rows_written(Notebook(), range(86_400)) <= ROWS + 86_400 / ROW_EVERY_S + 2


def test_a_new_reason_is_written_when_the_ration_is_gone_and_a_move_restores_it() -> None:
    book = Notebook()
    rows_written(book, range(1_000))
    assert not book.is_news("r1", kept("e=2", promote=Verdict.FAIL), 1_005.0)
    assert book.is_news("r1", kept("e=2", reason=Reason.SILENT), 1_005.0)
    book.wrote("r1", kept("e=2", reason=Reason.SILENT), 1_005.0)
    book.wrote("r1", kept("e=2"), 1_010.0)
    assert not book.is_news("r1", kept("e=2", reason=Reason.SILENT), 1_015.0), "once"
    book.wrote("r1", Decision(action=Action.ADVANCE, because="next", reason=Reason.GATES), 1_020.0)
    assert book.is_news("r1", kept("e=2", promote=Verdict.FAIL), 1_025.0)
