"""Exceptions to advice: ``advise`` answers, the other modules are its table, one for each topic."""

from grader.diagnosis.advice import RULES, advise
from grader.diagnosis.rule import Rule

__all__ = ["RULES", "Rule", "advise"]
