"""The soak's ruler: what it calls growth, and what it counts."""

import os
import socket

import pytest

from tests.bench.soak_bench import KINDS, Sampler, descriptors, mapped_mb, render, slopes
from tests.support.deadline import wait_for


def _samples(rss_mb: list[float]) -> list[dict[str, float]]:
    return [{"at_s": 10.0 * n, "rss_mb": value, "descriptors": 9.0} for n, value in enumerate(rss_mb)]


def test_growth_is_that_of_ten_minutes_without_the_warm_up() -> None:
    found = slopes(_samples([5.0] * 10 + [40.0 + n / 60 for n in range(30)]))
    assert found["rss_mb_per_10_min"] == pytest.approx(1.0)
    assert (found["descriptors_per_10_min"], found["samples"]) == (0.0, 30.0)
    assert (found["rss_mb_first"], found["rss_mb_max"]) == (40.0, pytest.approx(40.0 + 29 / 60))


def test_too_few_samples_say_nothing() -> None:
    assert slopes(_samples([5.0])) == {"samples": 1.0}


def test_what_grows_is_said_not_to_be_kept() -> None:
    result = {
        "load": {"rps": 1.0, "failed": 0},
        "rows": {},
        "seconds": 60,
        "every_pair_stored": True,
        "slopes": {"worker": slopes(_samples([float(n) for n in range(20)]))},
    }
    assert "NOT kept" in render(result)
    result["slopes"] = {"worker": slopes(_samples([7.0] * 20))}
    assert ": kept" in render(result)


def test_it_samples_memory_and_descriptors_of_living_processes() -> None:
    before = descriptors([os.getpid()])
    assert before > 0
    with socket.socket(), socket.socket():
        assert descriptors([os.getpid()]) == before + 2
    assert descriptors([2**22 + 1]) == 0
    with Sampler({"me": [os.getpid()]}, every_s=0.01) as sampler:
        found = wait_for(lambda: sampler.samples["me"] if len(sampler.samples["me"]) > 2 else None)
    assert found[0]["rss_mb"] > 1
    assert found[0]["descriptors"] > 0


def test_it_says_which_memory_grew() -> None:
    mapped = mapped_mb([os.getpid()])
    assert set(mapped) == set(KINDS)
    assert all(size > 1 for size in mapped.values())
    assert not any(mapped_mb([2**22 + 1]).values())
    large = bytearray(50_000_000)
    large[::4_096] = b"x" * len(large[::4_096])
    assert mapped_mb([os.getpid()])["other_mb"] > mapped["other_mb"] + 45
    samples = [
        sample | {"heap_mb": 5.0, "other_mb": 20.0 + n, "files_mb": 7.0} for n, sample in enumerate(_samples([9.0] * 20))
    ]
    result = {"load": {"rps": 1.0, "failed": 0}, "rows": {}, "seconds": 60, "every_pair_stored": True}
    said = render(result | {"slopes": {"courier": slopes(samples)}})
    assert "courier 5.0 +0.00 25.0 +14.00 7.0 +0.00" in " ".join(said.split())
