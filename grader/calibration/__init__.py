"""Calibration (floor 8): thresholds from the distribution of correct solutions.

``trials`` runs correct solutions, each in a course of its own; ``kept`` keeps what was measured beside the spec, run by
run; ``fits`` and ``bounds`` are the statistics, pure; ``report`` puts both together; ``written`` writes them down.
"""
