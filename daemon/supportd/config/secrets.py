"""Where a secret is looked up: never in the configuration file itself."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from pydantic import Field, model_validator

from supportd.config.document import Section
from supportd.errors import UserError


class Secret(Section):
    """One of ``{credential: NAME}`` (systemd's $CREDENTIALS_DIRECTORY), ``{file: PATH}`` or ``{env: VARIABLE}``."""

    credential: str | None = Field(default=None, min_length=1)
    file: Path | None = None
    env: str | None = Field(default=None, min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _refuse_plain_secret(cls, value: object) -> object:
        if isinstance(value, str | int | float):
            raise ValueError(
                "secrets never stand in this file; write {credential: NAME}, {file: PATH} or {env: VARIABLE}"
            )
        return value

    @model_validator(mode="after")
    def _exactly_one(self) -> Secret:
        if sum(source is not None for source in (self.credential, self.file, self.env)) != 1:
            raise ValueError("write exactly one of {credential: NAME}, {file: PATH} or {env: VARIABLE}")
        return self

    def reveal(self, what: str, folder: Path) -> str:
        """Return the secret without its line end; *what* names it in errors, relative files count from *folder*.

        Raises:
            UserError: it is nowhere to be found, is empty, or its file can be read by every user.
        """
        if self.env is not None:
            value = os.environ.get(self.env)
            if value is None:
                raise UserError(f"{what}: the environment variable {self.env} is not set; set it or change the key")
        else:
            if self.credential is not None:
                directory = os.environ.get("CREDENTIALS_DIRECTORY")
                if directory is None:
                    raise UserError(
                        f"{what}: there is no $CREDENTIALS_DIRECTORY to find the credential {self.credential} in; "
                        f"run under systemd with LoadCredential={self.credential}:/path/of/the/file, "
                        "or use {file: PATH}"
                    )
                path = Path(directory) / self.credential
            else:
                assert self.file is not None
                path = folder / self.file.expanduser()
            try:
                mode = path.stat().st_mode
                value = path.read_text(encoding="utf-8")
            except OSError as error:
                raise UserError(
                    f"{what}: {path} cannot be read ({error.strerror}); create it or fix its owner"
                ) from error
            # systemd's own credential files are 0440 to the service; any other file must not be open to all users.
            if self.credential is None and mode & stat.S_IROTH:
                raise UserError(f"{what}: {path} can be read by every user of this machine; run: chmod 600 {path}")
        value = value.rstrip("\r\n")
        if not value:
            raise UserError(f"{what}: the secret is empty; write it into the place that the configuration names")
        return value
