"""The service: `main.py` is the application, `queue/` is what makes it a queue service."""
