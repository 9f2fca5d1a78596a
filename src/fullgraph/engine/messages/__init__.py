"""Any message that a layer's own code forms: a bounded number of edges at a time, and again in backward."""
