"""One module a queue, named like it: yours. `register_handlers.py` finds them."""
