"""Counter-based random numbers: Threefry-2x32-20 with its rounds unrolled.

JAX lowers its own Threefry to a rolled loop on CPU, which the compiler cannot fuse into
the consumer. Here the same twenty rounds are straight-line `jnp`, so a draw and what is
done with it become one pass over the data. The bits are JAX's own: `seed`, `fold_in`,
`split` and `random_bits` agree with `threefry2x32` (partitionable layout) bit for bit.

Source: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3".
"""

import math
from enum import IntEnum, unique

import jax
import jax.extend.random
import jax.numpy as jnp
import numpy as np
from jax import Array

ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
PARITY = np.uint32(0x1BD11BDA)


@unique
class Use(IntEnum):
    """What keys are folded with, one number for each use of a key; see `train.model_keys`.

    The small numbers are uses of a model's own key. The large ones are above any restart
    index and take its place where restarts do not count: three analyses fold the seed's key.
    """

    INIT = 0  # the parameters that training begins with
    DATA = 1  # training batches, each by the number of its step
    EVALUATION = 2  # the loss a model is judged by; of the key that all restarts share
    ANALYSIS = 3  # by `computation` for abs models, by `dictionary` for h = Wᵀx: never both
    RESAMPLING = 4  # new directions for an autoencoder's latents, each by the number of its round
    MEASUREMENT = 5  # what an autoencoder is measured on
    BASIS = 0x62617369
    EQUIVARIANCE = 0x65717569
    ROTATION = 0x726F7461
    ALL_RESTARTS = 2**32 - 1


def threefry_2x32(key: tuple[Array, Array], counter: tuple[Array, Array]) -> tuple[Array, Array]:
    """Encrypt a counter: two uint32 words in, two uint32 words out, elementwise."""
    k0, k1 = key
    schedule = (k0, k1, k0 ^ k1 ^ PARITY)
    a, b = counter[0] + schedule[0], counter[1] + schedule[1]
    for block in range(5):
        for distance in ROTATIONS[block % 2]:
            a = a + b
            b = a ^ _rotate_left(b, distance)
        a = a + schedule[(block + 1) % 3]
        b = b + schedule[(block + 2) % 3] + np.uint32(block + 1)
    return a, b


def _rotate_left(word: Array, distance: int) -> Array:
    return (word << np.uint32(distance)) | (word >> np.uint32(32 - distance))


def _counters(shape: tuple[int, ...]) -> tuple[Array, Array]:
    """The 64-bit row-major index of every entry, as a high and a low word."""
    size = math.prod(shape)
    if size > 2**32:
        raise ValueError(f"one draw of {size} numbers is over the limit of 2**32")
    low = jax.lax.iota(np.uint32, size).reshape(shape)
    return jnp.zeros_like(low), low


def _seed(seed: Array) -> Array:
    low = jnp.asarray(seed).astype(np.uint32)
    wide = jnp.asarray(seed).dtype.itemsize > 4
    high = (jnp.asarray(seed) >> 32).astype(np.uint32) if wide else jnp.zeros_like(low)
    return jnp.stack([high, low])


def _fold_in(key: Array, data: int) -> Array:
    word = jnp.asarray(data).astype(np.uint32)
    return jnp.stack(threefry_2x32((key[0], key[1]), (jnp.zeros_like(word), word)))


def _split(key: Array, shape: tuple[int, ...]) -> Array:
    return jnp.stack(threefry_2x32((key[0], key[1]), _counters(shape)), axis=-1)


def _random_bits(key: Array, bit_width: int, shape: tuple[int, ...]) -> Array:
    high, low = threefry_2x32((key[0], key[1]), _counters(shape))
    if bit_width == 64:
        return (high.astype(np.uint64) << np.uint64(32)) | low.astype(np.uint64)
    return (high ^ low).astype(f"uint{bit_width}")


THREEFRY = jax.extend.random.define_prng_impl(
    key_shape=(2,),
    seed=_seed,
    split=_split,
    random_bits=_random_bits,
    fold_in=_fold_in,
    name="threefry2x32_unrolled",
    tag="t3u",
)


def key(seed: int) -> Array:
    """Return the scalar PRNG key of a seed in [0, 2**32)."""
    if not 0 <= seed < 2**32:
        raise ValueError(f"seed {seed} is outside [0, 2**32)")
    return jax.random.key(np.uint32(seed), impl=THREEFRY)


def parts(key: Array, count: int) -> list[Array]:
    """Return keys for the parts of one draw, part i by `fold_in(key, i)`; the key is consumed."""
    return [jax.random.fold_in(key, part) for part in range(count)]


def uniform(key: Array, shape: tuple[int, ...], dtype: np.dtype) -> Array:
    """Draw U[0, 1] from the top 31 bits of one word; the key is consumed.

    u = float(bits >> 1) / 2**31, rounded to the nearest `dtype`. Unlike the usual 23-bit
    uniform, small values keep their resolution: u < 1/1000 still has 21 bits. The same
    key gives the same numbers, up to rounding, in float32 and float64.

    Returns: `[*shape]`, in [0, 1] (1 itself with probability 2**-25 in float32).
    """
    bits = jax.random.bits(key, shape, np.uint32) >> np.uint32(1)
    return bits.astype(np.int32).astype(dtype) * np.asarray(2.0**-31, dtype)
