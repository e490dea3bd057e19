"""The door: let Qerko in, enter what it says into the book, and answer."""
