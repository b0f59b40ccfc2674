"""Grade deep-learning labs: run notebooks in a sandbox, judge what the model really learnt.

The public names are loaded on first use, so that `import grader` costs nothing and works on a
machine without Jupyter or TensorFlow.
"""

from __future__ import annotations

from typing import Any

from grader.version import __version__

__all__ = ["__version__", "check"]


def __getattr__(name: str) -> Any:
    if name == "check":
        from grader.selfcheck import check

        return check
    raise AttributeError(f"module 'grader' has no attribute {name!r}")
