"""Rotations of the hidden space: drawn at random, or by an angle."""

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from superposition_cli.theory.shapes import Key, Scalar


def haar(key: Key, m: int) -> Float[Array, "{m} {m}"]:
    """Draw a rotation from the uniform (Haar) law on SO(m); the key is consumed.

    The orthogonal factor of a matrix of normal numbers, columns signed so that the other
    factor has a positive diagonal, then the first column so that the determinant is 1.
    Source: Mezzadri 2007, "How to generate random matrices from the classical compact groups".
    """
    q, r = jnp.linalg.qr(jax.random.normal(key, (m, m)))
    q = q * jnp.where(jnp.diagonal(r) < 0, -1, 1)
    return q.at[:, 0].multiply(jnp.sign(jnp.linalg.det(q)))


def haars(key: Key, count: int, m: int) -> Float[Array, "{count} {m} {m}"]:
    """Draw rotations, number i from `fold_in(key, i)`."""
    return jax.vmap(lambda i: haar(jax.random.fold_in(key, i), m))(jnp.arange(count))


def by_angle(angle: Scalar, m: int) -> Float[Array, "{m} {m}"]:
    """Return the rotation by one angle in the planes of axes 0 and 1, 2 and 3, and so on.

    In radians. The last axis of an odd number stays. Angles add up: a one-parameter group.
    """
    turned = jnp.arange(m) < m - m % 2
    diagonal = jnp.diag(jnp.where(turned, jnp.cos(angle), 1))
    above = jnp.where(turned[1:] & (jnp.arange(m - 1) % 2 == 0), jnp.sin(angle), 0)
    return diagonal - jnp.diag(above, 1) + jnp.diag(above, -1)
