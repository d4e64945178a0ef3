"""Where the ledger's journal is kept. One protocol, one file a backend."""
