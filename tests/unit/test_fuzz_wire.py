"""The fuzzer of the wire: that it finds what there is to find, and that there is nothing."""

from __future__ import annotations

import importlib.util
import os
import random
import sys
import time
from itertools import islice
from pathlib import Path

import pytest

from grader import wire

ROOT = Path(__file__).resolve().parents[2]
#: A minute in CI; a few seconds where somebody waits.
SECONDS = 60 if os.environ.get("CI") == "true" else 5


@pytest.fixture(scope="module")
def fuzzer():
    spec = importlib.util.spec_from_file_location("fuzz_wire", ROOT / "tools" / "fuzz_wire.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look for it
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def test_one_seed_gives_the_same_inputs(fuzzer):
    """So that a finding can be made again; another seed gives others."""
    assert list(islice(fuzzer.inputs(7), 200)) == list(islice(fuzzer.inputs(7), 200))
    assert list(islice(fuzzer.inputs(7), 200)) != list(islice(fuzzer.inputs(8), 200))


def test_every_kind_of_message_is_among_what_is_damaged(fuzzer):
    """Of both directions."""
    kinds = {type(message) for message in fuzzer.VALID}
    assert kinds == set(wire.Order.__args__) | set(wire.Report.__args__)


def test_undamaged_messages_are_taken(fuzzer):
    """Or the campaign would test a reader that refuses everything."""
    result = fuzzer.fuzz(3, 2000, 0)
    assert result.inputs == 2000
    assert result.taken > 100
    assert result.findings == []


@pytest.mark.slow
def test_answers_of_very_many_items_cost_no_more_than_their_share(fuzzer):
    """Neither time nor memory: as many as make every shape likely, read one after another."""
    before = fuzzer.peak_mb()
    crowds = (fuzzer.crowded(random.Random(seed)) for seed in range(40))
    taken = 0
    for seed, body in enumerate(crowds):
        begun = time.process_time()
        taken += fuzzer.read(body, random.Random(seed))
        assert time.process_time() - begun < fuzzer.CROWD_S, body[:100]
    assert taken
    assert fuzzer.peak_mb() - before < fuzzer.GROWTH_MB


def test_an_error_of_another_kind_is_a_finding(fuzzer, monkeypatch):
    """With what makes it again: the seed, and the number of the input."""

    def careless(dtype, shape, data):
        return {}[dtype]

    monkeypatch.setattr(wire, "to_array", careless)
    result = fuzzer.fuzz(3, 5000, 0)
    assert result.findings
    assert "seed 3, input " in result.findings[0]
    assert "KeyError" in result.findings[0]


@pytest.mark.slow
def test_damaged_input_does_nothing_worse_than_be_refused(fuzzer):
    """As many inputs as fit the time; `make fuzz` reads a million."""
    result = fuzzer.fuzz(int.from_bytes(os.urandom(4)), 10**9, SECONDS)
    assert result.findings == []
    assert result.inputs > 1000
