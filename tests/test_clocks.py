"""The stopwatch of the other tests counts what takes long, and not that the machine stood still."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from tests.clocks import Stopwatch
from tests.servers import ROOT

STOPPED = """
import os, signal, subprocess, sys
from tests.clocks import Stopwatch
subprocess.Popen(["sh", "-c", f"sleep 0.3; kill -STOP {os.getpid()}; sleep 1.5; kill -CONT {os.getpid()}"])
with Stopwatch() as watch:
    signal.sigtimedwait([], 0.6)
print(watch.seconds)
"""


def test_what_waits_is_counted() -> None:
    with Stopwatch() as watch:
        time.sleep(0.5)

    # What the machine took for something else was not counted, and is known.
    assert 0.5 <= watch.seconds + watch.lost < 5


@pytest.mark.process
@pytest.mark.once
def test_what_stood_still_is_not_counted() -> None:
    done = subprocess.run([sys.executable, "-c", STOPPED], cwd=ROOT, capture_output=True, text=True, check=True)

    assert 0 < float(done.stdout) < 1.2
