"""Settings of Sphinx, which ``make docs`` (tools/docs/build.py) runs on the pages that it lays out."""

import logging
import warnings

project = "headway"
author = "The headway developers"
copyright = "The headway developers"
extensions = ["myst_parser", "sphinx_gallery.gen_gallery"]
html_theme = "furo"
html_title = "headway"
# Nothing is asked of the network, by the build or by a reader's browser.
html_show_sourcelink = False
html_copy_source = False
exclude_patterns = ["examples", "studies/*.png"]
myst_heading_anchors = 3
# Kernels' audits and studies number their headings as they need.
suppress_warnings = ["myst.header"]
sphinx_gallery_conf = {
    "examples_dirs": "examples",
    "gallery_dirs": "gallery",
    "filename_pattern": "/plot_",
    "abort_on_example_error": True,
    "download_all_examples": False,
    "show_memory": False,
    "show_signature": False,
    # That page would load scripts from the network.
    "write_computation_times": False,
}
# Warnings of libraries that the examples use say nothing about the documents.
warnings.filterwarnings("ignore", category=UserWarning)
logging.getLogger("lightning.pytorch.utilities.rank_zero").setLevel(logging.ERROR)
