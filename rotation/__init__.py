"""Zero-downtime rotation of database credentials for workloads on AKS."""

__version__ = "0.1.0"  # as pyproject.toml and CHANGELOG.md say
