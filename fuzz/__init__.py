"""Fuzzing of what reads bytes from outside. No parser may end otherwise than with a value or its documented refusal.

`targets` feeds one input to a parser; `python -m fuzz` lets atheris look for inputs, `tests/fuzz` plays the seeds and
variations of them. What was found once becomes a seed.
"""
