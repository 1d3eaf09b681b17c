"""What is wrong with settings beyond their shape."""


class SettingsError(Exception):
    """The settings name something that is not there or not as it should be. The message says what to do."""
