"""What holds for all tests; being here, it also puts this folder on the import path, for the helpers beside it."""

import atexit
import logging
import os
import shutil
import signal
import tempfile

import pytest

# The tests' networks are small: more threads would mostly wait for each other, and on a busy machine without end.
# Before torch is loaded; the processes that tests start inherit it.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# What `--backend auto` measures while tests crowd the machine must not stay with the user.
if "SCENE_STREAMER_CACHE" not in os.environ:
    os.environ["SCENE_STREAMER_CACHE"] = tempfile.mkdtemp(prefix="scene-streamer-tests-")
    atexit.register(shutil.rmtree, os.environ["SCENE_STREAMER_CACHE"], ignore_errors=True)

# A test run that was started in the background may ignore SIGINT, and so would every process that tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def logs_as_they_were():
    """The command line sends the log to its own stderr; other tests want to see it.

    A fixture of a whole module may have called it too, so the log is set right before each test as well.
    """
    _reset_logs()
    yield
    _reset_logs()


@pytest.fixture(scope="module")
def one_thread():
    """For `usefixtures`, where torch works on what is so small that more threads only wait for each other."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _reset_logs() -> None:
    for handler in logging.getLogger().handlers:  # pytest's own: a library that tests load raises their level
        handler.setLevel(logging.NOTSET)
    for room in ("config", "models", "streamer", "tools"):
        log = logging.getLogger(room)
        log.handlers, log.propagate = [], True
        log.setLevel(logging.NOTSET)
