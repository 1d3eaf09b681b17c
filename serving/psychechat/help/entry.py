"""Base of what the tables of help hold. A settings file may replace any of them."""

from pydantic import BaseModel, ConfigDict


class Entry(BaseModel):
    # What is wrong may be a secret in the wrong place, so it is named and not shown.
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)
