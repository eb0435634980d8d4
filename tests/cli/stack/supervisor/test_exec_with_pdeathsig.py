"""The program is the very process that was started, and does not outlive the one that started it."""

import os
import pwd
import signal
import subprocess
import sys

import psutil
import pytest

from cli.stack.supervisor import run_as
from tests.cli.stack.processes_of import python, survivors

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root changes who a program runs as")

_SHOW_PID = "import os; print(os.getpid())"
_PARENT = r"""
import signal, subprocess, sys
from cli.stack.supervisor import run_as
child = ["/bin/sh", "-c", "echo up; exec sleep 600"]
process = subprocess.Popen(run_as.with_pdeathsig(child, identity=sys.argv[1]), stdout=subprocess.PIPE)
assert process.stdout.readline() == b"up\n"
print(process.pid, flush=True)
signal.pause()
"""


def _identities() -> list[str]:
    return [run_as.SAME, *([run_as.inside(), run_as.of_uid(60600)] if os.geteuid() == 0 else [])]


@pytest.mark.parametrize("who", _identities())
def test_the_child_dies_when_its_parent_is_killed(who: str) -> None:
    with python("-c", _PARENT, who) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        assert child.name() in {"sh", "sleep"}
        parent.kill()
        assert survivors([child]) == []


def test_the_pid_is_the_programs_own() -> None:
    command = run_as.with_pdeathsig([sys.executable, "-c", _SHOW_PID])
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        output, _ = child.communicate(timeout=120)
    assert int(output.split()[0]) == child.pid


@as_root
def test_a_uid_is_taken_with_no_group_left() -> None:
    done = subprocess.run(
        run_as.with_pdeathsig(["/bin/sh", "-c", "id -u; id -G"], identity=run_as.of_uid(60600)),
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert done.stdout.split() == ["60600", "60600"]


@as_root
def test_inside_a_namespace_root_has_another_name_and_no_capability() -> None:
    question = "print(__import__('os').getuid(), open('/proc/self/status').read())"
    done = subprocess.run(
        run_as.with_pdeathsig([sys.executable, "-I", "-S", "-c", question], identity=run_as.inside()),
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert done.stdout.split()[0] == str(pwd.getpwnam("nobody").pw_uid)
    assert "CapEff:\t0000000000000000" in done.stdout


def test_a_child_whose_parent_is_gone_already_does_not_start() -> None:
    command = run_as.with_pdeathsig(["/bin/echo", "started"])
    command[command.index(str(os.getpid()))] = "1" if os.getpid() != 1 else "2"
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.stdout == ""
    assert done.returncode == 126
    assert "is gone" in done.stderr


def test_a_program_that_is_not_there_is_named() -> None:
    command = run_as.with_pdeathsig(["/nowhere/program"], orphan_signal=signal.SIGTERM)
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert "/nowhere/program" in done.stderr
