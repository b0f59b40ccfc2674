"""Grade deep-learning labs: run notebooks in a sandbox, judge what the model really learnt.

The public names are loaded on first use, so that `import grader` costs nothing and works on a
machine without Jupyter or TensorFlow. docs/api.md describes them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from grader.version import __version__

if TYPE_CHECKING:
    from grader.api import check, grade, load_lab, verify

__all__ = ["__version__", "check", "grade", "load_ipython_extension", "load_lab", "verify"]


def load_ipython_extension(shell: Any) -> None:
    """``%load_ext grader`` in the first cell: training is recorded from there, and ``%grader_check LAB`` checks it."""
    from grader.selfcheck import check

    shell.register_magic_function(lambda line: check(line.strip()), magic_name="grader_check")


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'grader' has no attribute {name!r}")
    from grader import api

    if name == "check":
        from grader import selfcheck as selfcheck  # in a notebook, training is recorded from this import on
    return getattr(api, name)
