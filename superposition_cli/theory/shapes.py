"""The shapes that signatures speak of, in the axis letters of the docstrings.

    n  features    m  hidden dimensions    B  samples in a batch    *shape  any axes

A letter is one number throughout a call, and the tests check every call. An annotation that
is needed once is written where it is needed; a single axis has a blank before its letter,
which tells linters that it is no name.
"""

import jaxtyping
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float, Real

Key = jaxtyping.Key[Array, ""]
Scalar = Float[Array, ""]

PerFeature = Float[Array, " n"]
PerPair = Float[Array, "n n"]
Embedding = Float[Array, "n m"]  # W
Inputs = Float[Array, "n B"]  # x
HiddenVectors = Float[Array, "m B"]  # h = Wᵀx

PerNeuron = Float[Array, " m"]

AnyEmbedding = Real[ArrayLike, "n m"]  # of JAX or of NumPy

Some = Array | np.ndarray  # what has a shape and a dtype, of either library
SomePerFeature = Real[Some, " n"]
SomeEmbedding = Real[Some, "n m"]
SomeInputs = Real[Some, "n B"]
SomeHidden = Real[Some, "m B"]
Elementwise = Real[ArrayLike, "*#shape"]  # an argument that broadcasts with the others
Broadcast = Float[Array, "*shape"]  # the result, of the shape they broadcast to
