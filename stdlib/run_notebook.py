"""Executes a notebook: `std/notebook` runs this. Python 3.9 or later, with nbconvert and ipykernel.

A cell with the stage's parameters is put behind the one that is tagged `parameters`, or before all. The
kernel starts in the notebook's own folder, as Jupyter starts it, and paths are relative to that. Equal cells
make equal files: no times and no random ids are written.
"""

import argparse
import json
import os
import re
import sys
import tempfile

NEEDS = "nbconvert and ipykernel"
INJECTED = "injected-parameters"
# IPython colours its tracebacks, and a log is read in many places.
COLOURS = re.compile(r"\x1b\[[0-9;]*m")
# Folders of Jupyter, and their names in a private one.
SHORT = {"JUPYTER_CONFIG_DIR": "c", "JUPYTER_DATA_DIR": "d", "JUPYTER_RUNTIME_DIR": "r", "IPYTHONDIR": "i"}
# A socket's path can have 104 bytes on macOS; a kernel's is `k-1` to `k-5` in the folder.
LONGEST_FOLDER = 98


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("notebook")
    parser.add_argument("executed")
    parser.add_argument("page")
    parser.add_argument("--params", type=json.loads, default={})
    parser.add_argument("--inputs", type=json.loads, default={})
    parser.add_argument("--outputs", type=json.loads, default={})
    parser.add_argument("--kernel", default="")
    parser.add_argument("--show-code", choices=("true", "false"), default="true")
    options = parser.parse_args()
    for path in (options.executed, options.page, *options.outputs.values()):
        os.makedirs(os.path.dirname(path.rstrip("/")) or ".", exist_ok=True)
    with tempfile.TemporaryDirectory() as private:
        # Whatever the person at this machine has set up for Jupyter does not decide a result.
        for name in SHORT:
            os.environ[name] = os.path.join(private, SHORT[name])
        run(options, private)


def run(options, private):
    """Executes, and writes the notebook and the page; of a notebook that fails, what there is of it."""
    try:
        import nbformat
        from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel
        from nbclient import NotebookClient
        from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
        from traitlets.config import Config
    except ImportError as e:
        stop(f"the stage's env has no {e.name}: it needs {NEEDS}")
    try:
        notebook = nbformat.read(options.notebook, as_version=4)
    except (OSError, ValueError, nbformat.ValidationError) as e:
        stop(f"{options.notebook} is no notebook: {str(e).partition(chr(10))[0]}")
    named = notebook.metadata.get("kernelspec", {})
    kernel = options.kernel or named.get("name", "python3")
    language = named.get("language", "python")
    specs = KernelSpecManager()
    try:
        language = specs.get_kernel_spec(kernel).language
    except NoSuchKernel:
        # A name that the author's machine gave to its Python means this one here.
        if options.kernel or language.lower() != "python" or "python3" not in specs.find_kernel_specs():
            stop(f"the stage's env has no kernel {kernel!r}; a Python notebook needs {NEEDS}")
        kernel = "python3"
    inject(notebook, options, language, nbformat)
    # Sockets in a private folder; over TCP every user of the machine could listen.
    sockets = {"transport": "ipc", "ip": os.path.join(private, "k")}
    client = NotebookClient(
        notebook,
        kernel_name=kernel,
        timeout=None,
        record_timing=False,
        config=Config({"KernelManager": sockets} if len(private) <= LONGEST_FOLDER else {}),
        resources={"metadata": {"path": os.path.dirname(options.notebook) or "."}},
    )
    failure = None
    try:
        client.execute()
    except (CellExecutionError, CellTimeoutError) as e:
        failure = COLOURS.sub("", str(e)).rstrip()
    except DeadKernelError:
        failure = "the kernel died: the machine may have run out of memory"
    except RuntimeError as e:
        stop(f"the kernel {kernel!r} did not start: {e}")
    write(notebook, options, nbformat)
    if failure:
        stop(f"{options.notebook} failed\n{failure}")


def stop(message):
    """Ends with a message and exit code 1."""
    sys.exit(f"notebook: {message}")


def inject(notebook, options, language, nbformat):
    """Puts the stage's parameters into the notebook, and drops those that somebody's run left in it."""
    notebook.cells = [c for c in notebook.cells if INJECTED not in c.metadata.get("tags", [])]
    folder = os.path.dirname(options.notebook) or "."
    given = dict(options.params)
    for name, paths in (("inputs", options.inputs), ("outputs", options.outputs)):
        if paths:
            given[name] = {n: relative(p, folder) for n, p in paths.items()}
    if not given:
        return
    if language.lower() != "python":
        stop(f"parameters can be given to a Python notebook only, and this one is in {language}")
    lines = ["# Parameters of the stage", *(f"{name} = {value!r}" for name, value in given.items())]
    cell = nbformat.v4.new_code_cell("\n".join(lines), metadata={"tags": [INJECTED]})
    if (notebook.nbformat, notebook.nbformat_minor) >= (4, 5):
        cell["id"] = INJECTED
    else:
        cell.pop("id", None)
    tagged = [n for n, c in enumerate(notebook.cells) if "parameters" in c.metadata.get("tags", [])]
    notebook.cells.insert(tagged[0] + 1 if tagged else 0, cell)


def relative(path, folder):
    return [relative(p, folder) for p in path] if isinstance(path, list) else os.path.relpath(path, folder)


def write(notebook, options, nbformat):
    nbformat.write(notebook, options.executed)
    try:
        from nbconvert import HTMLExporter
    except ImportError as e:
        stop(f"the stage's env has no {e.name}: it needs {NEEDS}")
    exporter = HTMLExporter(exclude_input=options.show_code == "false")
    title = os.path.splitext(os.path.basename(options.notebook))[0]
    page, _ = exporter.from_notebook_node(notebook, resources={"metadata": {"name": title}})
    with open(options.page, "w", encoding="utf-8") as file:
        file.write(page)


if __name__ == "__main__":
    main()
