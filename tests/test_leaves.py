"""Errors, named randomness, progress, plain values."""

import pickle
import subprocess
import sys
from dataclasses import dataclass

import pytest

import expunge
from expunge import errors
from expunge.errors import CATALOGUE, ExpungeError, OperatorError, RequesterError
from expunge.plain import decode, encode
from expunge.progress import Tick, task
from expunge.randomness import SEED_LIMIT, derive, numpy_generator, torch_generator


def test_codes_stand_in_alphabetical_order_with_advice():
    assert list(CATALOGUE) == sorted(CATALOGUE)
    assert all(advice.endswith((".", "?")) for _, advice in CATALOGUE.values())


def test_each_family_has_its_own_exit_status():
    families = {family for family, _ in CATALOGUE.values()} | {
        value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, ExpungeError)
    }
    statuses = [family.exit_status for family in families]
    assert len(set(statuses)) == len(statuses)
    assert all(2 < status < 126 for status in statuses)


def test_one_line_and_one_json_shape():
    error = OperatorError("bad-data", "first\n  second\tthird")
    assert str(error) == "first second third"
    assert error.to_json() == {
        "error": {
            "code": "bad-data",
            "family": "operator",
            "message": "first second third",
            "hint": CATALOGUE["bad-data"][1],
            "exit_status": 20,
        }
    }


def test_a_code_belongs_to_one_family():
    with pytest.raises(TypeError):
        RequesterError("bad-data", "whose?")
    with pytest.raises(KeyError):
        OperatorError("no-such-code", "?")


def test_errors_come_back_whole_from_a_worker():
    error = pickle.loads(pickle.dumps(RequesterError("unknown-owner", "nobody", hint="look again")))
    assert (error.code, str(error), error.hint) == ("unknown-owner", "nobody", "look again")


def test_streams_differ_by_name_and_by_seed():
    seen = {derive(seed, name) for seed in range(50) for name in ("init", "train/pass/0", "train/pass/1")}
    assert len(seen) == 150
    assert all(0 <= seed < SEED_LIMIT for seed in seen)


def test_streams_are_the_same_for_ever():
    """Written down once: a change here would make every log of an older release irreproducible."""
    assert derive(7, "shard/3/init") == 1627907377329896303


def test_generators_are_seeded_by_the_stream():
    import torch

    draws = [torch.rand(3, generator=torch_generator(1, name)) for name in ("a", "a", "b")]
    assert draws[0].equal(draws[1])
    assert not draws[0].equal(draws[2])
    assert (numpy_generator(1, "a").random(3) == numpy_generator(1, "a").random(3)).all()


class Recorder:
    def __init__(self):
        self.seen: list[tuple[int, bool]] = []

    def show(self, tick: Tick, *, final: bool) -> None:
        self.seen.append((tick.done, final))


def test_a_task_reports_start_each_step_and_end():
    recorder = Recorder()
    with task(recorder, "work", 2) as advance:
        advance()
        advance(loss=0.5)
    assert recorder.seen == [(0, False), (1, False), (2, False), (2, True)]


def test_a_task_that_fails_still_ends():
    recorder = Recorder()
    with pytest.raises(ValueError, match="broken"), task(recorder, "work", 2):
        raise ValueError("broken")
    assert recorder.seen[-1] == (0, True)


def test_time_left_is_unknown_before_the_first_unit():
    tick = Tick("work", 4)
    assert tick.seconds_left is None
    tick.done = 4
    assert tick.seconds_left == 0


@dataclass(frozen=True)
class Inner:
    widths: tuple[int, ...] = (1, 2)


@dataclass(frozen=True)
class Outer:
    inner: Inner = Inner()
    rate: float = 0.5
    name: str | None = None


def test_plain_values_come_back():
    value = Outer(Inner((3,)), 0.25, "x")
    assert encode(value) == {"kind": "Outer", "inner": {"kind": "Inner", "widths": [3]}, "rate": 0.25, "name": "x"}
    assert decode(encode(value), [Outer, Inner]) == value


@pytest.mark.parametrize("hostile", [{"kind": "Popen", "args": "id"}, {"kind": "Inner", "wider": 3}])
def test_only_listed_classes_and_fields_are_decoded(hostile: dict):
    with pytest.raises(OperatorError) as caught:
        decode(hostile, [Inner])
    assert caught.value.code == "bad-config"


def test_what_has_no_plain_form_is_refused():
    with pytest.raises(ExpungeError) as caught:
        encode(lambda: None)
    assert caught.value.code == "bad-hyperparameter"


def test_importing_the_package_does_not_import_torch():
    program = "import sys, expunge; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
    assert expunge.__version__
