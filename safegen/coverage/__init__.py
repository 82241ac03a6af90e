"""Axes, covering arrays, the ledger and the certificate; knows no prompt text."""
