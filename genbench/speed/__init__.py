"""What sampling costs and what it is worth: latency, NFE and quality for each way to sample."""

from genbench.speed.result import Row, SpeedResult

__all__ = ["Row", "SpeedResult"]
