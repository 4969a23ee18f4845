"""Signatures are held to the shapes they state, whatever would broadcast without a word."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import TypeCheckError

from superposition_cli.measures import attack, class_map
from superposition_cli.theory import closed_forms, linear
from superposition_cli.theory.phases import Fate


def test_an_argument_of_another_shape_is_refused():
    with pytest.raises(TypeCheckError, match=r"(?s)null_loss.*variance"):
        linear.null_loss(jnp.ones(3), jnp.ones(1))
    with pytest.raises(TypeCheckError, match=r"(?s)boundary.*fate"):
        class_map.boundary(np.ones(3), np.full((1, 2), Fate.SUPERPOSED))
    with pytest.raises(TypeCheckError, match=r"(?s)input_length.*'x'"):
        attack.input_length(jnp.ones(3))


def test_a_result_of_another_shape_is_refused(monkeypatch):
    monkeypatch.setattr(closed_forms, "_moment", lambda a, b, k, r: jnp.sum(a))
    with pytest.raises(TypeCheckError, match=r"return value of .*rectified_square"):
        closed_forms.rectified_square(jnp.ones(3), 0.0)


def test_programs_of_many_models_are_checked_as_they_are_traced():
    many = jax.jit(jax.vmap(linear.null_loss))
    # Three models of two features: 1 * 1 + 1 * 1.
    assert many(jnp.ones((3, 2)), jnp.ones((3, 2))).tolist() == [2, 2, 2]
    with pytest.raises(TypeCheckError, match="null_loss"):
        many(jnp.ones((3, 2)), jnp.ones((3, 1)))
