# The template's: an update changes it. Which files are yours: README.md.
"""What the service is told by `queues.yaml`: its models, and the file itself."""
