"""Advice on a notebook: ``explain`` on what failed, ``foresee`` on what will; the other modules are their table.

``code`` reads a notebook's source, ``find`` points at old idioms in it, ``advice`` matches exceptions with rules,
``foresee`` looks before a run, ``versions`` tells what it means that a notebook asks for another TensorFlow. The rules
themselves, with their words in both languages, stand in the modules of their topic.
"""

from grader.diagnosis.advice import RULES, advise, explain
from grader.diagnosis.code import Code, read_code
from grader.diagnosis.foresee import foresee, still_ahead
from grader.diagnosis.rule import Rule

__all__ = ["RULES", "Code", "Rule", "advise", "explain", "foresee", "read_code", "still_ahead"]
