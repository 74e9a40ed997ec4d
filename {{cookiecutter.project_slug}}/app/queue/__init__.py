# The template's: an update changes it. Which files are yours: README.md.
"""Message queues for a FastAPI service: consumers, publishers, retries, dead letters, health.

A handler module needs `app.queue.handling` (`Reject`, `message_type`, `current_delivery`) and
`app.queue.publishing` (`publish`); `main.py` needs `app.queue.setup`. Start reading at `interfaces.py`.
"""
