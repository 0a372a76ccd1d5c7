"""Coverage-guided fuzzing: `make fuzz`. Not part of the test run; what it finds becomes a test there."""
