# The template's: an update changes it. Which files are yours: README.md.
"""One module a queue, named like it: yours. `register_handlers.py` finds them."""
