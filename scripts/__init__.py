"""Tools of the house: gates, the test runner, set-up. Nothing of the product imports them."""
