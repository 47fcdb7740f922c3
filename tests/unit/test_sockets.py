"""That the tests see from outside whom a process calls."""

import socket
import subprocess
import sys

from tests.support.sockets import LOOK_S, Calls

# Its socket is there long before it calls, beside one of its own and a pair that calls nobody.
CALLER = """
import os, socket, sys
own = socket.create_server(("127.0.0.1", 0))
pair = socket.socketpair()
late = socket.socket()
print(own.getsockname()[1], flush=True)
sys.stdin.readline()
late.connect(("127.0.0.1", int(sys.argv[1])))
print("called", flush=True)
sys.stdin.readline()
"""
IN_A_CHILD = "import subprocess, sys; subprocess.run([sys.executable, '-c', *sys.argv[1:]])"


def looks_more(calls, count):
    """Wait until it has looked so often again."""
    end = calls.looks + count
    while calls.looks < end:
        calls._over.wait(LOOK_S)


def called_by(*command):
    """What is seen of a process before it calls, and after; and whom it has called."""
    with socket.create_server(("127.0.0.1", 0)) as there:
        address = f"127.0.0.1:{there.getsockname()[1]}"
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        words = [sys.executable, "-c", *command, str(there.getsockname()[1])]
        with subprocess.Popen(words, **pipes) as process:
            port = int(process.stdout.readline())
            with Calls(process.pid, port) as calls, socket.create_connection(("127.0.0.1", port)):
                looks_more(calls, 5)
                before = set(calls.made)
                process.stdin.write("\n")
                process.stdin.flush()
                assert process.stdout.readline() == "called\n"
                looks_more(calls, 2)
            process.communicate("\n")
    return before, calls.made, {address}


def test_a_call_by_a_socket_that_was_there_before_is_seen():
    """And who comes to the process's own port is none of its calls."""
    before, after, called = called_by(CALLER)
    assert before == set()
    assert after == called


def test_a_call_of_a_child_is_seen():
    """Whoever of the family calls."""
    before, after, called = called_by(IN_A_CHILD, CALLER)
    assert before == set()
    assert after == called
