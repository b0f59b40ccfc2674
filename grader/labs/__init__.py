"""Labs, read and validated before anything runs: ``spec`` reads lab.toml, ``suites`` the checks."""

from grader.labs.spec import Contract, Lab, files_digest, files_of, find_labs, lab_ids, load_lab, select
from grader.labs.suites import CheckSpec
from grader.records import Threshold

__all__ = [
    "CheckSpec",
    "Contract",
    "Lab",
    "Threshold",
    "files_digest",
    "files_of",
    "find_labs",
    "lab_ids",
    "load_lab",
    "select",
]
