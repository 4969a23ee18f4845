"""The unrolled generator against JAX's own, a NumPy re-implementation, and published vectors."""

import jax
import numpy as np
import pytest
from scipy import stats

from superposition_cli.config.settings import TrainSettings
from superposition_cli.toy import rng

SEEDS = (0, 1, 42, 2**31, 2**32 - 1)
SHAPES = ((), (3, 7))
WIDTHS = (8, 16, 32)
# threefry2x32 with 20 rounds in kat_vectors of Random123: counter, key, result.
KNOWN_ANSWERS = (
    ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
    ((2**32 - 1, 2**32 - 1), (2**32 - 1, 2**32 - 1), (0x1CB996FC, 0xBB002BE7)),
    ((0x243F6A88, 0x85A308D3), (0x13198A2E, 0x03707344), (0xC4923A9C, 0x483DF7A0)),
)


USES = {
    "INIT": 0,
    "DATA": 1,
    "EVALUATION": 2,
    "ANALYSIS": 3,
    "RESAMPLING": 4,
    "MEASUREMENT": 5,
    "BASIS": int.from_bytes(b"basi"),
    "EQUIVARIANCE": int.from_bytes(b"equi"),
    "ROTATION": int.from_bytes(b"rota"),
    "ALL_RESTARTS": 0xFFFFFFFF,
}


def theirs(seed):
    return jax.random.key(np.uint32(seed), impl="threefry2x32")


def same(ours, other):
    np.testing.assert_array_equal(jax.random.key_data(ours), jax.random.key_data(other))


def by_the_paper(key, counter):
    """Threefry-2x32-20 as in Salmon et al. 2011, on Python's integers."""
    mask, extended = 2**32 - 1, [*key, key[0] ^ key[1] ^ 0x1BD11BDA]
    a, b = ((word + k) & mask for word, k in zip(counter, key, strict=True))
    for r in range(20):
        a = (a + b) & mask
        turn = (13, 15, 26, 6, 17, 29, 16, 24)[r % 8]
        b = ((b << turn | b >> (32 - turn)) & mask) ^ a
        if r % 4 == 3:
            s = r // 4 + 1
            a = (a + extended[s % 3]) & mask
            b = (b + extended[(s + 1) % 3] + s) & mask
    return a, b


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN_ANSWERS)
def test_known_answers(counter, key, expected):
    words = [tuple(np.uint32(word) for word in pair) for pair in (key, counter)]
    with np.errstate(over="ignore"):
        assert tuple(map(int, rng.threefry_2x32(*words))) == expected
    assert by_the_paper(key, counter) == expected


def test_every_use_of_a_key_has_a_number_of_its_own_for_good():
    # Another number would change what stored runs say. __members__ has aliases too.
    assert {name: int(use) for name, use in rng.Use.__members__.items()} == USES
    assert len(set(USES.values())) == len(USES)


def test_no_restart_index_is_a_use_of_the_seeds_key():
    bounds = TrainSettings.model_fields["restarts"].metadata
    (most,) = [bound.le for bound in bounds if hasattr(bound, "le")]
    assert most == 10**6
    assert all(use < 2**16 or use >= most for use in rng.Use)


def test_parts_of_a_key_are_its_foldings():
    for part, ours in enumerate(rng.parts(rng.key(3), 3)):
        same(ours, jax.random.fold_in(theirs(3), part))


def test_cipher_equals_the_paper_on_random_words():
    words = np.random.default_rng(0).integers(0, 2**32, (50, 4), dtype=np.uint32)
    k0, k1, c0, c1 = words.T
    ours = np.stack(rng.threefry_2x32((k0, k1), (c0, c1)), axis=1)
    expected = [by_the_paper(row[:2], row[2:]) for row in words.tolist()]
    np.testing.assert_array_equal(ours, np.array(expected, np.uint32))


def derived(key):
    """Keys made of a key: folded with words, split into a count and into a shape."""
    words = np.array([0, 1, 999, 2**32 - 1], np.uint32)
    folded = jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, words)
    return folded, jax.random.split(key, 3), jax.random.split(key, (2, 5))


