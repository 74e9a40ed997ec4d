# The template's: an update changes it. Which files are yours: README.md.
"""What the service says of itself to others: events for listeners, counters for Prometheus."""
