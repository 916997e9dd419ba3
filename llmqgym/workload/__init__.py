"""Workloads: the requests a server is given, read from traces or generated. All randomness lives here."""
