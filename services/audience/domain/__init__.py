"""Pure decisions about profiles and audiences."""
