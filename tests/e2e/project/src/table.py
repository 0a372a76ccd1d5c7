"""What the scripts share: reading and writing a table of two columns."""

import pathlib


def write(path: pathlib.Path, rows: list[tuple[int, int]]) -> None:
    path.write_text("n,square\n" + "".join(f"{n},{square}\n" for n, square in rows))


def read(path: pathlib.Path) -> list[tuple[int, int]]:
    lines = path.read_text().splitlines()[1:]
    return [(int(n), int(square)) for n, square in (line.split(",") for line in lines)]
