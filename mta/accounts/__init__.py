"""Accounts: who may send through us, and as whom."""
