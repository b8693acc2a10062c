"""TEMPORARY stand-in."""
def resolve(card, *, weights_dir, allow_hub, timeout=10.0, retries=3, progress=None):
    return weights_dir / card.id
