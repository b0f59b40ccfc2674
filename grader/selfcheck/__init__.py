"""The self-check: a student asks the public checks of their own work, on their own machine, before handing it in.

Theory of operation. Two ways, one suite (``labs/<id>/public_tests``), judged by the same code that grades:

- ``grader check NOTEBOOK`` (``fresh``) runs the notebook from top to bottom in a new kernel and writes a card. The
  kernel is an ordinary Jupyter kernel without a sandbox (``laptop``; works on Linux, macOS and Windows), in an empty
  temporary folder: as when it is graded, files beside the notebook are not there (a note names those that were missed),
  a file left by an earlier run cannot pass a check, and nothing of the student's is overwritten.
  Data comes from the student's own Keras cache, or from the lite tier where that has none.
- ``from grader import check; check("iris")`` (``live``) asks the objects of the notebook one is in, in its own process.
  Training is recorded from that import on, so it belongs into the first cell.

Both are advisory (level L0), and both say what was not checked: the hidden suite, on data nobody has seen. ``show``
turns a result into text and HTML.
"""

from __future__ import annotations

from grader.selfcheck.fresh import SelfCheck, before_running, check_notebook
from grader.selfcheck.live import check
from grader.selfcheck.show import as_text

__all__ = ["SelfCheck", "as_text", "before_running", "check", "check_notebook"]
