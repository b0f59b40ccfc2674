"""What `import grader` gives inside the sandbox: the self-check does nothing there, so that a notebook that ends
with ``check("iris")`` runs as it does at home.
"""

from typing import Any


def load_ipython_extension(shell: Any) -> None:
    """``%load_ext grader`` and ``%grader_check``, as at home."""
    shell.register_magic_function(check, magic_name="grader_check")


def check(*args: Any, **kwargs: Any) -> None:
    """Say that the self-check is skipped while grading."""
    print("grader: the self-check is skipped while your notebook is being graded.")
