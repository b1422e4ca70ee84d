"""The targets of `fuzz/` on their seeds and on variations of them, the same at every run and without atheris."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from fuzz.__main__ import _names
from fuzz.seeds import SEEDS
from fuzz.targets import TARGETS

PLAYED = [pytest.param(name, seed, id=f"{name}-{number}") for name in SEEDS for number, seed in enumerate(SEEDS[name])]


def test_every_target_has_seeds_and_can_be_named():
    assert set(SEEDS) == set(TARGETS) == set(_names())


@pytest.mark.parametrize(("name", "seed"), PLAYED)
def test_a_parser_ends_with_a_value_or_its_refusal(name, seed):
    TARGETS[name](seed)


WORDS = [*(bytes([letter]) for letter in b"\0'\"\\()[{,;$|:.=&%"), b"\xed\xa0\x80", "é".encode(), b"9" * 5000, b"null"]


@st.composite
def variations(draw, seeds):
    """A seed with some of its bytes taken out, repeated, changed, or put in from another."""
    data = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        end = draw(st.integers(start, min(start + 12, len(data))))
        other = draw(st.sampled_from(seeds))
        at = draw(st.integers(0, len(other)))
        middle = draw(
            st.sampled_from([b"", data[start:end] * 2, data[start:end] * 300, other[at : at + 12]])
            | st.binary(max_size=4)
            | st.sampled_from(WORDS)
        )
        data = data[:start] + middle + data[end:]
    return data


@pytest.mark.parametrize("name", TARGETS)
def test_so_it_does_on_variations_of_its_seeds(name):
    @settings(
        max_examples=200,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=[*HealthCheck],
    )
    @given(variations(SEEDS[name]))
    def play(data):
        TARGETS[name](data)

    play()
