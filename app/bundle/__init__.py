"""The bundle: the one format that both programs know. `training` writes it, `app` reads it."""
