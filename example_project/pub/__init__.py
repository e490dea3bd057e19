"""A pub: tables, orders and what is on them, and its answers to Qerko."""
