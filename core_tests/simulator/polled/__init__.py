"""A broker that is polled and lends its messages for a time, like Redis, JetStream or SQS, and a provider for it."""
