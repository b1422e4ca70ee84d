"""Signals at a bad moment: held while they would cut, and left alone where they were ignored."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator

import pytest

from fhirserver.signals import STOP_SIGNALS, HeldSignals, interrupt_once


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """What the tests change of the process is put back."""
    before = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_a_held_signal_takes_its_effect_when_the_block_ends(number: int):
    came = []
    signal.signal(number, lambda which, _: came.append(which))
    with HeldSignals() as held:
        os.kill(os.getpid(), number)
        assert held.is_pending
        assert came == []
    assert came == [number]


def test_several_held_signals_are_one():
    came = []
    for number in STOP_SIGNALS:
        signal.signal(number, lambda which, _: came.append(which))
    with HeldSignals():
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)
    assert came == [signal.SIGTERM]


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_what_was_ignored_before_stays_ignored(number: int):
    signal.signal(number, signal.SIG_IGN)
    interrupt_once()
    with HeldSignals() as held:
        os.kill(os.getpid(), number)
        assert not held.is_pending
    assert signal.getsignal(number) == signal.SIG_IGN


def test_a_second_signal_does_not_cut_the_way_out_short():
    program = textwrap.dedent("""
        import os, signal
        from fhirserver.signals import interrupt_once
        interrupt_once()
        try:
            os.kill(os.getpid(), signal.SIGINT)
        except KeyboardInterrupt:
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGINT)
            print("the way out was walked to its end")
    """)
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (0, "the way out was walked to its end\n")
