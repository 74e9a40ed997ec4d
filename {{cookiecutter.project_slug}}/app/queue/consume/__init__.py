# The template's: an update changes it. Which files are yours: README.md.
"""The consuming side: the way of a delivery from the broker to the handler, and to its settlement."""
