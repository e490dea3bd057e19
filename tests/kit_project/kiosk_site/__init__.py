"""A small project that is not the pub: a kiosk on a square, whose tests are those that the docs show."""
