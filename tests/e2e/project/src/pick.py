"""Keeps the even or the odd rows of a table."""

import pathlib
import sys

from table import read, write

kind, source, target = sys.argv[1:]
print(f"WORKING {kind}s")
write(pathlib.Path(target), [row for row in read(pathlib.Path(source)) if row[0] % 2 == (kind == "odd")])
