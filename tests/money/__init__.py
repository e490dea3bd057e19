"""A guest, a till and Qerko in any order, against a model of money that is simple enough to be believed."""

import pytest

# What does not hold is shown as in the tests themselves.
pytest.register_assert_rewrite("tests.money.machine")
