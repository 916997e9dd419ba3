"""Agents: networks that schedule, how they are trained, and what came of it."""
