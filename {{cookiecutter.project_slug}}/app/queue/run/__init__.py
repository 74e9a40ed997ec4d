# The template's: an update changes it. Which files are yours: README.md.
"""The running service: from its start to its drain."""
