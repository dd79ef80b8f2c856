"""All tests; what asserts for them outside of test modules is rewritten too."""

import pytest

pytest.register_assert_rewrite("tests.unit.test_providers.conformance", "tests.venues")
