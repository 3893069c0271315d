"""How fast this machine is: what `scene-streamer benchmark` measures (`docs/benchmarking.md`), one subject a file.

measure.py      the plan of a benchmark, and all of its parts in turn
machine.py      hardware and versions
clip.py         a recording as the clip to measure on: another size or frame rate, long enough
stages.py       each stage of a frame's way, in one thread; what runs the networks of a model
model_only.py   the networks alone, on frames in memory: the bound of every run
running.py      a whole `run` in a process of its own, seen by its subscribers
process.py      that process: its start, its memory and CPU time, its end
streams.py      several live streams in one run, and how many a machine carries
search.py       the search for that number
soak.py         a run of many frames: does its memory grow, does its age?
annotating.py   `annotate`
baseline.py     the plain loop that all of this is compared with; plain_upernet.py is its segmenter
figures.py      percentiles, spread, slope
table.py        the report for people
gpu.py          a model on a CUDA device, single frames and batches; device_limits.py: what that device could do at best
beside_resnet.py, stem.py   one network beside a known one; the sparse semantic stem beside the dense one
"""
