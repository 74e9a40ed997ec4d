"""Keeps this project up with the template it was made from: `python -m template --help`.

Needs Python, git, and uv (which runs cruft); nothing of the service. cruft renders the template, git merges: so there
is a true three-way merge on every clone, and never a `.rej` file.
"""
