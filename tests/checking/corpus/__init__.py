"""Functions with known derivatives, planted mistakes, and the command that measures a checker on them.

`development` may be looked at while rules are written; `held_out` is only measured. `python -m tests.checking.corpus`
runs everything and writes the tables of docs/trust.md.
"""
