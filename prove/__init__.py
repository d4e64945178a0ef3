"""The proof: a simulator that drives the production core, and mutants that it must catch."""
