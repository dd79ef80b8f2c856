"""Tests of the venues; the conformance suite is shared, so its assertions are explained like a test's own."""

import pytest

pytest.register_assert_rewrite("tests.unit.test_providers.conformance", "tests.venues")
