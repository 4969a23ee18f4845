"""Sparse autoencoders on the hidden vectors of one frozen model, and what they recover.

    h = Wᵀx,  a = ReLU(W_e (h - b_d) + b_e),  ĥ = W_dᵀ a + b_d

W [n, m] is frozen. W_e and W_d are [d, m], d latents; a row of W_d, at unit length, is a
direction of the dictionary. h and ĥ are [m, B], a is [d, B], b_d is [m], b_e is [d].
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float, Int

from superposition_cli.theory.shapes import HiddenVectors, Key, Scalar
from superposition_cli.toy import data, rng
from superposition_cli.toy.spec import Knobs, Params, Spec
from superposition_cli.toy.train import Task

Features = Float[np.ndarray, "k m"]
Dictionary = Float[np.ndarray, "d m"]
MATCHED = 0.9  # cosine above which a latent can be matched with a feature
REVIVED = 0.2  # length of a new encoder direction


@dataclass(frozen=True)
class SaeSpec(Spec):
    """The static settings of an autoencoder: of its training and of the frozen model's data."""

    latents: int


class SaeKnobs(NamedTuple):
    """The traced settings of one autoencoder."""

    toy: Knobs  # the frozen model's data, and the optimiser's own
    W: Array  # [n, m], the frozen embedding
    l1: Array  # [], price of the latents' sum


class Measured(NamedTuple):
    """How an autoencoder does on one batch."""

    fvu: Array  # [], share of the variance of h that ĥ leaves
    l0: Array  # [], mean number of active latents
    fires: Array  # [d], whether a latent is active at all


def directions(params: Params) -> Float[Array, "d m"]:
    """Return the dictionary, the rows of W_d at unit length."""
    return params["W_d"] / jnp.linalg.norm(params["W_d"], axis=1, keepdims=True)


def init(spec: SaeSpec, knobs: SaeKnobs, key: Key) -> Params:
    """Draw the dictionary uniformly; W_e is W_d, biases are zero; the key is consumed."""
    W_d = directions({"W_d": jax.random.normal(key, (spec.latents, spec.n_hidden), spec.dtype)})
    b_e, b_d = jnp.zeros(spec.latents, spec.dtype), jnp.zeros(spec.n_hidden, spec.dtype)
    return {"W_e": W_d, "W_d": W_d, "b_e": b_e, "b_d": b_d}


def encode(params: Params, h: HiddenVectors) -> Float[Array, "d B"]:
    """Return the latents a = ReLU(W_e (h - b_d) + b_e)."""
    return jax.nn.relu(params["W_e"] @ (h - params["b_d"][:, None]) + params["b_e"][:, None])


def decode(params: Params, a: Float[Array, "d B"]) -> HiddenVectors:
    """Return ĥ, the directions weighted by latents, plus b_d."""
    return directions(params).T @ a + params["b_d"][:, None]


def unexplained(h: HiddenVectors, approximation: HiddenVectors) -> Scalar:
    """Return the share of the variance of h that is missed.

    FVU = E‖h - ĥ‖² / E‖h - E h‖².
    """
    return jnp.sum((h - approximation) ** 2) / jnp.sum((h - h.mean(1, keepdims=True)) ** 2)


def hidden(spec: SaeSpec, knobs: SaeKnobs, key: Key, batch: int) -> Float[Array, "m {batch}"]:
    """Draw inputs and return their hidden vectors Wᵀx; the key is consumed."""
    return knobs.W.T @ data.SAMPLERS[spec.data].draw(spec, knobs.toy, key, batch)


def objective(
    spec: SaeSpec, knobs: SaeKnobs, key: Key, t: Int[Array, ""], params: Params
) -> Scalar:
    """Return FVU + l1 E‖a‖₁ / E‖h‖ on a fresh batch, at any step; the key is consumed."""
    h = hidden(spec, knobs, key, spec.batch_size)
    a = encode(params, h)
    sparsity = jnp.sum(a) / jnp.sum(jnp.linalg.norm(h, axis=0))
    return unexplained(h, decode(params, a)) + knobs.l1 * sparsity


