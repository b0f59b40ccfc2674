"""Held-out data (floor 4): what no sandbox sees, what it sees instead, and what a submission is asked.

``division`` withholds rows by the course secret, the same for the whole course. ``mount`` writes what remains under
the well-known file names. ``drawing`` gives one submission its rows, order, transformation and seeds. All randomness
comes from ``chance``.
"""

from grader.heldout.drawing import Drawn, Heldout, draw
from grader.heldout.mount import mounted

__all__ = ["Drawn", "Heldout", "draw", "mounted"]
