"""Latency: how long calls take on a machine that does other things too.

visits.py    seconds of calls: one visit, variants that alternate, batch sizes
inside.py   which network takes the time; networks compiled or as CUDA graphs
machine.py   one measurement at a time, and how busy the machine is

What competes is timed in alternation and nothing is dropped; what may be said of the seconds is
`timing`'s business. Nothing here knows diffusion: a call is anything that makes images.
"""

from genbench.latency.inside import compiled, graphed, stages
from genbench.latency.machine import load, machine_lock
from genbench.latency.visits import Call, alternate, best_batch, peak, sweep, visit

__all__ = [
    "Call",
    "alternate",
    "best_batch",
    "compiled",
    "graphed",
    "load",
    "machine_lock",
    "peak",
    "stages",
    "sweep",
    "visit",
]
