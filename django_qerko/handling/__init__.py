"""Bring a record to the project's handlers, and keep what they say."""
