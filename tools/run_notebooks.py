"""Execute notebooks in place with the quick preset, so that they are committed with their outputs.

``python tools/run_notebooks.py`` executes all notebooks; give paths to execute only these. It needs the extra
"notebooks". Start-up messages of TensorFlow contain times and process numbers, and are removed from the outputs.
"""

import os
import re
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
LOG = re.compile(
    r"^(WARNING: All log messages before|[IWE]\d{4} \d\d:\d\d:|WARNING:tensorflow:\d+ out of the last).*\n+", re.M
)


def without_log(outputs):
    """Return the outputs of a cell without TensorFlow's log."""
    for output in outputs:
        if output.output_type == "stream":
            output.text = LOG.sub("", output.text)
    return [output for output in outputs if output.get("text", "text").strip()]


def refresh(path):
    """Execute one notebook in place."""
    notebook = nbformat.read(path, as_version=4)
    options = {"timeout": None, "record_timing": False, "coalesce_streams": True}
    NotebookClient(notebook, resources={"metadata": {"path": path.parent}}, **options).execute()
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = without_log(cell.outputs)
    notebook.metadata.language_info = {"name": "python"}
    nbformat.write(notebook, path)


if __name__ == "__main__":
    os.environ |= {"KERAS_SNN_PRESET": "quick", "TF_CPP_MIN_LOG_LEVEL": "2"}
    for path in map(Path, sys.argv[1:]) if sys.argv[1:] else sorted(NOTEBOOKS.glob("*.ipynb")):
        print(path, flush=True)
        refresh(path)
