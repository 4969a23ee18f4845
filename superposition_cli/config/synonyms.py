"""What other tools and papers call the keys of a configuration.

Looked up only where a key is not known. A setting is named with its section, the keys of the forms
of vectors and axes and of expectations alone; where two keys share a word, the first one that the
mapping at hand knows is meant.
"""

from collections.abc import Collection, Iterable

NOTES = {"density": " (= 1 - sparsity)"}
SETTINGS = {
    "seed": "random_seed rng_seed rng prng_seed random_state",
    "name": "run_name title experiment_name",
    "model.kind": "type arch architecture activation nonlinearity",
    "model.n_features": (
        "n features num_features n_feats n_feat d_in d_input input_dim in_features n_inputs"
    ),
    "model.n_hidden": (
        "m hidden hidden_dim hidden_dims hidden_size d_hidden n_hidden_dims num_hidden n_dims "
        "bottleneck n_neurons d_mlp"
    ),
    "data.kind": "type distribution sampler",
    "data.feature_probability": (
        "density p prob probs probability feature_prob feature_probs p_active frequency "
        "frequencies feature_frequency"
    ),
    "data.sparsity": "s",
    "data.importance": "importances weights feature_weights feature_importance",
    "data.low": "min minimum",
    "data.high": "max maximum",
    "data.sets": "groups feature_sets correlated_sets",
    "data.target": "task",
    "train.objective": "loss loss_fn criterion",
    "train.optimizer": "optim opt optimiser solver",
    "train.learning_rate": "lr eta step_size",
    "train.weight_decay": "wd l2",
    "train.schedule": "lr_schedule lr_scheduler scheduler decay",
    "train.warmup_steps": "warmup num_warmup_steps n_warmup",
    "train.momentum": "beta1 beta_1 b1",
    "train.second_moment": "beta2 beta_2 b2",
    "train.epsilon": "eps",
    "train.steps": (
        "epochs n_epochs num_epochs iterations n_iterations num_iterations iters n_iter n_iters "
        "n_steps num_steps max_steps train_steps training_steps"
    ),
    "train.batch_size": "batch bs batchsize minibatch batch_dim",
    "train.restarts": (
        "n_instances num_instances instances n_restarts seeds n_seeds num_seeds replicas repeats "
        "n_models"
    ),
    "train.init": "initialisation initialization initializer weight_init",
    "train.init_scale": "init_std gain",
    "train.hidden_l1": "l1 l1_coeff l1_coefficient l1_penalty",
    "train.loss_reduction": "reduction",
    "train.eval_samples": "n_eval n_eval_samples",
    "train.dtype": "precision",
    "train.snapshots": "checkpoints n_snapshots n_checkpoints",
    "sweep": "grid",
    "metrics": "metric measures",
    "analyses": "analysis",
    "expect": "expected expectations claims",
}
KEYS = {
    "geometric": "exponential exp decay geom",
    "geomspace": "log logspace log_space loguniform",
    "range": "arange integers",
    "linspace": "range arange linear lin_space",
    "power": "zipf zipfian power_law powerlaw pareto",
    "base": "default rest other others",
    "ratio": "r factor base decay",
    "exponent": "alpha a power exp",
    "total": "sum expected",
    "first": "scale initial begin from value",
    "start": "from begin low min",
    "stop": "to end high max",
    "num": "n n_points num_points points count size length steps",
    "step": "by stride",
    "values": "list items choices grid",
    "parameters": "params axes grid",
    "zip": "zipped together",
    "finding": "key observed",
    "where": "at filter",
    "equals": "equal eq",
    "min": "at_least minimum lower",
    "max": "at_most maximum upper",
    "approx": "near close about",
    "tol": "tolerance atol abs_tol",
    "rtol": "rel_tol relative_tolerance",
}


def _by_word(table: dict[str, str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for key, words in table.items():
        for word in words.split():
            found.setdefault(word, []).append(key)
    return found


SETTINGS_BY_WORD, KEYS_BY_WORD = _by_word(SETTINGS), _by_word(KEYS)


def key(word: str, known: Collection[str]) -> str | None:
    """Return the known key of a form that a word stands for."""
    return next((key for key in KEYS_BY_WORD.get(word.lower(), ()) if key in known), None)


def settings(name: str, known: Iterable[str]) -> list[str]:
    """Return the known dotted names that a name, with or without its section, may stand for.

    Of a setting whose key it is, or else of one that is called so elsewhere; in the same section if
    there is one.
    """
    section, _, word = name.rpartition(".")
    there = list(known)
    exact = [place for place in there if place.rpartition(".")[2] == word]
    found = exact or [p for p in SETTINGS_BY_WORD.get(word.lower(), ()) if p in there]
    return [place for place in found if place.rpartition(".")[0] == section] or found
