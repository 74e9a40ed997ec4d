"""Stands before the real one, so that a run `--plain` has it not."""

raise ImportError("hidden by --plain")
