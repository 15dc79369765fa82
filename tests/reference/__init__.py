"""Backpropagation written by hand in NumPy: what the library must agree with.

One module per classic document, under the document's own names and with its mistakes mended. Nothing here
imports tinygrad_bp, so that agreement with it means something.
"""
