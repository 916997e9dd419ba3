"""Scheduling policies of the literature and of the engines, one file a family. Look them up in `baselines.registry`."""
