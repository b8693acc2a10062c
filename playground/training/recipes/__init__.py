"""One recipe a family: which network, which loss, which numbers; the trainer does the rest."""
