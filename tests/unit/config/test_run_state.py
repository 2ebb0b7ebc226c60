from pathlib import Path
from types import SimpleNamespace

from pylonyard.config.inputs import Watch
from pylonyard.config.run_state import RunState


def test_parts_of_one_run_share_their_state_and_two_runs_do_not():
    run, other = SimpleNamespace(), SimpleNamespace()

    assert RunState.of(run) is RunState.of(run)
    assert RunState.of(run) is not RunState.of(other)


def test_inputs_of_a_run_are_noted_if_watched():
    watched, unwatched = RunState(watch=Watch()), RunState()

    for state in (watched, unwatched):
        state.note_variables("SECRET")
        state.note_paths((Path("/a"), "text"), Path("/b"))

    assert watched.watch is not None
    assert "SECRET" in watched.watch.variables
    assert {"/a", "/b"} <= watched.watch.seen
