"""Executes notebooks from their first cell to their last and stores the outputs: python tools/execute.py [NOTEBOOK ...]

Without arguments: the course and the engine room, in order; the pages of results take an hour and keep their outputs. Cells on
MNIST run where CVAE_NB_DATA names a folder with mnist.npz, and keep their outputs where it does not. Their pictures are written
to nbs/images, from where the text cell below shows them: a notebook that is run without the data, and saved, still has them. If
a cell fails, that notebook is left as it was.
"""
import base64
import io
import os
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbdev.clean import nbdev_clean
from PIL import Image

from cvae_nb.engine.launch import without_log

ROOT = Path(__file__).resolve().parent.parent
WIDGET = "application/vnd.jupyter.widget-view+json"  # a progress bar, which shows nothing on a page


def clean(outputs: list[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    """The outputs without progress bars and without TensorFlow's log."""
    for output in outputs:
        if output.get("name") == "stderr":
            output.text = without_log(output.text)
    return [output for output in outputs if WIDGET not in output.get("data", {}) and output.get("text", "text").strip()]


def store_pictures(path: Path, cell: nbformat.NotebookNode, below: str) -> None:
    """Move the pictures of a slow cell to files beside its notebook, which the text below must show."""
    pictures = [output for output in cell.outputs if "image/png" in output.get("data", {})]
    for k, output in enumerate(pictures):
        name = f"images/{path.stem}_{cell.id}{f'_{k}' if k else ''}.png"
        if f"]({name})" not in below:
            raise ValueError(f"{path.name}: the text below the cell {cell.id} must show its picture, as ![what it shows]({name})")
        picture = Image.open(io.BytesIO(base64.b64decode(output.data["image/png"]))).convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")
        (path.parent / "images").mkdir(exist_ok=True)
        picture.quantize(64, dither=Image.Dither.NONE).save(path.parent / name, optimize=True)
    cell.outputs = [output for output in cell.outputs if output not in pictures]


def execute(path: Path) -> None:
    """Run a notebook in a kernel of its own, in its folder, and write it back."""
    nb = nbformat.read(path, as_version=4)
    before = {cell.id: cell.outputs for cell in nb.cells if cell.cell_type == "code"}
    NotebookClient(nb, timeout=3600, kernel_name="python3", resources={"metadata": {"path": str(path.parent)}}).execute()
    for cell, below in zip(nb.cells, [*nb.cells[1:], None], strict=True):
        if cell.cell_type == "code":
            cell.outputs = clean(cell.outputs)
            if cell.source.startswith("#| slow"):
                if not os.environ.get("CVAE_NB_DATA"):
                    cell.outputs = before[cell.id]
                store_pictures(path, cell, below.source if below else "")
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
