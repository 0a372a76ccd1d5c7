"""Data as the pipeline declares it: whether a real file is of its type, and what type a real file has."""
