"""Choose one version of each distribution that an application needs, all of them together."""
