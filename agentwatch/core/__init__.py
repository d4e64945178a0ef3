"""The pure core: money, prices, estimates, the ledger. No I/O; time is an argument."""
