"""A place to practise: the local stack with what docs/onboarding.md starts from."""
