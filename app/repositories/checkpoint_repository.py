"""What the order engine keeps of each pair: leases, checkpoints, watermark rows, feed bases."""

from app.models.market import PriceCheckpoint
from app.repositories.base import Repository


class CheckpointRepository(Repository[PriceCheckpoint]):
    """Leases, checkpoints, watermark rows and feed bases."""

    model = PriceCheckpoint
