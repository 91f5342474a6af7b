#!/usr/bin/python3
"""Exactly once: check_samples.py DIR STEPS BATCH EPOCH reads the sample logs of all generations and
requires that every step had BATCH samples, the same ones whenever it was repeated, and that no
sample of the first epoch (EPOCH samples long) was shown by two steps."""
import collections
import pathlib
import sys

folder, steps, batch, epoch = sys.argv[1], *map(int, sys.argv[2:])
shown = collections.defaultdict(collections.Counter)  # step -> sample -> most often in one attempt
for log in pathlib.Path(folder).iterdir():
    whole_lines = log.read_bytes().split(b"\n")[:-1]
    attempt = collections.Counter(tuple(line.split()) for line in whole_lines)
    for (_, step, sample), count in attempt.items():
        counter = shown[int(step)]
        counter[int(sample)] = max(counter[int(sample)], count)

if sorted(shown) != list(range(1, steps + 1)):
    sys.exit(f"steps seen: {len(shown)}, wanted 1 … {steps}")
position, first_epoch = 0, collections.Counter()
for step in range(1, steps + 1):
    total = sum(shown[step].values())
    if total != batch:
        sys.exit(f"step {step} showed {total} samples instead of {batch}")
    position += batch
    if position <= epoch:
        first_epoch.update(shown[step])
twice = [sample for sample, count in first_epoch.items() if count > 1]
if twice:
    sys.exit(f"shown twice in one epoch: samples {twice[:10]}")
print(f"{steps} steps, {len(first_epoch)} samples of the first epoch, each once")
