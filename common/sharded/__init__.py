"""FSDP2: a model that one card does not hold, its weights, gradients and moments shared out among processes.

accelerate launch --use_fsdp --fsdp_version 2 --num_processes 4 friends/train.py ...

options.py: what the launcher may ask for, and which options cannot go with it; trainer.py: one fold; predict.py: rows.
"""
