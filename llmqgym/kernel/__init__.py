"""The simulator's kernel: numba and numpy, nothing else. Import its modules by name."""