def measure(spec: SaeSpec, knobs: SaeKnobs, key: Key, params: Params) -> Measured:
    """Measure an autoencoder on `spec.eval_samples` fresh inputs; the key is consumed."""
    h = hidden(spec, knobs, key, spec.eval_samples)
    a = encode(params, h)
    active = a > 0
    fires = active.any(axis=1)
    return Measured(unexplained(h, decode(params, a)), active.sum() / h.shape[1], fires)


def resample(spec: SaeSpec, knobs: SaeKnobs, key: Key, params: Params) -> Params:
    """Give latents that do not fire new directions, where ĥ is worst; the key is consumed.

    Each takes the direction of a hidden vector, drawn with a chance in proportion to
    ‖h - ĥ‖², as its row of W_d and, at length .2, of W_e, and the bias 0. Without error
    nothing is drawn. Live latents keep all but the length of their row of W_d.
    """
    of_data, of_choice = rng.parts(key, 2)
    h = hidden(spec, knobs, of_data, spec.eval_samples)
    a = encode(params, h)
    error = jnp.sum((h - decode(params, a)) ** 2, axis=0)
    chance = jnp.log(error)  # -inf where there is none
    picked = jax.random.categorical(of_choice, chance, shape=(spec.latents,))
    away = (h - params["b_d"][:, None])[:, picked].T
    length = jnp.linalg.norm(away, axis=1, keepdims=True)
    new = ~(a > 0).any(axis=1, keepdims=True) & (error.max() > 0) & (length > 0)
    fresh = away / jnp.where(length > 0, length, 1)
    return {
        "W_d": jnp.where(new, fresh, directions(params)),
        "W_e": jnp.where(new, REVIVED * fresh, params["W_e"]),
        "b_e": jnp.where(new[:, 0], 0, params["b_e"]),
        "b_d": params["b_d"],
    }


def cosines(features: Features, dictionary: Dictionary) -> Float[np.ndarray, "k d"]:
    """Return cos(F_i, d_j) of features and directions, none of them zero."""
    return _unit(features) @ _unit(dictionary).T


def _unit(rows: Features) -> Features:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def recovery(features: Features, dictionary: Dictionary) -> dict[str, object]:
    """Compare features with the directions of live latents.

    mmcs: mean over features of the largest cosine with a direction; reverse_mmcs: mean over
    directions of the largest cosine with a feature; matched: the largest share of features
    that pairs of one feature and one direction with a cosine above .9 can cover. Without
    directions mmcs and matched are 0 and reverse_mmcs None.
    """
    found = cosines(features, dictionary)
    if not len(dictionary):
        return {"mmcs": 0.0, "reverse_mmcs": None, "matched": 0.0}
    return {
        "mmcs": float(found.max(axis=1).mean()),
        "reverse_mmcs": float(found.max(axis=0).mean()),
        "matched": largest_matching(found > MATCHED) / len(features),
    }


def largest_matching(pairs: Bool[np.ndarray, "k d"]) -> int:
    """Return how many rows can have a column of their own.

    By augmenting paths: a row takes a free column, or one whose row can move to another.
    """
    owner: dict[int, int] = {}

    def place(row: int, tried: set[int]) -> bool:
        for column in map(int, np.flatnonzero(pairs[row])):
            if column not in tried:
                tried.add(column)
                if column not in owner or place(owner[column], tried):
                    owner[column] = row
                    return True
        return False

    return sum(place(row, set()) for row in range(len(pairs)))


def random_mmcs(features: Features, latents: int, dictionaries: int) -> float:
    """Return the mean mmcs of random dictionaries of so many latents.

    Directions are uniform on the sphere, always the same ones.
    """
    draw = np.random.default_rng(0).normal(size=(dictionaries, latents, features.shape[1]))
    return float(np.mean([cosines(features, one).max(axis=1).mean() for one in draw]))


TASK = Task(init, objective, lambda knobs: knobs.toy)
