# SPDX-License-Identifier: Apache-2.0
"""The guard of kernels/: what it must report of a compiler's result, and what it must let pass."""

import copy
import pathlib
import sys

import pytest

sys.path.append(str(pathlib.Path(__file__).resolve().parents[2] / "kernels"))
import guard  # noqa: E402
import toolkit  # noqa: E402

REPORT = """
ptxas info    : Compiling entry function '_ZN8dovetail4cuda4growINS_3ptx4HalfELi2EEEvi' for 'sm_80'
ptxas info    : Function properties for _ZN8dovetail4cuda4growINS_3ptx4HalfELi2EEEvi
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 40 registers, used 1 barriers, 512 bytes smem
ptxas info    : Compiling entry function '_ZN8dovetail4cuda4foldEv' for 'sm_80'
ptxas info    : Function properties for _ZN8dovetail4cuda4foldEv
    16 bytes stack frame, 12 bytes spill stores, 8 bytes spill loads
ptxas info    : Used 255 registers, used 0 barriers
"""


def test_compiler_report():
    fold, grow = toolkit.compiler_report(REPORT)
    assert (grow["name"], grow["registers"]) == ("grow<Half, 2>", 40)
    assert (grow["static_shared_bytes"], grow["spill_bytes"]) == (512, 0)
    assert (fold["name"], fold["spill_bytes"], fold["stack_bytes"]) == ("fold", 20, 16)


@pytest.fixture
def entry(tmp_path, monkeypatch) -> dict:
    """A recorded unit of one kernel, without spills."""
    monkeypatch.setattr(guard, "RECORDED", tmp_path)
    kernel = toolkit.compiler_report(REPORT)[1]
    kernel["instructions"] = dict.fromkeys(toolkit.INSTRUCTIONS, 4)
    entry = {"unit": "u", "architecture": "80", "compiler": "13.0", "kernels": [kernel]}
    guard.record([entry])
    return copy.deepcopy(entry)


def test_what_was_recorded_passes(entry):
    assert guard.problems([entry]) == []
    entry["kernels"][0]["registers"] += guard.REGISTER_SLACK
    assert guard.problems([entry]) == []
    entry["kernels"][0]["registers"] = 16
    assert guard.problems([entry]) == []


@pytest.mark.parametrize(
    ("path", "value", "reported"),
    [
        (["spill_bytes"], 4, "spills 4 bytes"),
        (["registers"], 40 + guard.REGISTER_SLACK + 1, "registers is 49, recorded 40"),
        (["static_shared_bytes"], 256, "static_shared_bytes is 256, recorded 512"),
        (["instructions", "LDGSTS"], 0, "LDGSTS is 0, recorded 4"),
        (["instructions", "HMMA"], 5, "HMMA is 5, recorded 4"),
        (["name"], "other", "grow<Half, 2>, sm_80: recorded, but no longer there"),
    ],
)
def test_a_difference_is_reported(entry, path, value, reported):
    place = entry["kernels"][0]
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    assert any(reported in problem for problem in guard.problems([entry]))


def test_another_compiler_is_judged_by_its_spills_alone(entry, capsys):
    entry["compiler"] = "13.1"
    entry["kernels"][0]["registers"] = 255
    assert guard.problems([entry]) == []
    assert "compared spills only" in capsys.readouterr().out
    entry["kernels"][0]["spill_bytes"] = 8
    assert len(guard.problems([entry])) == 1


def test_a_unit_without_a_record_is_reported(entry):
    entry["unit"] = "v"
    assert "v: not recorded" in guard.problems([entry])[0]


def test_recording_one_architecture_keeps_the_others(entry):
    other = copy.deepcopy(entry) | {"architecture": "90"}
    guard.record([other])
    assert guard.problems([entry, other]) == []
