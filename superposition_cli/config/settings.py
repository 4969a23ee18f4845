"""The setting of one cell: what one model is, from its seed to its training.

Ranges are on the fields of its sections; what one field demands of another is checked once all
fields are sound.
"""

from typing import Annotated, Any

from pydantic import Field, model_validator

from superposition_cli.config import misfits, words
from superposition_cli.config.complaints import Strict, refuse
from superposition_cli.config.marks import KEYS
from superposition_cli.config.sections import DataSettings, ModelSettings, TrainSettings
from superposition_cli.config.vectors import Numbers


class Setting(Strict):
    """What one cell is: a seed, a model, its data and its training."""

    seed: Annotated[int, Field(ge=0, le=2**32 - 1), KEYS] = 0
    model: ModelSettings
    data: DataSettings
    train: TrainSettings = Field(default_factory=TrainSettings)

    @model_validator(mode="before")
    @classmethod
    def _without_inputs(cls, written: Any) -> Any:
        """Fill in the data of an objective that draws none."""
        train = written.get("train") if isinstance(written, dict) else None
        if isinstance(train, dict) and train.get("objective") == "packing":
            return {"data": dict(misfits.NO_INPUTS), **written}
        return written

    @model_validator(mode="after")
    def _fits(self) -> "Setting":
        refuse(misfits.misfits(self.model, self.data))
        refuse(misfits.objective_misfits(self.model, self.data, self.train))
        return self

    def feature_probability(self) -> Numbers:
        """Return the n probabilities as written: a feature's own, or its set's."""
        return misfits.probability(self.model.n_features, self.data)

    def marginal(self) -> Numbers:
        """Return the n probabilities that a feature is active."""
        if (law := words.SAMPLERS[self.data.kind].marginal) is not None:
            return law(self)
        return misfits.marginal(self.data, self.feature_probability())

    def sets(self) -> misfits.Groups:
        """Return the sets that features are drawn in, those of one feature among them."""
        return misfits.sets(self.model.n_features, self.data)

    def importance(self) -> Numbers:
        """Return the n weights of a feature's squared error."""
        return misfits.weights(self.model.n_features, self.data)
