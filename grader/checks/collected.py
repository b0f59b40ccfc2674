"""pytest on one suite's folder, started once and run for one submission after another.

Theory of operation. Starting pytest takes several times as long as the checks of a run that is judged from its tape: its
plugins, its options, and two full garbage collections at its end. So a started pytest is kept, and for each judging the
suite is *collected anew*: its files are read and executed again, as modules that nobody has used. What one student's
judging left in a module, a default argument or a class is gone with the old modules, and a file that was edited is seen.

What could pass from one judging to the next is put back by `alone`: the environment, the working folder, the import path,
the two global random states (set from the submission's seed at the start, so that a suite that uses them asks the same
again in a regrade), and modules of the suite. Whatever a suite changes elsewhere in the process it has to put back itself.

A suite that uses more of pytest than the grader's own fixtures (fixtures of its own, a conftest.py, `tmp_path`, setup
functions) may leave something in pytest itself. It is judged as before: with a pytest that is started for it alone.

pytest is told its rootdir; no configuration file is searched, no plugin autoloaded, no cache written. Suites are the
course's own code; submissions are never collected.
"""

from __future__ import annotations

import contextlib
import io
import os
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from _pytest.config import _prepareconfig  # what pytest-xdist's workers start pytest with; pytest.main ends it again

#: A pytest is started anew after so many judgings: what it may gather that we do not know of stays bounded.
JUDGINGS = 200
#: Not needed here. The first two collect all garbage ten times at the end of a session: 55 of 80 ms for a small suite.
WITHOUT = (
    *("unraisableexception", "threadexception", "cacheprovider", "debugging", "doctest", "faulthandler", "junitxml"),
    *("pastebin", "setuponly", "setupplan", "stepwise", "terminal"),
)
SET_ASIDE = ("PYTEST_ADDOPTS", "PYTEST_PLUGINS")


class Collected:
    """pytest for the suite in that folder, with our ``plugin``. ``fixtures`` are the names that the plugin provides."""

    def __init__(self, folder: Path, plugin: object, fixtures: frozenset[str]) -> None:
        self.folder, self.plugin, self._fixtures = folder.absolute(), plugin, fixtures
        self._session: Any = None
        self._judgings = 0
        self._leaves_nothing = False

    def run(self, seed: int) -> str:
        """Collect the suite and run its checks once. Returns why that could not be done; "" where it could."""
        self._judgings += 1
        self._leaves_nothing = False
        output = io.StringIO()
        with alone(seed), contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
            try:
                self._start()
                return self._once()
            except Exception as error:  # noqa: BLE001 - whatever a suite's own hooks or its collection raise
                return str(error).strip() or type(error).__name__

    @property
    def reusable(self) -> bool:
        """Whether another submission may be judged with this pytest."""
        return self._leaves_nothing and self._judgings < JUDGINGS

    def close(self) -> None:
        """End this pytest, where it was started."""
        if self._session is not None:
            config, self._session = self._session.config, None
            with alone(0):
                config._ensure_unconfigure()

    def _start(self) -> None:
        if self._session is None:
            config = _prepareconfig(_arguments(self.folder), [self.plugin])
            self._session = pytest.Session.from_config(config)
            config._do_configure()
            config.hook.pytest_sessionstart(session=self._session)

    def _once(self) -> str:
        session = self._session
        session.testsfailed = 0
        session.config.hook.pytest_collection(session=session)
        if session.testsfailed:
            return "it cannot be imported"
        if not session.items:
            return "pytest collected nothing"
        session.config.hook.pytest_runtestloop(session=session)
        ours = all(self._fixtures.issuperset(getattr(item, "fixturenames", ("?",))) for item in session.items)
        self._leaves_nothing = ours and not any(self.folder.rglob("conftest.py"))
        session.items.clear()  # and with them the modules, until the next submission comes
        return ""


def _arguments(folder: Path) -> list[str]:
    without = [part for name in WITHOUT for part in ("-p", f"no:{name}")]
    return [
        str(folder),
        *("-c", os.devnull, "--rootdir", str(folder), "--confcutdir", str(folder)),
        *without,
        *("--import-mode=importlib", "--assert=plain", "--capture=no"),
        *("-o", "python_files=test_*.py", "-W", "ignore"),
    ]


@contextlib.contextmanager
def alone(seed: int) -> Iterator[None]:
    """No plugin of the environment, and nothing of a suite left behind: not even its name, which another lab's may have."""
    environ, folder, path, modules = dict(os.environ), Path.cwd(), list(sys.path), set(sys.modules)
    chance = random.getstate(), np.random.get_state()
    for name in SET_ASIDE:
        os.environ.pop(name, None)
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    random.seed(seed)
    np.random.seed(seed % 2**32)
    try:
        yield
    finally:
        random.setstate(chance[0])
        np.random.set_state(chance[1])
        sys.path[:] = path
        if Path.cwd() != folder:
            os.chdir(folder)
        if dict(os.environ) != environ:
            os.environ.clear()
            os.environ.update(environ)
        for name in set(sys.modules) - modules:
            file = getattr(sys.modules.get(name), "__file__", None) or ""
            if "hidden_tests" in file or "public_tests" in file:
                del sys.modules[name]
