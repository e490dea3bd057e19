"""Qerko on your own machine: it signs, calls, judges what it hears, and shows a guest's pages."""
