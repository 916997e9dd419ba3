"""Trace readers, one file a format. `open.read_trace(path)` detects the format; `open.FORMATS` lists them."""
