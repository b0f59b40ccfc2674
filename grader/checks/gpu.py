"""The ``gpu`` fixture: what the host saw a run do on its GPUs. Evidence grade: verified.

Whether anything can be decided is the host's inventory alone: where it offers no GPU, or cannot tell who is busy there,
the check is SKIPPED before the notebook is asked, so nothing that a notebook hides or patches gets it out of the check.
Where it can, a notebook that was not seen to be busy fails. It is evidence that the run's processes computed on a GPU
meanwhile, not what they computed.
"""

from __future__ import annotations

from typing import Any

from grader.checks.marks import CheckFailed, NotAssessable, current
from grader.checks.student import Bench, Remote
from grader.errors import LabError
from grader.gpu import BUSY_PERCENT, BUSY_PERIODS
from grader.records import Evidence, GpuActivity
from grader.session import TapeMiss

#: How long a question is asked again and again: four sample periods of NVML's, of which the first does not count.
ASK_S = 5.0


class Gpu:
    """What the run's processes did on the host's GPUs. Every method ends the check as SKIPPED where nobody can tell."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench

    def training(self) -> GpuActivity:
        """While the notebook's `fit` ran; where it never did, while its cells ran."""
        self._assessable()
        found = self._bench.facts.gpu_training
        return _known(GpuActivity(problem="the run was not measured") if found is None else found)

    def asking(
        self, function: Remote, *args: Any, seconds: float = ASK_S, deadline_s: float | None = None, **kwargs: Any
    ) -> GpuActivity:
        """While this function of the notebook answered the same call again and again, for at least ``seconds``."""
        self._assessable()
        return _known(self._bench.measured(function.asked(*args, **kwargs), seconds=seconds, deadline_s=deadline_s))

    def _assessable(self) -> None:
        lab, gpus = self._bench.lab, self._bench.facts.gpus
        if lab.gpu == "no":
            raise LabError(f"the spec of {lab.id} asks for no GPU", where="lab.toml", fix='write gpu = "if-available"')
        if gpus is None and self._bench.session.replay:
            raise TapeMiss("nobody looked for a GPU when this run was graded")
        if gpus is None:
            raise NotAssessable("the use of a GPU is only measured when the course grades")
        if not gpus.cards:
            raise NotAssessable(f"this machine offers no GPU: {gpus.problem or 'there is none'}")
        if gpus.problem:
            raise NotAssessable(f"nobody can tell who uses this machine's GPU: {gpus.problem}")


def _known(activity: GpuActivity) -> GpuActivity:
    if activity.problem:
        raise NotAssessable(f"NVML failed while the run was measured: {activity.problem}")
    current().rest_on(Evidence.VERIFIED)
    return activity


def assert_gpu_used(activity: GpuActivity) -> None:
    """The run's own processes computed on a GPU: busy in at least two sample periods. Memory does not count."""
    current().staff.append(
        f"GPU within {activity.seconds:.1f} s: {activity.busy} busy periods, peak {activity.peak} %, "
        f"others up to {activity.others} %"
    )
    if activity.busy >= BUSY_PERIODS:
        return
    slight = f"it used at most {activity.peak} % of it" if activity.peak else "it did nothing there"
    raise CheckFailed(
        f"the GPU was watched for {activity.seconds:.1f} s while your notebook worked, and {slight}",
        expected=f"work on the GPU: more than {BUSY_PERCENT} % of it, for two seconds or longer",
        hint='Compute inside tf.device("GPU:0"), on data large enough, and leave CUDA_VISIBLE_DEVICES alone.',
    )
