"""The other end of `PLAYGROUND_ENGINE`: an engine behind HTTP, alone (`ingress`) or as many replicas on a cluster (`replicas`)."""
