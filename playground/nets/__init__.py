"""Network architectures, one a file; plain `torch.nn.Module`s that know nothing of cards, requests or pages."""
