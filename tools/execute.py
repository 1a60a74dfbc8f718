"""Executes notebooks from their first cell to their last and stores the outputs: python tools/execute.py [NOTEBOOK ...]

Without arguments: the course and the engine room, in order; the pages of results take an hour and keep their outputs. Cells on
MNIST run where CVAE_NB_DATA names a folder with mnist.npz. If a cell fails, that notebook is left as it was.
"""
import os
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbdev.clean import nbdev_clean

from cvae_nb.engine.launch import without_log

ROOT = Path(__file__).resolve().parent.parent
WIDGET = "application/vnd.jupyter.widget-view+json"  # a progress bar, which shows nothing on a page


def clean(outputs: list[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    """The outputs without progress bars and without TensorFlow's log."""
    for output in outputs:
        if output.get("name") == "stderr":
            output.text = without_log(output.text)
    return [output for output in outputs if WIDGET not in output.get("data", {}) and output.get("text", "text").strip()]


def execute(path: Path) -> None:
    """Run a notebook in a kernel of its own, in its folder, and write it back."""
    nb = nbformat.read(path, as_version=4)
    NotebookClient(nb, timeout=3600, kernel_name="python3", resources={"metadata": {"path": str(path.parent)}}).execute()
    for cell in nb.cells:
        if cell.cell_type == "code":
            cell.outputs = clean(cell.outputs)
    nb.metadata.pop("widgets", None)
    nbformat.write(nb, path)
    nbdev_clean(str(path))


def main() -> None:
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    course, engine = sorted((ROOT / "nbs").glob("*.ipynb")), sorted((ROOT / "nbs/engine").glob("*.ipynb"))
    for path in [Path(name).resolve() for name in sys.argv[1:]] or course + engine:
        print(path.relative_to(ROOT), flush=True)
        execute(path)


if __name__ == "__main__":
    sys.exit(main())
