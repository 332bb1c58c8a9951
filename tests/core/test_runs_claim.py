"""One process trains in a folder; who dies lets go."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from genzoo.core.errors import UsageError
from genzoo.core.storage.files import claimed
from genzoo.core.training.runs import working_on

HOLD = """
import os, sys, time
from pathlib import Path
from genzoo.core.storage.files import claimed
with claimed(Path(sys.argv[1]), "taken"):
    if os.fork() == 0:  # a worker that outlives the process, as those that load data may for a while
        os.close(1)
        time.sleep(10)
        os._exit(0)
    print("held", flush=True)
    time.sleep(60)
"""


def test_another_process_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    first = subprocess.Popen([sys.executable, "-c", HOLD, tmp_path], stdout=subprocess.PIPE, text=True)
    assert first.stdout is not None
    assert first.stdout.readline() == "held\n"
    with pytest.raises(UsageError, match="another process is training in"), working_on(tmp_path):
        pass
    first.kill()
    first.communicate()
    with working_on(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_thread_may_claim_again_and_another_may_not(tmp_path: Path) -> None:
    said = list[str]()

    def other() -> None:
        try:
            with claimed(tmp_path, "taken"):
                said.append("held")
        except UsageError as e:
            said.append(str(e))

    with claimed(tmp_path, "taken"):
        with claimed(tmp_path, "taken"):
            pass
        for _ in range(2):
            thread = threading.Thread(target=other)
            thread.start()
            thread.join()
    other()
    assert said == ["taken", "taken", "held"]


def test_claims_leave_no_handle_open(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with claimed(tmp_path, "taken"), pytest.raises(ValueError, match="x"), claimed(tmp_path, "taken"):
            raise ValueError("x")
    assert len(os.listdir("/proc/self/fd")) == before
