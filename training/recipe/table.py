"""What do all tables of a recipe keep to?"""

from pydantic import BaseModel, ConfigDict


class Table(BaseModel):
    """Base of every table of a recipe."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    def changed(self) -> set[str]:
        """The keys whose value is not the default one: those a dumped recipe and its author agree to have set."""
        return {key for key, field in type(self).model_fields.items() if getattr(self, key) != field.default}
