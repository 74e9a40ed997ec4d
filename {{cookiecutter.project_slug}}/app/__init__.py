# The template's: an update changes it. Which files are yours: README.md.
"""The service: `main.py` is the application, `queue/` is what makes it a queue service."""
