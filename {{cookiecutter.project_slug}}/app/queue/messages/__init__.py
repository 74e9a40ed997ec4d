# The template's: an update changes it. Which files are yours: README.md.
"""What travels: a message, its headers and history, the places it can be in, and what becomes of it."""
