"""What a hidden or public suite imports. The whole author-facing API is here.

A suite is ordinary pytest: one test function is one check. Its docstring is what the student sees.

    from grader.checks import VERIFIED, assert_accuracy, check

    @check("accuracy", points=40, evidence=VERIFIED, hint="Train longer, or scale the pixels to 0-1.")
    def test_reads_unseen_digits(student, heldout, threshold):
        \"\"\"Your model reads digits it has never seen.\"\"\"
        probabilities = student.model.predict(heldout.inputs)
        assert_accuracy(probabilities, heldout.labels, threshold("accuracy"))

Fixtures: ``student`` (see student.Student), ``heldout`` (see heldout.Heldout), ``threshold`` (name -> Threshold of the
data tier in use), ``tier``, ``chance`` (a NumPy Generator that the notebook cannot foresee), ``gpu`` (what the host saw
its GPUs do, see gpu.Gpu). A check ends by returning (full points, unless it called `award`), by a failed assertion (the
message goes to the student, so never put a label or a threshold into it), or by `not_assessable`. Anything else that is
raised is the author's mistake: ERRORED, and never the student's loss in silence. See docs/authoring.md.
"""

from grader.checks.asserts import (
    Parts,
    as_array,
    assert_accuracy,
    assert_close,
    assert_error,
    assert_probabilities,
    award,
    fail,
    flag,
    measure,
    not_assessable,
    require,
)
from grader.checks.gpu import assert_gpu_used
from grader.checks.hidden import cos, exp, hidden_function, log, sigmoid, sin, sqrt, square, tanh
from grader.checks.marks import check
from grader.records import Evidence

VERIFIED = Evidence.VERIFIED
OBSERVED = Evidence.OBSERVED

__all__ = [
    "OBSERVED",
    "VERIFIED",
    "Parts",
    "as_array",
    "assert_accuracy",
    "assert_close",
    "assert_error",
    "assert_gpu_used",
    "assert_probabilities",
    "award",
    "check",
    "cos",
    "exp",
    "fail",
    "flag",
    "hidden_function",
    "log",
    "measure",
    "not_assessable",
    "require",
    "sigmoid",
    "sin",
    "sqrt",
    "square",
    "tanh",
]