def test_seed_fold_and_split_equal_jax():
    make = jax.jit(derived)
    for seed in SEEDS:
        same(rng.key(seed), theirs(seed))
        for ours, expected in zip(make(rng.key(seed)), make(theirs(seed)), strict=True):
            same(ours, expected)


def bits_of_every_shape(key, width):
    return [jax.random.bits(key, shape, f"uint{width}") for shape in SHAPES]


@pytest.mark.parametrize("width", WIDTHS)
def test_bits_equal_jax(width):
    draw = jax.jit(bits_of_every_shape, static_argnums=1)
    for seed in SEEDS:
        for ours, bits in zip(draw(rng.key(seed), width), draw(theirs(seed), width), strict=True):
            assert (ours.dtype, ours.shape) == (bits.dtype, bits.shape)
            np.testing.assert_array_equal(ours, bits)


def test_wide_seeds_and_bits_equal_jax(float64):
    draw = jax.jit(bits_of_every_shape, static_argnums=1)
    for seed in map(np.uint64, (0, 2**31, 2**32 - 1, 2**40 + 5)):
        keys = [jax.random.key(seed, impl=impl) for impl in (rng.THREEFRY, "threefry2x32")]
        same(*keys)
        for ours, bits in zip(*(draw(key, 64) for key in keys), strict=True):
            assert ours.dtype == np.uint64
            np.testing.assert_array_equal(ours, bits)


def test_a_batch_of_keys_draws_what_each_draws_alone():
    def draw(key):
        return jax.random.bits(jax.random.fold_in(key, 7), (3, 5), np.uint32)

    keys = jax.random.split(rng.key(5), 9)
    many, one = jax.jit(jax.vmap(draw))(keys), jax.jit(draw)
    np.testing.assert_array_equal(many, [one(key) for key in keys])
    np.testing.assert_array_equal(many[0], draw(keys[0]))
    np.testing.assert_array_equal(many[8], one(jax.random.split(theirs(5), 9)[8]))


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_seed_out_of_range_is_refused(seed):
    with pytest.raises(ValueError, match="outside"):
        rng.key(seed)


def test_uniform_is_uniform():
    u = np.asarray(rng.uniform(rng.key(0), (10**6,), np.float32), np.float64)
    assert u.min() >= 0
    assert u.max() <= 1
    # U[0, 1]: mean 1/2 with deviation sqrt(1/12/N), mean square 1/3 with sqrt(4/45/N).
    assert abs(u.mean() - 1 / 2) < 5 * np.sqrt(1 / 12 / u.size)
    assert abs((u**2).mean() - 1 / 3) < 5 * np.sqrt(4 / 45 / u.size)
    assert stats.kstest(u, "uniform").pvalue > 1e-3


def test_uniform_is_the_top_31_bits():
    bits = np.asarray(jax.random.bits(theirs(3), (1000,), np.uint32))
    with jax.enable_x64(True):
        u = rng.uniform(rng.key(3), (1000,), np.float64)
    np.testing.assert_array_equal(u, (bits >> 1) / 2.0**31)


def test_small_values_keep_their_resolution():
    u = np.asarray(rng.uniform(rng.key(1), (10**6,), np.float32), np.float64)
    small = u[u < 1e-3]
    # Below 2**-7 a float32 holds all 31 bits, so every other numerator is odd; a uniform of
    # 23 bits would have multiples of 2**8 only.
    odd = np.mean(small * 2**31 % 2 == 1)
    assert abs(odd - 1 / 2) < 5 * np.sqrt(1 / 4 / small.size)
    assert abs(small.size - 1000) < 5 * np.sqrt(1000)


def test_precision_changes_rounding_only(float64):
    draw = jax.jit(rng.uniform, static_argnums=(1, 2))
    single = draw(rng.key(2), (1000,), np.float32)
    double = draw(rng.key(2), (1000,), np.float64)
    assert (single.dtype, double.dtype) == (np.float32, np.float64)
    np.testing.assert_array_equal(single, np.asarray(double).astype(np.float32))


def test_a_draw_over_the_counter_is_refused():
    # 2**17 * 2**16 = 2**33 numbers; lowering a program allocates nothing.
    with pytest.raises(ValueError, match="over the limit"):
        jax.jit(lambda key: jax.random.bits(key, (2**17, 2**16), np.uint32)).lower(rng.key(0))
