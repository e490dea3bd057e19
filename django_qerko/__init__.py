"""Qerko's webhooks, answered by a Django point of sale."""
