"""A broker that pushes, with prefetch, like RabbitMQ: the broker itself, and a provider for it."""
