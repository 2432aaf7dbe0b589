"""The page's tab of pictures: what a classifier says of them, where it looks, and what hiding patches changes.

``classifier``, ``segmented`` and ``shelf`` answer, ``drawing`` and ``patch_grid`` show, ``tab`` puts both on the page.
Importing this loads neither torch nor gradio.
"""
