"""The commands of the command line, one module each. `cli` knows them by name and imports one when it is asked for.

A module has `arguments(parser)`, which declares its options, and `run(args) -> int`, which gives the exit code.
"""
