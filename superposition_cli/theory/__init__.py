"""Closed forms and bounds: what the toy models should reach; knows nothing of training."""
