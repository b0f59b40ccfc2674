"""The version of the grader, on the lowest floor: cards and results name it."""

__version__ = "0.1.0"
