"""What a person types: parse, call one function, print its result; one file a family.

JAX is imported inside commands, after the machine has been set up for it.
"""
