"""The grammar of the language, and what editors need of it."""
