"""The tests. `tests.support` and `tests.e2e.harness` are imported by that name from anywhere below."""
