"""The pure core: money, prices, estimates, the ledger. No I/O; time and randomness are arguments."""
