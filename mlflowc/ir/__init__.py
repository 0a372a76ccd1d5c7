"""The intermediate representation: what the compiler hands to everything behind it."""
