"""Metrics: what a run was like, from the table of departures and the kernel's exact integrals."""
